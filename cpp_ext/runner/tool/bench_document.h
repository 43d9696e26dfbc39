#pragma once

#include <string>

#include "bundle.h"
#include "latency.h"
#include "options.h"

namespace bm {

// What --bench found; times in nanoseconds, negative where unknown.
struct BenchResult {
  const ToolOptions& options;
  const Bundle& bundle;
  const ModelSpec& model;
  std::string engine;  // "onnxruntime 1.23.2"
  Latencies latencies;
  double load_ns;
  double first_inference_ns;
  double cold_start_ns;  // From the tool's start; the little before it is not seen.
  double peak_memory_bytes;
};

// The document that bmopt.core.bench_document.BenchDocument.from_json reads.
std::string bench_json(const BenchResult& result);

}  // namespace bm
