#include "kernels/observer.hpp"

namespace bmopt {

void TensorObserver::update(Span<const float> values, unsigned threads) {
  const Extremes seen = accumulate(values, threads, tally_);
  group_.include(seen.low, seen.high);
}

void TensorObserver::close_group() {
  if (group_.is_empty()) {
    return;
  }
  low_.push(group_.low);
  high_.push(group_.high);
  group_ = Extremes{};
}

void TensorObserver::merge(TensorObserver later) {
  close_group();
  later.close_group();
  tally_.merge(later.tally_);
  low_.merge(later.low_);
  high_.merge(later.high_);
}

std::pair<double, double> TensorObserver::moving_average() const {
  TensorObserver closed = *this;
  closed.close_group();
  return {closed.low_.value(), closed.high_.value()};
}

}  // namespace bmopt
