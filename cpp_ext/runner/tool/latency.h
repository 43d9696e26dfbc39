#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bmopt_runner.h"
#include "host_facts.h"
#include "npy.h"

namespace bm {

// Nanoseconds of a clock that never jumps.
std::int64_t now_ns();

// Consecutive inferences; the first, which pays for what was read beside them, is left out.
struct Block {
  std::int64_t start_ns = 0;           // After the measurement's start.
  std::vector<std::int64_t> pause_ns;  // Between inferences; one fewer than latencies.
  std::vector<std::int64_t> latency_ns;
  Facts readings;
};

struct Latencies {
  std::vector<Block> blocks;
  HostLoad before;
  HostLoad after;

  std::vector<std::int64_t> sorted() const;
};

constexpr double kBlockMs = 20;
constexpr std::size_t kMostSamples = 4000000;

// Warm up, then run for `seconds`, or kMostSamples. `outputs` have the shapes that the model
// gives. Throws Failure where an inference fails.
Latencies measure(bm_runner* runner, std::vector<Array>* inputs, std::vector<Array>* outputs,
                  double seconds);

// Of at least one sorted sample, in nanoseconds; the percentile is the order statistic above.
double median(const std::vector<std::int64_t>& sorted);
double percentile_90(const std::vector<std::int64_t>& sorted);

}  // namespace bm
