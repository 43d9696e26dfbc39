#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "bmopt_runner.h"
#include "bundle.h"
#include "npy.h"

namespace bm {

struct GoldenCheck {
  std::size_t pair;
  std::string output;
  double worst;  // Largest |found - expected|; infinite where NaN, shape or dtype differ.
  double tolerance;
  double step;  // Of quantisation; 0 where there is none.

  bool passed() const { return worst <= tolerance; }
};

// Run every golden input of the model through an opened runner (of that model) and compare the
// outputs. Throws Failure where a file cannot be read, does not fit the model, or the run fails;
// outputs that differ are told by `passed`.
std::vector<GoldenCheck> check_golden(const Bundle& bundle, const ModelSpec& model,
                                      bm_runner* runner);

// What went wrong first, in one line; empty where all passed.
std::string golden_fault(const std::vector<GoldenCheck>& checks);

// Run and let `outputs` take the shapes that the model gives: grows them where needed.
void run_growing(bm_runner* runner, std::vector<Array>& inputs, std::vector<Array>& outputs);

}  // namespace bm
