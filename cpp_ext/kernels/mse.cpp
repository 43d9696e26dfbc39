#include <algorithm>
#include <limits>

#include "kernels/ranges.hpp"

namespace bmopt {
namespace {

constexpr double kAffineSteps = 255.0;
constexpr double kSymmetricSteps = 127.0;
constexpr std::size_t kGrid = 64;

// Squared error of the values beyond the first k bins when they are moved to the cut.
double clipping_error(const Side& side, std::size_t k) {
  const double cut = static_cast<double>(k);
  return k == side.top()
             ? 0.0
             : side.second_moment[k] - 2.0 * cut * side.first_moment[k] + cut * cut * side.mass[k];
}

// Squared rounding error of values spread evenly over the steps.
double rounding_error(double values, double step) {
  return values * step * step / 12.0;
}

double affine_error(const Profile& profile, std::size_t negative, std::size_t positive) {
  const Side& left = profile.negative;
  const Side& right = profile.positive;
  const double inside = left.mass[0] - left.mass[negative] + right.mass[0] - right.mass[positive];
  const double step = (left.edge(negative) + right.edge(positive)) / kAffineSteps;
  return clipping_error(left, negative) + clipping_error(right, positive) +
         rounding_error(inside, step);
}

double symmetric_error(const Side& side, std::size_t k) {
  return clipping_error(side, k) +
         rounding_error(side.mass[0] - side.mass[k], side.edge(k) / kSymmetricSteps);
}

// Candidates from `from` down to `to`, both included.
struct Steps {
  std::size_t from;
  std::size_t to;
  std::size_t stride;
};

Steps coarse(const Side& side) {
  return {side.top(), 0, std::max<std::size_t>(1, side.top() / kGrid)};
}

Steps around(const Side& side, std::size_t k) {
  const std::size_t reach = coarse(side).stride;
  return {std::min(side.top(), k + reach), k - std::min(k, reach), 1};
}

template <typename Visit>
void visit_steps(const Steps& steps, Visit visit) {
  std::size_t k = steps.from;
  while (true) {
    visit(k);
    if (k < steps.to + steps.stride) {
      return;
    }
    k -= steps.stride;
  }
}

struct Pair {
  std::size_t negative;
  std::size_t positive;
};

// Widest candidates come first, so that they win ties.
Pair best_pair(const Profile& profile, const Steps& left, const Steps& right) {
  Pair best{left.from, right.from};
  double least = std::numeric_limits<double>::infinity();
  visit_steps(left, [&](std::size_t negative) {
    visit_steps(right, [&](std::size_t positive) {
      const double error = affine_error(profile, negative, positive);
      if (error < least) {
        least = error;
        best = {negative, positive};
      }
    });
  });
  return best;
}

std::size_t best_bound(const Side& side) {
  std::size_t best = side.top();
  double least = std::numeric_limits<double>::infinity();
  visit_steps({side.top(), 0, 1}, [&](std::size_t k) {
    const double error = symmetric_error(side, k);
    if (error < least) {
      least = error;
      best = k;
    }
  });
  return best;
}

}  // namespace

Cut cut_by_mse(const Profile& profile) {
  const Side& left = profile.negative;
  const Side& right = profile.positive;
  const Pair rough = best_pair(profile, coarse(left), coarse(right));
  const Pair best =
      best_pair(profile, around(left, rough.negative), around(right, rough.positive));
  return {left.edge(best.negative), right.edge(best.positive),
          profile.magnitude.edge(best_bound(profile.magnitude))};
}

}  // namespace bmopt
