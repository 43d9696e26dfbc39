#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/block.hpp"
#include "kernels/span.hpp"

namespace bmopt {

// Counts of finite, non-zero values in kBins equal bins over (-2^exponent, 2^exponent).
//
// The range is the smallest power of two above every magnitude seen. Doubling it merges bins in
// pairs on each side of zero, which is exact for power-of-two widths, so the counts depend neither
// on the order of arrival nor on how the values were split.
class Histogram {
 public:
  Histogram() : counts_(kBins, 0) {}

  // Smallest exponent kept: below it the scale to bins would leave float's range.
  static constexpr int kMinExponent = -100;

  // Returns the exponent whose range holds the magnitude.
  static int exponent_for(float magnitude);

  int exponent() const { return exponent_; }
  float scale() const;
  bool is_empty() const;
  const std::vector<std::uint64_t>& counts() const { return counts_; }

  // Doubles the range until it reaches `exponent`.
  void cover(int exponent);
  void add(int bin, std::uint64_t count) { counts_[static_cast<std::size_t>(bin)] += count; }
  void merge(const Histogram& other);

 private:
  friend class LaneCounter;

  int exponent_ = kMinExponent;
  std::vector<std::uint64_t> counts_;
};

// Counts bins in four interleaved sets of narrow counters, because equal neighbours would
// otherwise wait for each other's store.
class LaneCounter {
 public:
  LaneCounter() : lanes_(kLanes * kLaneBins, 0) {}

  // Adds at most kBlock bins.
  void count(Span<const std::uint16_t> bins, Histogram& into);

  // Moves all counts into the histogram; call before its range doubles and at the end.
  void flush(Histogram& into);

 private:
  static constexpr std::size_t kLanes = 4;
  static constexpr std::size_t kLaneBins = kBins + kSpareBins;
  static constexpr std::size_t kFlushAfter = UINT16_MAX / (kBlock / kLanes + 1);

  std::vector<std::uint16_t> lanes_;
  std::size_t blocks_ = 0;
};

}  // namespace bmopt
