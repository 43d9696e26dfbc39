#include "kernels/histogram.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/multiversion.hpp"

namespace bmopt {
namespace {

// Merges pairs of bins, from zero outwards on one side (`step` is the direction).
void halve_side(std::uint64_t* innermost, std::ptrdiff_t step) {
  for (std::ptrdiff_t i = 0; i < kHalfBins / 2; ++i) {
    innermost[i * step] = innermost[2 * i * step] + innermost[(2 * i + 1) * step];
  }
  for (std::ptrdiff_t i = kHalfBins / 2; i < kHalfBins; ++i) {
    innermost[i * step] = 0;
  }
}

// Adds four rows of narrow counters, `stride` apart, to the wide ones.
BMOPT_MULTIVERSION
void add_rows(const std::uint16_t* row, std::size_t stride, std::uint64_t* __restrict wide) {
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    const std::uint32_t sum = std::uint32_t{row[bin]} + row[bin + stride] + row[bin + 2 * stride] +
                              row[bin + 3 * stride];
    wide[bin] += sum;
  }
}

}  // namespace

int Histogram::exponent_for(float magnitude) {
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  return std::max(exponent, kMinExponent);
}

bool Histogram::is_empty() const {
  return std::all_of(counts_.begin(), counts_.end(), [](std::uint64_t n) { return n == 0; });
}

float Histogram::scale() const {
  return std::ldexp(static_cast<float>(kHalfBins), -exponent_);
}

void Histogram::cover(int exponent) {
  if (exponent > exponent_ && is_empty()) {
    exponent_ = exponent;
  }
  for (; exponent_ < exponent; ++exponent_) {
    halve_side(counts_.data() + kHalfBins, 1);
    halve_side(counts_.data() + kHalfBins - 1, -1);
  }
}

void Histogram::merge(const Histogram& other) {
  if (other.exponent_ < exponent_) {
    Histogram widened = other;
    widened.cover(exponent_);
    return merge(widened);
  }
  cover(other.exponent_);
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    counts_[i] += other.counts_[i];
  }
}

void LaneCounter::count(Span<const std::uint16_t> bins, Histogram& into) {
  if (++blocks_ > kFlushAfter) {
    flush(into);
    blocks_ = 1;
  }
  std::uint16_t* lane0 = lanes_.data();
  std::uint16_t* lane1 = lane0 + kLaneBins;
  std::uint16_t* lane2 = lane1 + kLaneBins;
  std::uint16_t* lane3 = lane2 + kLaneBins;
  std::size_t i = 0;
  for (; i + kLanes <= bins.size; i += kLanes) {
    // One wide load instead of four: the load ports are what limits this loop.
    std::uint64_t four;
    std::memcpy(&four, bins.data + i, sizeof four);
    ++lane0[four & 0xffff];
    ++lane1[four >> 16 & 0xffff];
    ++lane2[four >> 32 & 0xffff];
    ++lane3[four >> 48];
  }
  for (; i < bins.size; ++i) {
    ++lane0[bins[i]];
  }
}

void LaneCounter::flush(Histogram& into) {
  if (blocks_ == 0) {
    return;
  }
  static_assert(kLanes == 4, "add_rows adds four");
  add_rows(lanes_.data(), kLaneBins, into.counts_.data());
  std::fill(lanes_.begin(), lanes_.end(), std::uint16_t{0});
  blocks_ = 0;
}

}  // namespace bmopt
