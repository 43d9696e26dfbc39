#include "onnxruntime_session.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "dtype.h"
#include "failure.h"

namespace bm::ort {
namespace {

std::size_t bytes_of(const Slot& slot) {
  std::size_t bytes = dtype_bytes(slot.dtype);
  for (const std::int64_t extent : slot.shape) bytes *= static_cast<std::size_t>(extent);
  return bytes;
}

void tell_shape(const Slot& slot, bm_tensor& output) {
  output.dtype = slot.dtype;
  output.rank = static_cast<std::int32_t>(slot.shape.size());
  std::copy(slot.shape.begin(), slot.shape.end(), output.shape);
}

bool has_shape(const Slot& slot, const bm_tensor& tensor) {
  return std::equal(slot.shape.begin(), slot.shape.end(), tensor.shape,
                    tensor.shape + tensor.rank);
}

// `outputs` have their shapes; whether they have the room too.
void check_room(const std::vector<Slot>& slots, const bm_tensor* outputs) {
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (slots[i].is_shape_known && outputs[i].bytes < bytes_of(slots[i]))
      bad_input("output " + slots[i].name + ": has room for " + std::to_string(outputs[i].bytes) +
                " bytes, needs " + std::to_string(bytes_of(slots[i])));
}

std::string quoted(const char* text) {
  return "'" + std::string(text) + "'";
}

}  // namespace

Session::Session(const bm_session_config& config)
    : library_(load_library(config.library)),
      env_(library_.api->ReleaseEnv),
      session_(library_.api->ReleaseSession),
      memory_(library_.api->ReleaseMemoryInfo) {
  create(config);
  library_.check(
      library_.api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, memory_.fill()),
      BM_INTERNAL, "memory");
  inputs_ = slots(config.inputs, config.input_count, false);
  outputs_ = slots(config.outputs, config.output_count, true);
  for (const Slot& slot : inputs_) input_names_.push_back(slot.name.c_str());
  for (const Slot& slot : outputs_) output_names_.push_back(slot.name.c_str());
  input_values_.resize(inputs_.size());
  output_values_.resize(outputs_.size());
}

void Session::create(const bm_session_config& config) {
  const OrtApi& api = *library_.api;
  const auto check = [&](OrtStatus* status) {
    library_.check(status, BM_HOST, "cannot open the model");
  };
  Owned<OrtSessionOptions> options(api.ReleaseSessionOptions);
  // Errors come back as statuses; nothing has to be printed too.
  check(api.CreateEnv(ORT_LOGGING_LEVEL_FATAL, "bmopt", env_.fill()));
  check(api.CreateSessionOptions(options.fill()));
  check(api.SetIntraOpNumThreads(options.get(), config.threads));
  check(api.SetSessionGraphOptimizationLevel(options.get(), ORT_ENABLE_ALL));
  for (std::size_t i = 0; i < config.setting_count; ++i)
    check(api.AddSessionConfigEntry(options.get(), config.keys[i], config.values[i]));
  check(api.CreateSession(env_.get(), config.model_path, options.get(), session_.fill()));
}

std::size_t Session::index_of(const std::string& name, bool is_output) const {
  const OrtApi& api = *library_.api;
  OrtAllocator* allocator = nullptr;
  library_.check(api.GetAllocatorWithDefaultOptions(&allocator), BM_INTERNAL, "memory");
  std::size_t count = 0;
  library_.check(is_output ? api.SessionGetOutputCount(session_.get(), &count)
                           : api.SessionGetInputCount(session_.get(), &count),
                 BM_INTERNAL, "the model's tensors");
  for (std::size_t i = 0; i < count; ++i) {
    char* found = nullptr;
    library_.check(is_output ? api.SessionGetOutputName(session_.get(), i, allocator, &found)
                             : api.SessionGetInputName(session_.get(), i, allocator, &found),
                   BM_INTERNAL, "the model's tensors");
    const bool is_it = name == found;
    allocator->Free(allocator, found);
    if (is_it) return i;
  }
  bad_input("the model has no tensor " + quoted(name.c_str()) + " that the manifest names");
}

void Session::check_type(const bm_tensor_info& info, const OrtTypeInfo* type) const {
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;  // Belongs to `type`.
  library_.check(library_.api->CastTypeInfoToTensorInfo(type, &tensor), BM_INTERNAL, info.name);
  if (tensor == nullptr) bad_input(quoted(info.name) + " is no tensor in the model");
  ONNXTensorElementDataType dtype = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  library_.check(library_.api->GetTensorElementType(tensor, &dtype), BM_INTERNAL, info.name);
  if (static_cast<int>(dtype) != static_cast<int>(info.dtype))
    bad_input(quoted(info.name) + " is not " + dtype_name(info.dtype) +
              " in the model, as the manifest has it");
}

std::vector<Slot> Session::slots(const bm_tensor_info* infos, std::size_t count, bool is_output) {
  const OrtApi& api = *library_.api;
  std::vector<Slot> slots;
  for (const bm_tensor_info* info = infos; info != infos + count; ++info) {
    const std::size_t index = index_of(info->name, is_output);
    Owned<OrtTypeInfo> type(api.ReleaseTypeInfo);
    library_.check(is_output ? api.SessionGetOutputTypeInfo(session_.get(), index, type.fill())
                             : api.SessionGetInputTypeInfo(session_.get(), index, type.fill()),
                   BM_INTERNAL, info->name);
    check_type(*info, type.get());
    std::vector<std::int64_t> shape(info->shape, info->shape + info->rank);
    const bool has_free_axes =
        std::any_of(shape.begin(), shape.end(), [](auto n) { return n < 0; });
    const bool is_shape_known = is_output && !has_free_axes;
    slots.push_back({info->name, info->dtype, has_free_axes, Owned<OrtValue>(api.ReleaseValue),
                     nullptr, std::move(shape), is_shape_known});
  }
  return slots;
}

void Session::bind(Slot& slot, void* data, std::size_t bytes) {
  static char nothing[1];
  void* const memory = data != nullptr ? data : nothing;  // Of an empty tensor.
  library_.check(library_.api->CreateTensorWithDataAsOrtValue(
                     memory_.get(), memory, bytes, slot.shape.data(), slot.shape.size(),
                     static_cast<ONNXTensorElementDataType>(slot.dtype), slot.value.fill()),
                 BM_BAD_INPUT, quoted(slot.name.c_str()));
  slot.data = data;
}

void Session::forget_outputs() {
  for (Slot& slot : outputs_)
    if (slot.has_free_axes) slot.is_shape_known = false;
}

void Session::bind_inputs(const bm_tensor* inputs) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    Slot& slot = inputs_[i];
    const bm_tensor& input = inputs[i];
    const bool is_same_shape = has_shape(slot, input);
    if (slot.value.get() != nullptr && slot.data == input.data && is_same_shape) continue;
    if (!is_same_shape) {
      slot.shape.assign(input.shape, input.shape + input.rank);
      forget_outputs();
    }
    bind(slot, input.data, input.bytes);
    input_values_[i] = slot.value.get();
  }
}

void Session::bind_outputs(bm_tensor* outputs) {
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    if (outputs_[i].is_shape_known) tell_shape(outputs_[i], outputs[i]);
  check_room(outputs_, outputs);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    Slot& slot = outputs_[i];
    if (!slot.is_shape_known)
      slot.value.reset();
    else if (slot.value.get() == nullptr || slot.data != outputs[i].data)
      bind(slot, outputs[i].data, bytes_of(slot));
    output_values_[i] = slot.value.get();
  }
}

OrtStatus* Session::call() {
  return library_.api->Run(session_.get(), nullptr, input_names_.data(), input_values_.data(),
                           input_values_.size(), output_names_.data(), output_names_.size(),
                           output_values_.data());
}

// A shape that was right for the last values may be wrong for these: then let ONNX Runtime say.
void Session::call_or_allocate() {
  OrtStatus* status = call();
  const auto is_guess = [](const Slot& slot) { return slot.has_free_axes && slot.is_shape_known; };
  if (status != nullptr && std::any_of(outputs_.begin(), outputs_.end(), is_guess)) {
    library_.api->ReleaseStatus(status);
    forget_outputs();
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      if (!outputs_[i].is_shape_known) outputs_[i].value.reset();
      output_values_[i] = outputs_[i].value.get();
    }
    status = call();
    are_shapes_free_ = status == nullptr;
  }
  if (status == nullptr) {
    for (std::size_t i = 0; i < outputs_.size(); ++i)
      if (!outputs_[i].is_shape_known) *outputs_[i].value.fill() = output_values_[i];
    return;
  }
  const bool is_argument = library_.api->GetErrorCode(status) == ORT_INVALID_ARGUMENT;
  library_.check(status, is_argument ? BM_BAD_INPUT : BM_INTERNAL, "cannot run the model");
}

void Session::read_shape(Slot& slot) const {
  const OrtApi& api = *library_.api;
  Owned<OrtTensorTypeAndShapeInfo> info(api.ReleaseTensorTypeAndShapeInfo);
  const auto check = [&](OrtStatus* status) { library_.check(status, BM_INTERNAL, slot.name); };
  check(api.GetTensorTypeAndShape(slot.value.get(), info.fill()));
  std::size_t rank = 0;
  check(api.GetDimensionsCount(info.get(), &rank));
  if (rank > BM_MAX_RANK) bad_input("output " + slot.name + " has too many axes");
  slot.shape.resize(rank);
  check(api.GetDimensions(info.get(), slot.shape.data(), rank));
  slot.is_shape_known = true;
}

void Session::take_allocated(Slot& slot, bm_tensor& output) {
  read_shape(slot);
  tell_shape(slot, output);
  void* found = nullptr;
  library_.check(library_.api->GetTensorMutableData(slot.value.get(), &found), BM_INTERNAL,
                 slot.name);
  const std::size_t bytes = bytes_of(slot);
  if (bytes > 0 && bytes <= output.bytes) std::memcpy(output.data, found, bytes);
  slot.value.reset();
}

void Session::run(const bm_tensor* inputs, bm_tensor* outputs) {
  bind_inputs(inputs);
  if (are_shapes_free_) forget_outputs();
  bind_outputs(outputs);
  call_or_allocate();
  bool is_any_allocated = false;
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].is_shape_known) continue;
    take_allocated(outputs_[i], outputs[i]);
    is_any_allocated = true;
  }
  if (is_any_allocated) check_room(outputs_, outputs);
}

}  // namespace bm::ort
