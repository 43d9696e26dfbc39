#pragma once

#include <cstdint>
#include <limits>

#include "kernels/histogram.hpp"
#include "kernels/span.hpp"

namespace bmopt {

// Exact facts of a set of floats. Merging is associative and commutative, bit for bit.
struct Tally {
  std::uint64_t finite = 0;
  std::uint64_t zeros = 0;
  std::uint64_t infinities = 0;
  std::uint64_t nans = 0;
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
  Histogram histogram;  // of the finite values that are not zero

  void merge(const Tally& other);
};

// Smallest and largest finite value of an update; low > high where there was none.
struct Extremes {
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();

  void include(float smaller, float larger);
  bool is_empty() const { return low > high; }
};

// Adds the values to the tally on up to `threads` threads and returns their extremes.
Extremes accumulate(Span<const float> values, unsigned threads, Tally& tally);

}  // namespace bmopt
