#include <algorithm>

#include "kernels/ranges.hpp"

namespace bmopt {
namespace {

// Returns the position that `mass` values lie beyond, linear within a bin; 0 where there are
// fewer.
double tail_edge(const Side& side, double mass) {
  for (std::size_t k = side.top(); k-- > 0;) {
    if (side.counts[k] > 0.0 && side.counts[k] >= mass) {
      return std::min(side.extreme, static_cast<double>(k + 1) - mass / side.counts[k]);
    }
    mass -= side.counts[k];
  }
  return 0.0;
}

}  // namespace

Cut cut_by_percentile(const Profile& profile, double percentile) {
  const double tail = (1.0 - percentile / 100.0) * profile.finite;
  return {tail_edge(profile.negative, tail / 2.0), tail_edge(profile.positive, tail / 2.0),
          tail_edge(profile.magnitude, tail)};
}

}  // namespace bmopt
