#pragma once

#include <cstddef>
#include <vector>

#include "kernels/tally.hpp"

namespace bmopt {

// One side of zero of a histogram, innermost bin first. Positions are in bin widths.
struct Side {
  std::vector<double> counts;  // up to the bin of the extreme
  double extreme = 0.0;
  // Suffix sums over the bins from k outwards of count, count*middle, count*middle^2.
  std::vector<double> mass, first_moment, second_moment;

  Side(std::vector<double> bins, double extreme_in_bins);

  std::size_t top() const { return counts.size(); }

  // Where clipping after the first k bins cuts; k == top() cuts nothing.
  double edge(std::size_t k) const { return k == top() ? extreme : static_cast<double>(k); }
};

// A histogram prepared for choosing ranges; zeros are left out, for every encoding holds zero
// exactly and a range cannot hurt them.
struct Profile {
  double low;
  double high;
  double width;  // of a bin
  double finite;
  Side negative;
  Side positive;
  Side magnitude;

  explicit Profile(const Tally& tally);
};

}  // namespace bmopt
