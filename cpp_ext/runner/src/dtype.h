#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "bmopt_runner.h"

namespace bm {

bm_dtype dtype_of(const std::string& name);  // 0 for an unknown name.
const char* dtype_name(int dtype);           // "?" for no bm_dtype.
std::size_t dtype_bytes(int dtype);          // 0 for no bm_dtype.

// The number that a caller in C has put there, which may be no bm_dtype: in C++ one must not even
// look at such a value as one.
inline int dtype_code(const bm_dtype& dtype) {
  static_assert(sizeof(bm_dtype) == sizeof(int));
  int code;
  std::memcpy(&code, &dtype, sizeof code);
  return code;
}

// "[-1, 3, 32, 32]"
std::string shape_text(const std::int64_t* shape, std::size_t rank);

// Element `index` of a dense tensor as a double (int64 above 2^53 is rounded).
double element(bm_dtype dtype, const void* data, std::size_t index);

float half_to_float(std::uint16_t half);

}  // namespace bm
