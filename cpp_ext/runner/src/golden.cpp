#include "golden.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "dtype.h"
#include "failure.h"
#include "files.h"

namespace bm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kSlackBytes = std::size_t{1} << 16;  // For an NPY file's header.

// A bundle's file, unlike a user's, must not be a link.
Array read_golden(const Bundle& bundle, const std::string& file) {
  if (!is_file_below(bundle.folder, file))
    bad_input(bundle.path(file) + ": is missing, or is a link");
  const std::string bytes = read_file(bundle.path(file), kArrayBytes + kSlackBytes);
  return parse_npy(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                   bundle.path(file));
}

std::vector<Array> read_all(const Bundle& bundle, const std::vector<GoldenTensor>& tensors) {
  std::vector<Array> arrays;
  for (const GoldenTensor& tensor : tensors) arrays.push_back(read_golden(bundle, tensor.file));
  return arrays;
}

double difference(double found, double expected) {
  if (std::isnan(found) || std::isnan(expected))
    return std::isnan(found) && std::isnan(expected) ? 0 : kInfinity;
  return found == expected ? 0 : std::abs(found - expected);  // Equal infinities are equal.
}

double worst_difference(const Array& found, const Array& expected) {
  if (found.dtype != expected.dtype || found.shape != expected.shape) return kInfinity;
  const std::size_t count = count_elements(found.shape);
  double worst = 0;
  for (std::size_t i = 0; i < count; ++i)
    worst = std::max(worst, difference(element(found.dtype, found.data.data(), i),
                                       element(found.dtype, expected.data.data(), i)));
  return worst;
}

std::vector<bm_tensor> tensors_of(std::vector<Array>& arrays) {
  std::vector<bm_tensor> tensors;
  for (Array& array : arrays) tensors.push_back(array.tensor());
  return tensors;
}

bool fits(const Array& array, const bm_tensor& tensor) {
  const std::size_t bytes = count_elements(array.shape) * dtype_bytes(array.dtype);
  return array.dtype == tensor.dtype && array.data.size() == bytes &&
         std::equal(array.shape.begin(), array.shape.end(), tensor.shape,
                    tensor.shape + tensor.rank);
}

// Whether an output had another shape than its array, which now has it.
bool reshape_outputs(std::vector<Array>& outputs, const std::vector<bm_tensor>& tensors) {
  bool is_changed = false;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const bm_tensor& tensor = tensors[i];
    if (tensor.rank < 0 || fits(outputs[i], tensor)) continue;
    const std::vector<std::int64_t> shape(tensor.shape, tensor.shape + tensor.rank);
    Array grown = make_array(tensor.dtype, shape);
    std::copy_n(outputs[i].data.begin(), std::min(grown.data.size(), outputs[i].data.size()),
                grown.data.begin());
    outputs[i] = std::move(grown);
    is_changed = true;
  }
  return is_changed;
}

std::string short_number(double value) {
  // Not a stream: those would add 400 kB to a program that devices get.
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

}  // namespace

void run_growing(bm_runner* runner, std::vector<Array>& inputs, std::vector<Array>& outputs) {
  const std::vector<bm_tensor> given = tensors_of(inputs);
  outputs.resize(bm_io_count(runner, BM_OUTPUT));
  for (bool is_second = false;; is_second = true) {
    std::vector<bm_tensor> taken = tensors_of(outputs);
    const bm_status status =
        bm_run(runner, given.data(), given.size(), taken.data(), taken.size());
    const std::string message = status == BM_OK ? "" : bm_last_error();
    const bool may_be_too_small = status == BM_BAD_INPUT && !is_second;
    if (status != BM_OK && !may_be_too_small) fail(status, message);
    const bool is_changed = reshape_outputs(outputs, taken);
    if (status == BM_OK) return;
    if (!is_changed) fail(status, message);
  }
}

std::vector<GoldenCheck> check_golden(const Bundle& bundle, const ModelSpec& model,
                                      bm_runner* runner) {
  std::vector<GoldenCheck> checks;
  for (std::size_t pair = 0; pair < model.golden.size(); ++pair) {
    const std::vector<GoldenTensor>& expected = model.golden[pair].outputs;
    std::vector<Array> inputs = read_all(bundle, model.golden[pair].inputs);
    std::vector<Array> outputs = read_all(bundle, expected);
    const std::vector<Array> wanted = outputs;
    // What is not written must not pass for what is expected.
    for (Array& output : outputs) std::fill(output.data.begin(), output.data.end(), 0xa5);
    run_growing(runner, inputs, outputs);
    for (std::size_t i = 0; i < outputs.size(); ++i)
      checks.push_back({pair, expected[i].name, worst_difference(outputs[i], wanted[i]),
                        expected[i].tolerance, expected[i].step});
  }
  return checks;
}

std::string golden_fault(const std::vector<GoldenCheck>& checks) {
  for (const GoldenCheck& check : checks) {
    if (check.passed()) continue;
    std::string text = "golden pair " + std::to_string(check.pair) + ": output " + check.output +
                       " differs by " + short_number(check.worst);
    if (check.step > 0) text += " (" + short_number(check.worst / check.step) + " steps)";
    return text + ", tolerance " + short_number(check.tolerance);
  }
  return "";
}

}  // namespace bm
