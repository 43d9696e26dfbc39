#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "failure.h"
#include "pixels.h"

namespace bm {
namespace {

struct Half {
  std::uint16_t bits;
};

// Shift out `shift` bits, rounding to nearest and halves to even.
std::uint32_t shifted_to_even(std::uint32_t value, int shift) {
  const std::uint32_t kept = value >> shift;
  const std::uint32_t lost = value & ((1U << shift) - 1U);
  const std::uint32_t half = 1U << (shift - 1);
  return kept + ((lost > half || (lost == half && (kept & 1U) != 0)) ? 1U : 0U);
}

Half to_half(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t fraction = bits & 0x7FFFFFU;
  const int exponent = static_cast<int>((bits >> 23) & 0xFFU) - 127 + 15;
  if (exponent >= 31) {
    const bool is_nan = ((bits >> 23) & 0xFFU) == 0xFFU && fraction != 0;
    return {static_cast<std::uint16_t>(sign | (is_nan ? 0x7E00U : 0x7C00U))};
  }
  if (exponent < -10) {
    return {static_cast<std::uint16_t>(sign)};
  }
  if (exponent <= 0) {
    return {
        static_cast<std::uint16_t>(sign | shifted_to_even(fraction | 0x800000U, 14 - exponent))};
  }
  const std::uint32_t whole = (static_cast<std::uint32_t>(exponent) << 23) | fraction;
  return {static_cast<std::uint16_t>(sign | shifted_to_even(whole, 13))};
}

template <typename To>
To cast(float value) {
  if constexpr (std::is_same_v<To, Half>) {
    return to_half(value);
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != 0.0F;
  } else if constexpr (std::is_floating_point_v<To>) {
    return static_cast<To>(value);
  } else {
    // Past the ends of int64 C++ leaves the result open; within them it wraps, as in NumPy.
    const bool fits = std::fabs(value) < 9.2e18F;
    return static_cast<To>(fits ? static_cast<std::int64_t>(value)
                                : std::numeric_limits<std::int64_t>::min());
  }
}

template <typename To, typename From>
std::vector<unsigned char> packed(const std::vector<From>& values) {
  std::vector<unsigned char> data(values.size() * sizeof(To));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const To element = cast<To>(static_cast<float>(values[i]));
    std::memcpy(data.data() + i * sizeof(To), &element, sizeof element);
  }
  return data;
}

template <typename From>
std::vector<unsigned char> cast_all(const std::vector<From>& values, bm_dtype dtype) {
  switch (dtype) {
    case BM_FLOAT32:
      return packed<float>(values);
    case BM_FLOAT64:
      return packed<double>(values);
    case BM_FLOAT16:
      return packed<Half>(values);
    case BM_BOOL:
      return packed<bool>(values);
    case BM_UINT8:
      return packed<std::uint8_t>(values);
    case BM_INT8:
      return packed<std::int8_t>(values);
    case BM_UINT16:
      return packed<std::uint16_t>(values);
    case BM_INT16:
      return packed<std::int16_t>(values);
    case BM_UINT32:
      return packed<std::uint32_t>(values);
    case BM_INT32:
      return packed<std::int32_t>(values);
    case BM_UINT64:
      return packed<std::uint64_t>(values);
    case BM_INT64:
      return packed<std::int64_t>(values);
  }
  throw Failure{BM_BAD_INPUT, "a picture cannot become elements of type " + std::to_string(dtype)};
}

}  // namespace

std::vector<unsigned char> cast_values(const std::vector<float>& values, bm_dtype dtype) {
  return cast_all(values, dtype);
}

std::vector<unsigned char> cast_values(const std::vector<std::uint8_t>& values, bm_dtype dtype) {
  return cast_all(values, dtype);
}

}  // namespace bm
