#include "runner.h"

#include <cstdint>
#include <memory>

#include "dtype.h"
#include "failure.h"

namespace bm {
namespace {

// Opens it, or adds the reason why this host cannot to `reasons`.
bool open_model(bm_runner& runner, const ModelSpec& model, const EngineOptions& options,
                std::string& reasons) {
  std::string fault = model_fault(model);
  try {
    if (fault.empty()) check_model_file(runner.bundle, model);
    if (fault.empty()) runner.engine = std::make_unique<Engine>(runner.bundle, model, options);
  } catch (const Failure& failure) {
    if (failure.status != BM_HOST)
      fail(failure.status, "model " + model.name + ": " + failure.message);
    fault = failure.message;
  }
  if (!fault.empty())
    reasons += (reasons.empty() ? "" : "; ") + ("model " + model.name) + " " + fault;
  return fault.empty();
}

[[noreturn]] void misfit(const bm_tensor_info& info, const std::string& what) {
  bad_input("input " + std::string(info.name) + ": " + what);
}

bool has_shape(const bm_tensor& tensor, const bm_tensor_info& info) {
  if (tensor.rank != info.rank) return false;
  for (std::int32_t i = 0; i < info.rank; ++i)
    if (tensor.shape[i] < 0 || (info.shape[i] >= 0 && tensor.shape[i] != info.shape[i]))
      return false;
  return true;
}

[[noreturn]] void wrong_shape(const bm_tensor& tensor, const bm_tensor_info& info) {
  const bool is_rank = tensor.rank >= 0 && tensor.rank <= BM_MAX_RANK;
  const std::string found =
      is_rank ? shape_text(tensor.shape, tensor.rank) : std::to_string(tensor.rank) + " axes";
  misfit(info, "shape is " + found + ", the model wants " + shape_text(info.shape, info.rank));
}

std::size_t bytes_of(const bm_tensor& tensor, const bm_tensor_info& info) {
  std::size_t bytes = dtype_bytes(info.dtype);
  for (std::int32_t i = 0; i < tensor.rank; ++i)
    if (__builtin_mul_overflow(bytes, static_cast<std::size_t>(tensor.shape[i]), &bytes))
      misfit(info, "is too large");
  return bytes;
}

void check_input(const bm_tensor& tensor, const bm_tensor_info& info) {
  if (dtype_code(tensor.dtype) != info.dtype)
    misfit(info, std::string("dtype is ") + dtype_name(dtype_code(tensor.dtype)) +
                     ", the model wants " + dtype_name(info.dtype));
  if (!has_shape(tensor, info)) wrong_shape(tensor, info);
  const std::size_t bytes = bytes_of(tensor, info);
  if (tensor.bytes != bytes)
    misfit(info, "has " + std::to_string(tensor.bytes) + " bytes, its shape needs " +
                     std::to_string(bytes));
  if (tensor.data == nullptr && bytes > 0) misfit(info, "has no data");
}

void check_count(const char* what, std::size_t found, std::size_t wanted) {
  if (found != wanted)
    bad_input(std::to_string(found) + " " + what + " given, the model has " +
              std::to_string(wanted));
}

}  // namespace

std::unique_ptr<bm_runner> open_runner(const std::string& folder, const std::string& model,
                                       const EngineOptions& options) {
  auto runner = std::make_unique<bm_runner>();
  runner->bundle = read_bundle(folder);
  const std::string fault = platform_fault(runner->bundle);
  if (!fault.empty()) fail(BM_HOST, fault);
  std::string reasons;
  for (const ModelSpec* candidate : candidates(runner->bundle, model)) {
    if (!open_model(*runner, *candidate, options, reasons)) continue;
    runner->model = candidate;
    runner->inputs = tensor_infos(candidate->inputs);
    runner->outputs = tensor_infos(candidate->outputs);
    return runner;
  }
  fail(BM_HOST, folder + ": " + reasons);
}

void run_checked(bm_runner& runner, const bm_tensor* inputs, std::size_t input_count,
                 bm_tensor* outputs, std::size_t output_count) {
  check_count("inputs", input_count, runner.inputs.size());
  check_count("outputs", output_count, runner.outputs.size());
  if (inputs == nullptr || outputs == nullptr) bad_input("inputs or outputs are NULL");
  for (std::size_t i = 0; i < input_count; ++i) check_input(inputs[i], runner.inputs[i]);
  for (std::size_t i = 0; i < output_count; ++i)
    if (outputs[i].data == nullptr) outputs[i].bytes = 0;
  runner.engine->run(inputs, outputs);
}

}  // namespace bm
