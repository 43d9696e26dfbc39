#include "dtype.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>

namespace bm {
namespace {

struct Type {
  bm_dtype dtype;
  const char* name;
  std::size_t bytes;
};

constexpr Type kTypes[] = {
    {BM_FLOAT32, "float32", 4}, {BM_UINT8, "uint8", 1},   {BM_INT8, "int8", 1},
    {BM_UINT16, "uint16", 2},   {BM_INT16, "int16", 2},   {BM_INT32, "int32", 4},
    {BM_INT64, "int64", 8},     {BM_BOOL, "bool", 1},     {BM_FLOAT16, "float16", 2},
    {BM_FLOAT64, "float64", 8}, {BM_UINT32, "uint32", 4}, {BM_UINT64, "uint64", 8},
};

const Type* find(int dtype) {
  for (const Type& type : kTypes)
    if (type.dtype == dtype) return &type;
  return nullptr;
}

template <typename T>
T load(const void* data, std::size_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + index * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

bm_dtype dtype_of(const std::string& name) {
  for (const Type& type : kTypes)
    if (name == type.name) return type.dtype;
  return static_cast<bm_dtype>(0);
}

const char* dtype_name(int dtype) {
  const Type* type = find(dtype);
  return type ? type->name : "?";
}

std::size_t dtype_bytes(int dtype) {
  const Type* type = find(dtype);
  return type ? type->bytes : 0;
}

std::string shape_text(const std::int64_t* shape, std::size_t rank) {
  std::string text = "[";
  for (std::size_t i = 0; i < rank; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

float half_to_float(std::uint16_t half) {
  const float sign = half & 0x8000 ? -1.0f : 1.0f;
  const int exponent = half >> 10 & 0x1f;
  const int mantissa = half & 0x3ff;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  return sign * std::ldexp(static_cast<float>(mantissa | 0x400), exponent - 25);
}

double element(bm_dtype dtype, const void* data, std::size_t index) {
  switch (dtype) {
    case BM_FLOAT32:
      return load<float>(data, index);
    case BM_FLOAT16:
      return half_to_float(load<std::uint16_t>(data, index));
    case BM_FLOAT64:
      return load<double>(data, index);
    case BM_BOOL:
      return load<std::uint8_t>(data, index) != 0;
    case BM_UINT8:
      return load<std::uint8_t>(data, index);
    case BM_INT8:
      return load<std::int8_t>(data, index);
    case BM_UINT16:
      return load<std::uint16_t>(data, index);
    case BM_INT16:
      return load<std::int16_t>(data, index);
    case BM_UINT32:
      return load<std::uint32_t>(data, index);
    case BM_INT32:
      return load<std::int32_t>(data, index);
    case BM_UINT64:
      return static_cast<double>(load<std::uint64_t>(data, index));
    case BM_INT64:
      return static_cast<double>(load<std::int64_t>(data, index));
  }
  return NAN;
}

}  // namespace bm
