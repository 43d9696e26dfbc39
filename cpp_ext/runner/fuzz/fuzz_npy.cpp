#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "dtype.h"
#include "failure.h"
#include "npy.h"

// Either a Failure of bad input, or an array that is as large as its shape and survives a copy.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    bm::Array array = bm::parse_npy(data, size, "input");
    const std::size_t bytes = bm::count_elements(array.shape) * bm::dtype_bytes(array.dtype);
    if (bytes != array.data.size() || array.tensor().bytes != bytes) std::abort();
    const std::string copy = bm::npy_bytes(array);
    const auto* begin = reinterpret_cast<const unsigned char*>(copy.data());
    if (bm::parse_npy(begin, copy.size(), "copy").data != array.data) std::abort();
  } catch (const bm::Failure& failure) {
    if (failure.status != BM_BAD_INPUT || failure.message.empty()) std::abort();
  }
  return 0;
}
