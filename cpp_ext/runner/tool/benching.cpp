#include <cstdint>
#include <cstdio>

#include "bench_document.h"
#include "failure.h"
#include "golden.h"
#include "inputs.h"
#include "latency.h"
#include "modes.h"
#include "open_runner.h"

namespace bm {
namespace {

// Fewer tell no 90th percentile: bmopt.bench.early_stopping.queries_needed(0.9).
constexpr std::size_t kFewestForP90 = 44;

Feeds feeds_for(const Bundle& bundle, const ModelSpec& model, const ToolOptions& options) {
  if (options.inputs.empty() && model.golden.empty()) {
    return zero_feeds(model);
  }
  std::vector<Feeds> all = read_feeds(bundle, model, options.inputs);
  if (all.size() > 1) {
    bad_input("--input: --bench repeats one inference; give its inputs once");
  }
  return std::move(all.front());
}

std::string milliseconds(double ns) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f ms", ns < 1e6 ? 4 : 3, ns / 1e6);
  return text;
}

void print_text(const BenchResult& result) {
  const std::vector<std::int64_t> sorted = result.latencies.sorted();
  std::printf("%s (%s) on %s\n", result.model.name.c_str(), result.model.target.c_str(),
              result.engine.c_str());
  const bool has_p90 = sorted.size() >= kFewestForP90;
  std::printf("median %s, p90 %s, %zu runs\n", milliseconds(median(sorted)).c_str(),
              has_p90 ? milliseconds(percentile_90(sorted)).c_str() : "unknown", sorted.size());
  std::printf("load %s, first inference %s", milliseconds(result.load_ns).c_str(),
              milliseconds(result.first_inference_ns).c_str());
  if (result.peak_memory_bytes >= 0) {
    std::printf(", peak memory %.1f MB", result.peak_memory_bytes / 1e6);
  }
  std::printf("\n");
}

}  // namespace

void bench_bundle(const ToolOptions& options) {
  const std::int64_t began = now_ns();
  const Bundle bundle = read_bundle(options.bundle);
  const std::int64_t read = now_ns();
  const OpenRunner runner(options.bundle, options);
  const std::int64_t opened = now_ns();
  const ModelSpec& model = runner.model(bundle);
  Feeds feeds = feeds_for(bundle, model, options);
  std::vector<Array> outputs = blank_outputs(bundle, model);
  const std::int64_t ready = now_ns();
  run_growing(runner.get(), feeds.arrays, outputs);
  const std::int64_t answered = now_ns();
  BenchResult result{options, bundle, model, runner.engine_version(), {}, 0, 0, 0, 0};
  result.load_ns = static_cast<double>(opened - read);
  result.first_inference_ns = static_cast<double>(answered - ready);
  result.cold_start_ns = static_cast<double>(answered - began);
  result.latencies = measure(runner.get(), &feeds.arrays, &outputs, options.seconds);
  result.peak_memory_bytes = peak_memory_bytes();
  if (options.is_json) {
    std::printf("%s\n", bench_json(result).c_str());
  } else {
    print_text(result);
  }
}

}  // namespace bm
