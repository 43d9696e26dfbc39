#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bmopt_runner.h"

namespace bm {

struct TensorSpec {
  std::string name;
  bm_dtype dtype;
  std::vector<std::int64_t> shape;  // -1 where free.
  std::string layout;               // "NCHW", "NHWC" or empty.
};

struct GoldenTensor {
  std::string name;
  std::string file;
  double tolerance = 0;  // Outputs only: largest |found - expected|.
  double step = 0;       // Outputs only: size of a quantisation step; 0 where there is none.
};

struct GoldenPair {
  std::vector<GoldenTensor> inputs;   // In the order of the model's.
  std::vector<GoldenTensor> outputs;  // In the order of the model's.
};

struct RuntimeNeed {
  std::string name;
  std::string min;    // Lowest version that will do; empty for any.
  std::string below;  // First version that will not do; empty for none.
  std::string made_with;
};

struct ModelSpec {
  std::string name;
  std::string target;
  std::string engine;  // A plugin's name: small letters, digits and '_'.
  std::string file;
  std::string digest;
  std::vector<std::vector<std::string>> cpu;  // Each: one of these is enough.
  std::vector<std::string> gpu;
  RuntimeNeed runtime;
  std::vector<std::pair<std::string, std::string>> session;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<GoldenPair> golden;
};

// What is done to pixels: resize, crop, channels, (pixel * scale - mean) / std, layout, dtype.
struct PreprocessSpec {
  std::string input;                 // Empty for the model's only input.
  std::vector<std::int64_t> resize;  // Empty, {short side} or {height, width}.
  std::vector<std::int64_t> crop;    // Empty, {side} or {height, width}.
  std::string channels;              // "RGB", "BGR", "GRAY" or empty.
  std::optional<double> scale;
  std::vector<double> mean;  // Empty, one, or one per channel.
  std::vector<double> std;   // Likewise.
  std::string layout;        // "NCHW", "NHWC" or empty.
  std::string dtype;         // NumPy's name or empty.
};

struct FileSpec {
  std::string path;
  std::string sha256;
  std::uint64_t bytes;
};

struct Manifest {
  std::string bmopt;  // Version of bmopt that wrote it.
  std::string name;
  std::string platform;
  std::vector<ModelSpec> models;  // In order of preference; at least one.
  std::optional<PreprocessSpec> preprocess;
  std::string labels;           // A path; empty where there are none.
  std::vector<FileSpec> files;  // Sorted by path.
};

// Read and check a manifest: schema, paths, counts, dtypes, names. Throws Failure (BM_BAD_INPUT).
Manifest parse_manifest(const std::string& text);

}  // namespace bm
