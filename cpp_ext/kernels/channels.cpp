#include "kernels/channels.hpp"

#include <cmath>
#include <limits>

#include "kernels/multiversion.hpp"

namespace bmopt {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// NaN fails both comparisons; infinities are held back by the finite bound.
inline void include(float value, float& low, float& high) {
  const bool finite = std::abs(value) < kInfinity;
  low = finite && value < low ? value : low;
  high = finite && value > high ? value : high;
}

}  // namespace

BMOPT_MULTIVERSION
void include_channels(Span<const float> values, std::size_t inner, Span<float> low,
                      Span<float> high) {
  const std::size_t channels = low.size;
  const float* value = values.data;
  const float* end = value + values.size;
  while (inner == 1 && value != end) {
    for (std::size_t c = 0; c < channels; ++c) {
      include(value[c], low.data[c], high.data[c]);
    }
    value += channels;
  }
  for (std::size_t c = 0; value != end; c = (c + 1) % channels) {
    float smallest = low.data[c];
    float largest = high.data[c];
    for (std::size_t i = 0; i < inner; ++i) {
      include(value[i], smallest, largest);
    }
    low.data[c] = smallest;
    high.data[c] = largest;
    value += inner;
  }
}

}  // namespace bmopt
