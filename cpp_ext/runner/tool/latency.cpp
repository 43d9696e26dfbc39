#include "latency.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "failure.h"

namespace bm {
namespace {

constexpr double kWarmUpShare = 0.1;
constexpr double kMostWarmUpSeconds = 1;
constexpr int kFewestWarmUps = 3;
constexpr std::size_t kFewestInBlock = 4;
constexpr std::size_t kMostInBlock = 1 << 16;
constexpr double kNanoseconds = 1e9;

std::vector<bm_tensor> tensors(std::vector<Array>* arrays) {
  std::vector<bm_tensor> result;
  for (Array& array : *arrays) {
    result.push_back(array.tensor());
  }
  return result;
}

// One inference after another with tensors made beforehand.
class Loop {
 public:
  Loop(bm_runner* runner, std::vector<Array>* inputs, std::vector<Array>* outputs)
      : runner_(runner), inputs_(tensors(inputs)), outputs_(tensors(outputs)) {
    starts_.reserve(kMostInBlock);
    ends_.reserve(kMostInBlock);
  }

  void run() {
    const bm_status status =
        bm_run(runner_, inputs_.data(), inputs_.size(), outputs_.data(), outputs_.size());
    if (status != BM_OK) {
      fail(status, bm_last_error());
    }
  }

  void warm_up(double seconds) {
    const std::int64_t end = now_ns() + static_cast<std::int64_t>(seconds * kNanoseconds);
    for (int i = 0; i < kFewestWarmUps || now_ns() < end; ++i) {
      run();
    }
  }

  // Until the block is long enough, or the time is up after at least one inference.
  Block block(std::int64_t origin, std::int64_t deadline) {
    const HostLoad before = host_load();
    run();
    starts_.clear();
    ends_.clear();
    const auto least = static_cast<std::int64_t>(kBlockMs * 1e6);
    do {
      starts_.push_back(now_ns());
      run();
      ends_.push_back(now_ns());
    } while (ends_.back() < deadline && ends_.size() < kMostInBlock &&
             (ends_.size() < kFewestInBlock || ends_.back() - starts_.front() < least));
    return recorded(origin, block_readings(before, host_load()));
  }

 private:
  Block recorded(std::int64_t origin, Facts readings) const {
    Block block;
    block.start_ns = starts_.front() - origin;
    for (std::size_t i = 0; i < ends_.size(); ++i) {
      block.latency_ns.push_back(ends_[i] - starts_[i]);
      if (i > 0) {
        block.pause_ns.push_back(starts_[i] - ends_[i - 1]);
      }
    }
    block.readings = std::move(readings);
    return block;
  }

  bm_runner* runner_;
  std::vector<bm_tensor> inputs_;
  std::vector<bm_tensor> outputs_;
  std::vector<std::int64_t> starts_;
  std::vector<std::int64_t> ends_;
};

}  // namespace

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
}

std::vector<std::int64_t> Latencies::sorted() const {
  std::vector<std::int64_t> all;
  for (const Block& block : blocks) {
    all.insert(all.end(), block.latency_ns.begin(), block.latency_ns.end());
  }
  std::sort(all.begin(), all.end());
  return all;
}

Latencies measure(bm_runner* runner, std::vector<Array>* inputs, std::vector<Array>* outputs,
                  double seconds) {
  Loop loop(runner, inputs, outputs);
  loop.warm_up(std::min(kWarmUpShare * seconds, kMostWarmUpSeconds));
  Latencies found;
  found.before = host_load();
  const std::int64_t origin = now_ns();
  const std::int64_t deadline = origin + static_cast<std::int64_t>(seconds * kNanoseconds);
  for (std::size_t samples = 0; found.blocks.empty() || now_ns() < deadline;) {
    found.blocks.push_back(loop.block(origin, deadline));
    samples += found.blocks.back().latency_ns.size();
    if (samples >= kMostSamples) {
      break;
    }
  }
  found.after = host_load();
  return found;
}

double median(const std::vector<std::int64_t>& sorted) {
  const std::size_t middle = sorted.size() / 2;
  if (sorted.size() % 2 == 1) {
    return static_cast<double>(sorted[middle]);
  }
  return (static_cast<double>(sorted[middle - 1]) + static_cast<double>(sorted[middle])) / 2;
}

double percentile_90(const std::vector<std::int64_t>& sorted) {
  const double position = std::ceil(0.9 * static_cast<double>(sorted.size() - 1));
  return static_cast<double>(sorted[static_cast<std::size_t>(position)]);
}

}  // namespace bm
