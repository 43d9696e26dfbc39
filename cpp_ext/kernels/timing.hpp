#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "kernels/span.hpp"

namespace bmopt {

// Nanoseconds since an arbitrary moment that only go forward: clock_gettime(CLOCK_MONOTONIC).
inline std::int64_t monotonic_ns() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

// Borrowed buffers of one size, the first `held` samples in them from before.
struct Samples {
  Span<std::int64_t> starts;
  Span<std::int64_t> latencies;
  std::size_t held;
};

// Call `run` again and again and write down when each call started and how
// long it took, until `least_ns` have gone by since the first sample and there are `fewest`, or
// the buffers are full. Return how many samples they hold.
//
// Between the two readings of `now` there is the call alone: what it returns is destroyed after
// the second one, and `pause` is called after that. Exceptions of the three pass through.
template <typename Now, typename Run, typename Pause>
std::size_t time_block(Samples samples, std::int64_t least_ns, std::size_t fewest, Now now,
                       Run run, Pause pause) {
  std::size_t count = samples.held;
  while (count < samples.starts.size) {
    const std::int64_t start = now();
    std::int64_t end;
    {
      const auto outputs = run();
      end = now();
    }
    samples.starts[count] = start;
    samples.latencies[count] = end - start;
    ++count;
    pause();
    if (count >= fewest && end - samples.starts[0] >= least_ns) {
      break;
    }
  }
  return count;
}

}  // namespace bmopt
