#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bmopt_engine.h"
#include "bundle.h"

namespace bm {

struct EngineOptions {
  std::int32_t threads = 0;  // 0 for one per core.
  std::string library;       // Of the engine's runtime; empty for the bundle's or the system's.
};

std::vector<bm_tensor_info> tensor_infos(const std::vector<TensorSpec>& specs);

// A plugin with a session for one model. What it loads stays loaded until the process ends:
// runtimes keep threads and exit handlers, which cannot be unloaded safely.
class Engine {
 public:
  // Throws Failure: BM_HOST where the plugin or its runtime is missing, too old or too new, or
  // refuses the model.
  Engine(const Bundle& bundle, const ModelSpec& model, const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  void run(const bm_tensor* inputs, bm_tensor* outputs);  // Throws Failure.

  const std::string& version() const { return version_; }  // "onnxruntime 1.23.2"

 private:
  const bm_engine_table* table_ = nullptr;
  bm_session* session_ = nullptr;
  std::string version_;
};

}  // namespace bm
