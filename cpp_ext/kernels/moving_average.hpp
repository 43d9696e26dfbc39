#pragma once

#include <cmath>
#include <cstdint>

namespace bmopt {

// Exponential moving average of groups' extremes: m*average + (1-m)*extreme per group, starting
// at the first group's. It is kept as an affine map of the first value, whose composition is
// associative, so that two averages can be merged (equal up to rounding).
struct MovingAverage {
  static constexpr double kMomentum = 0.9;

  std::uint64_t groups = 0;
  double first = 0.0;
  double drive = 0.0;

  void push(double extreme) {
    first = groups == 0 ? extreme : first;
    drive = kMomentum * drive + (1.0 - kMomentum) * extreme;
    ++groups;
  }

  double value() const { return drive + weight() * first; }

  void merge(const MovingAverage& later) {
    first = groups == 0 ? later.first : first;
    drive = later.drive + later.weight() * drive;
    groups += later.groups;
  }

 private:
  double weight() const { return std::pow(kMomentum, static_cast<double>(groups)); }
};

}  // namespace bmopt
