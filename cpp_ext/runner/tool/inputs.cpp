#include "inputs.h"

#include <algorithm>
#include <cstdint>

#include "failure.h"
#include "pixels.h"

namespace bm {
namespace {

bool is_npy_name(const std::string& path) {
  return path.size() > 4 && path.compare(path.size() - 4, 4, ".npy") == 0;
}

const PreprocessSpec& steps_for(const Bundle& bundle, const TensorSpec& input,
                                const std::string& path) {
  const std::optional<PreprocessSpec>& steps = bundle.manifest.preprocess;
  if (!steps || (!steps->input.empty() && steps->input != input.name)) {
    bad_input(path + ": the bundle does not say how a picture becomes input '" + input.name +
              "'; give it as .npy, or package it with its preprocessing");
  }
  return *steps;
}

Array read_input(const Bundle& bundle, const TensorSpec& input, const std::string& path) {
  if (is_image_name(path)) {
    const PreprocessSpec& steps = steps_for(bundle, input, path);
    return image_tensor(decode_image(path), steps, input, path);
  }
  if (!is_npy_name(path)) {
    bad_input(path + ": is neither .npy nor .jpg, .jpeg or .png; convert it");
  }
  return read_npy(path);
}

Feeds golden_feeds(const Bundle& bundle, const GoldenPair& pair) {
  Feeds feeds;
  for (const GoldenTensor& tensor : pair.inputs) {
    feeds.files.push_back(tensor.file);
    feeds.arrays.push_back(read_npy(bundle.path(tensor.file)));
  }
  return feeds;
}

std::vector<std::int64_t> fixed(std::vector<std::int64_t> shape) {
  std::replace_if(shape.begin(), shape.end(), [](std::int64_t size) { return size < 0; }, 1);
  return shape;
}

}  // namespace

std::vector<Feeds> read_feeds(const Bundle& bundle, const ModelSpec& model,
                              const std::vector<std::string>& files) {
  if (files.empty()) {
    if (model.golden.empty()) {
      bad_input("the bundle has no golden inputs; give --input");
    }
    return {golden_feeds(bundle, model.golden.front())};
  }
  const std::size_t width = model.inputs.size();
  if (width == 0 || files.size() % width != 0) {
    bad_input("--input: model '" + model.name + "' has " + std::to_string(width) +
              " inputs, but " + std::to_string(files.size()) + " files were given");
  }
  std::vector<Feeds> all(files.size() / width);
  for (std::size_t i = 0; i < files.size(); ++i) {
    Feeds& feeds = all[i / width];
    feeds.files.push_back(files[i]);
    feeds.arrays.push_back(read_input(bundle, model.inputs[i % width], files[i]));
  }
  return all;
}

Feeds zero_feeds(const ModelSpec& model) {
  Feeds feeds;
  for (const TensorSpec& input : model.inputs) {
    feeds.files.push_back("zeros");
    feeds.arrays.push_back(make_array(input.dtype, fixed(input.shape)));
  }
  return feeds;
}

std::vector<Array> blank_outputs(const Bundle& bundle, const ModelSpec& model) {
  std::vector<Array> outputs;
  if (!model.golden.empty()) {
    for (const GoldenTensor& tensor : model.golden.front().outputs) {
      const Array golden = read_npy(bundle.path(tensor.file));
      outputs.push_back(make_array(golden.dtype, golden.shape));
    }
    return outputs;
  }
  for (const TensorSpec& output : model.outputs) {
    outputs.push_back(make_array(output.dtype, fixed(output.shape)));
  }
  return outputs;
}

}  // namespace bm
