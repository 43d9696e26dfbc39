#include "kernels/profile.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

namespace bmopt {
namespace {

// Counts outwards from zero up to the bin that holds `extreme`.
std::vector<double> outwards(const Histogram& histogram, double extreme, bool positive) {
  const std::size_t top = extreme > 0.0 ? static_cast<std::size_t>(extreme) + 1 : 0;
  const std::vector<std::uint64_t>& counts = histogram.counts();
  std::vector<double> bins(top);
  for (std::size_t i = 0; i < top; ++i) {
    bins[i] = static_cast<double>(positive ? counts[kHalfBins + i] : counts[kHalfBins - 1 - i]);
  }
  return bins;
}

std::vector<double> sum(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> total(std::max(a.size(), b.size()), 0.0);
  std::transform(a.begin(), a.end(), total.begin(), total.begin(), std::plus<>());
  std::transform(b.begin(), b.end(), total.begin(), total.begin(), std::plus<>());
  return total;
}

double width_of(const Histogram& histogram) {
  return std::ldexp(1.0, histogram.exponent()) / kHalfBins;
}

Side side_of(const Tally& tally, bool positive) {
  const double extreme = positive ? tally.high : -static_cast<double>(tally.low);
  const double bins = std::max(0.0, extreme) / width_of(tally.histogram);
  return Side(outwards(tally.histogram, bins, positive), bins);
}

}  // namespace

Side::Side(std::vector<double> bins, double extreme_in_bins)
    : counts(std::move(bins)), extreme(extreme_in_bins) {
  mass.assign(top() + 1, 0.0);
  first_moment = second_moment = mass;
  for (std::size_t k = top(); k-- > 0;) {
    const double middle = static_cast<double>(k) + 0.5;
    mass[k] = mass[k + 1] + counts[k];
    first_moment[k] = first_moment[k + 1] + counts[k] * middle;
    second_moment[k] = second_moment[k + 1] + counts[k] * middle * middle;
  }
}

Profile::Profile(const Tally& tally)
    : low(tally.low),
      high(tally.high),
      width(width_of(tally.histogram)),
      finite(static_cast<double>(tally.finite)),
      negative(side_of(tally, false)),
      positive(side_of(tally, true)),
      magnitude(sum(negative.counts, positive.counts),
                std::max(negative.extreme, positive.extreme)) {}

}  // namespace bmopt
