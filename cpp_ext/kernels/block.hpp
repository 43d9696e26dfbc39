#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/span.hpp"

namespace bmopt {

// Elements per block: the floats and their bin indices stay in the first-level cache together.
constexpr std::size_t kBlock = 4096;

// Bins on each side of zero.
constexpr int kHalfBins = 2048;
constexpr int kBins = 2 * kHalfBins;

// Zeros are counted apart and land in spare bins that nobody reads, in turn: half of a ReLU's
// outputs are zero, and increments of one and the same counter would wait for each other.
constexpr int kSpareBins = 16;

// What one pass over a block finds out. `min_key` and `max_key` order like the floats they encode
// (see float_of_key), so that integer minima vectorise without relaxing floating-point rules.
struct BlockScan {
  std::uint32_t max_magnitude_bits;
  std::int32_t min_key;
  std::int32_t max_key;
  std::uint32_t zeros;

  bool is_finite() const { return max_magnitude_bits < 0x7f800000u; }
};

// Scans at most kBlock floats; needs at least one.
BlockScan scan_block(Span<const float> values);

// Writes the bin of every value: kHalfBins + trunc(|x| * scale) for x > 0, mirrored to
// kHalfBins - 1 - trunc(|x| * scale) for x < 0, and kBins or above for zeros. All values are
// finite and |x| * scale < kHalfBins.
void bin_block(Span<const float> values, float scale, std::uint16_t* bins);

// Returns the float that a key of BlockScan stands for; -0 becomes +0.
float float_of_key(std::int32_t key);

}  // namespace bmopt
