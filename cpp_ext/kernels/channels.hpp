#pragma once

#include <cstddef>

#include "kernels/span.hpp"

namespace bmopt {

// Widens low[c]..high[c] to the finite values of an array of shape [outer, channels, inner], where
// `channels` is the length of low and high.
void include_channels(Span<const float> values, std::size_t inner, Span<float> low,
                      Span<float> high);

}  // namespace bmopt
