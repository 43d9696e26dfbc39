#include "kernels/ranges.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace bmopt {
namespace {

double bound_of(double low, double high) {
  return std::max(std::abs(low), std::abs(high));
}

// A side that holds no values is not cut: its extreme is on the other side of zero. A cut that
// would leave nothing (almost all values are zero) gives the extremes instead.
Choice choice_of(const Profile& profile, const Cut& cut) {
  const double negative = -cut.negative * profile.width;
  const double positive = cut.positive * profile.width;
  Interval affine{profile.negative.top() == 0 ? profile.low : std::max(profile.low, negative),
                  profile.positive.top() == 0 ? profile.high : std::min(profile.high, positive)};
  if (!(affine.low < affine.high)) {
    affine = {profile.low, profile.high};
  }
  const double limit = bound_of(profile.low, profile.high);
  const double bound = std::min(limit, cut.magnitude * profile.width);
  return {affine, bound > 0.0 ? bound : limit};
}

}  // namespace

Ranges select_ranges(const TensorObserver& observer, double percentile) {
  const Tally& tally = observer.tally();
  if (tally.finite == 0) {
    return Ranges{};
  }
  const Profile profile(tally);
  double low;
  double high;
  std::tie(low, high) = observer.moving_average();
  low = std::clamp(low, profile.low, profile.high);
  high = std::clamp(high, profile.low, profile.high);
  return {
      {{profile.low, profile.high}, bound_of(profile.low, profile.high)},
      {{low, high}, bound_of(low, high)},
      choice_of(profile, cut_by_percentile(profile, percentile)),
      choice_of(profile, cut_by_entropy(profile)),
      choice_of(profile, cut_by_mse(profile)),
  };
}

}  // namespace bmopt
