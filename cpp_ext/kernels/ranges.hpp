#pragma once

#include "kernels/observer.hpp"
#include "kernels/profile.hpp"

namespace bmopt {

struct Interval {
  double low;
  double high;
};

// What one method chose: an asymmetric interval, and the bound of a symmetric one.
struct Choice {
  Interval affine;
  double bound;
};

struct Ranges {
  Choice minmax;
  Choice moving_average;
  Choice percentile;
  Choice entropy;
  Choice mse;
};

// Clipping points in bin widths from zero.
struct Cut {
  double negative;
  double positive;
  double magnitude;
};

// Cuts away the outermost 1 - percentile/100 of the values, half of it on each side.
Cut cut_by_percentile(const Profile& profile, double percentile);

// Minimises the information lost by 8-bit quantisation (Kullback-Leibler divergence).
Cut cut_by_entropy(const Profile& profile);

// Minimises the expected squared error of 8-bit quantisation.
Cut cut_by_mse(const Profile& profile);

// Chooses a range by every method. No range exceeds the extremes that were seen; where nothing
// finite was seen, all are zero.
Ranges select_ranges(const TensorObserver& observer, double percentile);

}  // namespace bmopt
