#pragma once

#include <string>
#include <vector>

#include "bundle.h"
#include "npy.h"

namespace bm {

// The inputs of one inference, in the model's order, and where they came from.
struct Feeds {
  std::vector<std::string> files;
  std::vector<Array> arrays;
};

// Read the files of --input, each `model.inputs.size()` of them for one inference. Without files
// the first golden inputs. Throws Failure (BM_BAD_INPUT).
std::vector<Feeds> read_feeds(const Bundle& bundle, const ModelSpec& model,
                              const std::vector<std::string>& files);

// Zeros, one where a size is free.
Feeds zero_feeds(const ModelSpec& model);

// Arrays for the outputs of the first golden inputs, of what the manifest says where there are
// none.
std::vector<Array> blank_outputs(const Bundle& bundle, const ModelSpec& model);

}  // namespace bm
