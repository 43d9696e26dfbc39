#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "failure.h"
#include "files.h"
#include "json.h"
#include "manifest.h"

// Either a Failure of bad input, or a manifest whose paths stay inside the bundle.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const bm::Manifest manifest = bm::parse_manifest(text);
    for (const bm::FileSpec& file : manifest.files)
      if (!bm::path_fault(file.path).empty()) std::abort();
    for (const bm::ModelSpec& model : manifest.models)
      if (!bm::path_fault(model.file).empty() || model.inputs.empty()) std::abort();
  } catch (const bm::Failure& failure) {
    if (failure.status != BM_BAD_INPUT || failure.message.empty()) std::abort();
  }
  return 0;
}
