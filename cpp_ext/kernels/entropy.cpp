#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/ranges.hpp"

namespace bmopt {
namespace {

constexpr std::size_t kAffineLevels = 256;
constexpr std::size_t kSymmetricLevels = 128;
constexpr std::size_t kGridOneSided = 128;
constexpr std::size_t kGridTwoSided = 24;
constexpr double kHalfCount = 0.5;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double x_log_x(double x) {
  return x > 0.0 ? x * std::log(x) : 0.0;
}

// A row of bins with prefix sums, so that a divergence costs one step per quantisation level.
class Line {
 public:
  explicit Line(std::vector<double> counts) : counts_(std::move(counts)) {
    mass_.push_back(0.0);
    occupied_.push_back(0.0);
    information_.push_back(0.0);
    for (const double count : counts_) {
      mass_.push_back(mass_.back() + count);
      occupied_.push_back(occupied_.back() + (count > 0.0));
      information_.push_back(information_.back() + x_log_x(count));
    }
  }

  // Divergence of the values clipped to the bins [begin, end), P, from those inside quantised to
  // `levels` equal groups of bins and spread over each group's occupied bins, Q. A group that P
  // occupies and Q does not counts as half a value in Q. Infinite where nothing is inside.
  double divergence(std::size_t begin, std::size_t end, std::size_t levels) const {
    const double inside = mass_[end] - mass_[begin];
    const double below = mass_[begin];
    const double above = mass_.back() - mass_[end];
    if (inside == 0.0) {
      return kInfinity;
    }
    double cross = 0.0;
    for (std::size_t level = 0; level < levels; ++level) {
      const std::size_t from = begin + level * (end - begin) / levels;
      const std::size_t to = begin + (level + 1) * (end - begin) / levels;
      const double quantised = mass_[to] - mass_[from];
      double clipped = quantised;
      double occupied = occupied_[to] - occupied_[from];
      if (level == 0) {
        clipped += below;
        occupied += newly_occupied(begin, below);
      }
      if (level + 1 == levels) {
        clipped += above;
        occupied += newly_occupied(end - 1, above);
      }
      if (clipped > 0.0) {
        cross += clipped * std::log(std::max(quantised, kHalfCount) / occupied);
      }
    }
    const double information =
        information_[end] - information_[begin] + gained(begin, below) + gained(end - 1, above);
    return (information - cross) / mass_.back() - std::log(mass_.back()) + std::log(inside);
  }

 private:
  double newly_occupied(std::size_t bin, double added) const {
    return added > 0.0 && counts_[bin] == 0.0 ? 1.0 : 0.0;
  }

  double gained(std::size_t bin, double added) const {
    return x_log_x(counts_[bin] + added) - x_log_x(counts_[bin]);
  }

  std::vector<double> counts_, mass_, occupied_, information_;
};

// Cuts to try on a side of `top` bins, widest first; a side without bins has the one cut 0.
std::vector<std::size_t> candidates(std::size_t top, std::size_t grid) {
  std::vector<std::size_t> cuts;
  for (std::size_t i = grid; i > 0; --i) {
    const std::size_t cut = (top * i + grid - 1) / grid;
    if (cuts.empty() || cuts.back() != cut) {
      cuts.push_back(cut);
    }
  }
  return cuts;
}

struct Pair {
  std::size_t negative;
  std::size_t positive;
};

Pair best_pair(const Side& left, const Side& right, std::size_t levels) {
  std::vector<double> counts(left.counts.rbegin(), left.counts.rend());
  counts.insert(counts.end(), right.counts.begin(), right.counts.end());
  const Line line(std::move(counts));
  const std::size_t grid = left.top() == 0 || right.top() == 0 ? kGridOneSided : kGridTwoSided;
  Pair best{left.top(), right.top()};
  double least = kInfinity;
  for (const std::size_t negative : candidates(left.top(), grid)) {
    for (const std::size_t positive : candidates(right.top(), grid)) {
      if (negative + positive < levels) {
        continue;
      }
      const double divergence =
          line.divergence(left.top() - negative, left.top() + positive, levels);
      if (divergence < least) {
        least = divergence;
        best = {negative, positive};
      }
    }
  }
  return best;
}

}  // namespace

Cut cut_by_entropy(const Profile& profile) {
  const Pair affine = best_pair(profile.negative, profile.positive, kAffineLevels);
  const Side none({}, 0.0);
  const Pair symmetric = best_pair(none, profile.magnitude, kSymmetricLevels);
  return {profile.negative.edge(affine.negative), profile.positive.edge(affine.positive),
          profile.magnitude.edge(symmetric.positive)};
}

}  // namespace bmopt
