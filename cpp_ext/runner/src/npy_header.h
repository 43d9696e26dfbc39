#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bmopt_runner.h"

namespace bm {

struct NpyHeader {
  bm_dtype dtype;
  std::vector<std::int64_t> shape;
};

// Read the Python dictionary of an NPY file's header. Throws Failure (BM_BAD_INPUT).
NpyHeader parse_npy_header(const std::string& text, const std::string& where);

std::string npy_header(const NpyHeader& header);

}  // namespace bm
