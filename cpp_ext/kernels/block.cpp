#include "kernels/block.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/multiversion.hpp"

namespace bmopt {
namespace {

inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline std::uint16_t bin_of(float value, float scale, std::int32_t lane) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t absolute = bits & 0x7fffffffu;
  float magnitude;
  std::memcpy(&magnitude, &absolute, sizeof magnitude);
  const std::int32_t offset = static_cast<std::int32_t>(magnitude * scale);
  const std::int32_t mirror = static_cast<std::int32_t>(bits) >> 31;  // all ones for x < 0
  return static_cast<std::uint16_t>(absolute == 0 ? kBins + lane : kHalfBins + (offset ^ mirror));
}

}  // namespace

BMOPT_MULTIVERSION
BlockScan scan_block(Span<const float> values) {
  std::uint32_t magnitude = 0;
  std::uint32_t zeros = 0;
  std::int32_t low = INT32_MAX;
  std::int32_t high = INT32_MIN;
  for (std::size_t i = 0; i < values.size; ++i) {
    const std::uint32_t bits = bits_of(values.data[i]);
    const std::uint32_t absolute = bits & 0x7fffffffu;
    const std::int32_t sign = static_cast<std::int32_t>(bits) >> 31;
    const std::int32_t key = static_cast<std::int32_t>(bits) ^ (sign & 0x7fffffff);
    magnitude = std::max(magnitude, absolute);
    low = std::min(low, key);
    high = std::max(high, key);
    zeros += absolute == 0;
  }
  return {magnitude, low, high, zeros};
}

BMOPT_MULTIVERSION
void bin_block(Span<const float> values, float scale, std::uint16_t* bins) {
  std::size_t start = 0;
  for (; start + kSpareBins <= values.size; start += kSpareBins) {
    // A fixed trip count, because the compiler then keeps the spare bins in a register.
    for (int i = 0; i < kSpareBins; ++i) {
      bins[start + i] = bin_of(values.data[start + i], scale, i);
    }
  }
  for (int i = 0; start + i < values.size; ++i) {
    bins[start + i] = bin_of(values.data[start + i], scale, i);
  }
}

float float_of_key(std::int32_t key) {
  const std::int32_t bits = key ^ ((key >> 31) & 0x7fffffff);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value + 0.0f;
}

}  // namespace bmopt
