#include "onnxruntime_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "failure.h"

namespace bm::ort {
namespace {

// Functions are only ever added to the table: an old version is all that is asked for, so that
// libraries older than the header do.
constexpr std::uint32_t kApiVersion = std::min(16, ORT_API_VERSION);
constexpr char kHow[] =
    "package the bundle with it (without --slim), install it, or name its file with --library";

void* open_library(const std::vector<std::string>& names) {
  std::string reason;
  for (const std::string& name : names) {
    void* const library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) return library;
    if (reason.empty()) reason = ::dlerror();
  }
  fail(BM_HOST, "cannot load ONNX Runtime: " + reason + "; " + kHow);
}

std::vector<std::string> names_of(const char* name) {
  if (name != nullptr && std::strchr(name, '/') != nullptr) return {name};
  std::vector<std::string> names = {"libonnxruntime.so.1", "libonnxruntime.so"};
  if (name != nullptr && names.front() != name) names.insert(names.begin(), name);
  return names;
}

}  // namespace

void Library::check(OrtStatus* result, bm_status status, const std::string& what) const {
  if (result == nullptr) return;
  std::string message = what + ": ONNX Runtime " + version + ": " + api->GetErrorMessage(result);
  api->ReleaseStatus(result);
  std::replace(message.begin(), message.end(), '\n', ' ');
  fail(status, message);
}

Library load_library(const char* name) {
  using Entry = const OrtApiBase*(ORT_API_CALL*)();
  void* const library = open_library(names_of(name));
  const auto entry = reinterpret_cast<Entry>(::dlsym(library, "OrtGetApiBase"));
  if (entry == nullptr) fail(BM_HOST, "the library named is not ONNX Runtime's");
  const OrtApiBase* const base = entry();
  const std::string version = base->GetVersionString();
  const OrtApi* const api = base->GetApi(kApiVersion);
  if (api == nullptr)
    fail(BM_HOST, "ONNX Runtime " + version + " is too old; 1." + std::to_string(kApiVersion) +
                      " or newer will do");
  return {api, version};
}

}  // namespace bm::ort
