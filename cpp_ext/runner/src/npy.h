#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bmopt_runner.h"

namespace bm {

// A dense, row-major array that owns its bytes.
struct Array {
  bm_dtype dtype = BM_FLOAT32;
  std::vector<std::int64_t> shape;
  std::vector<unsigned char> data;

  // A view for bm_run; valid while this array lives and keeps its shape.
  bm_tensor tensor();
};

// Zeros. Throws Failure (BM_BAD_INPUT) where the size overflows or is above kArrayBytes, or the
// rank above BM_MAX_RANK.
Array make_array(bm_dtype dtype, std::vector<std::int64_t> shape);

constexpr std::size_t kArrayBytes = std::size_t{1} << 34;

// Number of elements. Throws Failure (BM_BAD_INPUT) where a size is negative or it overflows.
std::size_t count_elements(const std::vector<std::int64_t>& shape);

// Read NPY 1.0 or 2.0: little-endian, C order, nothing but the array in the file. `where` begins
// messages. Throws Failure (BM_BAD_INPUT).
Array parse_npy(const unsigned char* bytes, std::size_t size, const std::string& where);
Array read_npy(const std::string& path);  // A user's file, which may be a link.

std::string npy_bytes(const Array& array);  // NPY 1.0, as numpy.save writes it.
void write_npy(const std::string& path, const Array& array);

}  // namespace bm
