#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "engine.h"

// What bm_open gives.
struct bm_runner {
  bm::Bundle bundle;
  const bm::ModelSpec* model = nullptr;
  std::unique_ptr<bm::Engine> engine;
  std::vector<bm_tensor_info> inputs;
  std::vector<bm_tensor_info> outputs;

  const std::vector<bm_tensor_info>& infos(bm_direction direction) const {
    return direction == BM_INPUT ? inputs : outputs;
  }
};

namespace bm {

// Open the first model that this host runs. Throws Failure.
std::unique_ptr<bm_runner> open_runner(const std::string& folder, const std::string& model,
                                       const EngineOptions& options);

// Check the tensors against the model's, then run it. Throws Failure.
void run_checked(bm_runner& runner, const bm_tensor* inputs, std::size_t input_count,
                 bm_tensor* outputs, std::size_t output_count);

}  // namespace bm
