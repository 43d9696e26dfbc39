#pragma once

#include <utility>

#include "kernels/moving_average.hpp"
#include "kernels/span.hpp"
#include "kernels/tally.hpp"

namespace bmopt {

// Everything calibration remembers of one tensor, in constant memory.
class TensorObserver {
 public:
  // Adds values to the open group.
  void update(Span<const float> values, unsigned threads);

  // Ends the open group: its extremes make one step of the moving average.
  void close_group();

  // Appends what a later observer saw. Open groups of both are closed.
  void merge(TensorObserver later);

  const Tally& tally() const { return tally_; }

  // Moving averages of the minima and maxima, as if the open group were closed.
  std::pair<double, double> moving_average() const;

 private:
  Tally tally_;
  Extremes group_;
  MovingAverage low_;
  MovingAverage high_;
};

}  // namespace bmopt
