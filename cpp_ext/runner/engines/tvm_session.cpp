#include "tvm_session.h"

#include <cstdint>

#include "failure.h"
#include "tvm_threads.h"

namespace bm::tvm {
namespace {

constexpr char kVersionKey[] = "tvm_ffi";
constexpr char kOpen[] = "cannot open the model";
constexpr std::int64_t kPooled = 2;  // TVM's AllocatorType::kPooled.

// Tables of functions change between versions of libtvm_ffi, without a check of its own.
void check_settings(const bm_session_config& config, const Library& library) {
  for (std::size_t i = 0; i < config.setting_count; ++i) {
    const std::string key = config.keys[i];
    const std::string wanted = config.values[i];
    if (key != kVersionKey) bad_input("TVM has no setting " + key);
    if (wanted != library.version)
      fail(BM_HOST, "the model is for libtvm_ffi " + wanted + ", found " + library.version +
                        "; use the pair of libraries that it was made with");
  }
}

std::vector<std::string> names_of(const bm_tensor_info* infos, std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.emplace_back(infos[i].name);
  return names;
}

}  // namespace

Session::Session(const bm_session_config& config)
    : library_(load_library(config.library)),
      threads_(config.threads),
      version_("tvm_ffi " + library_.version),
      outputs_(config.outputs, config.outputs + config.output_count),
      input_names_(names_of(config.inputs, config.input_count)),
      output_names_(names_of(config.outputs, config.output_count)),
      arguments_(config.input_count),
      array_size_(global_function(library_, "ffi.ArraySize")),
      array_item_(global_function(library_, "ffi.ArrayGetItem")),
      machine_(library_),
      main_(library_) {
  check_settings(config, library_);
  for (std::size_t i = 0; i < outputs_.size(); ++i) outputs_[i].name = output_names_[i].c_str();
  for (std::size_t i = 0; i < config.input_count; ++i) inputs_.emplace_back(library_);
  machine_ = loaded(config.model_path);
  main_ = method(machine_, "main");
}

Value Session::method(const Value& module, const char* name) const {
  Value found = call(library_, global_function(library_, "ffi.ModuleGetFunction"),
                     {module.any(), argument(name), argument(false)}, BM_HOST, kOpen);
  if (!found.is(kTVMFFIFunction))
    fail(BM_HOST, std::string(kOpen) + ": it has no function " + name +
                      ", it is no model of TVM's virtual machine");
  return found;
}

Value Session::loaded(const char* path) const {
  const Value file = call(library_, global_function(library_, "ffi.ModuleLoadFromFile"),
                          {argument(path)}, BM_HOST, kOpen);
  Value machine = call(library_, method(file, "vm_load_executable"), {}, BM_HOST, kOpen);
  call(library_, method(machine, "vm_initialization"),
       {argument(std::int64_t{kDLCPU}), argument(std::int64_t{0}), argument(kPooled)}, BM_HOST,
       kOpen);
  return machine;
}

std::vector<Value> Session::outputs_in(Value result) const {
  std::vector<Value> found;
  if (outputs_.size() == 1 && result.is(kTVMFFITensor)) {
    found.push_back(std::move(result));
    return found;
  }
  if (!result.is(kTVMFFIArray)) bad_input("the model does not give the manifest's outputs");
  const Value size = call(library_, array_size_, {result.any()}, BM_INTERNAL, "outputs");
  if (static_cast<std::size_t>(size.any().v_int64) != outputs_.size())
    bad_input("the model gives " + std::to_string(size.any().v_int64) +
              " outputs, the manifest has " + std::to_string(outputs_.size()));
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    found.push_back(call(library_, array_item_,
                         {result.any(), argument(static_cast<std::int64_t>(i))}, BM_INTERNAL,
                         "outputs"));
  return found;
}

void Session::run(const bm_tensor* inputs, bm_tensor* outputs) {
  use_threads(library_, threads_);
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    arguments_[i] = inputs_[i].bind(input_names_[i].c_str(), inputs[i]);
  const std::vector<Value> found = outputs_in(call(
      library_, main_, arguments_.data(), arguments_.size(), BM_INTERNAL, "cannot run the model"));
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    tell_output(output_tensor(found[i], outputs_[i]), outputs_[i], outputs[i]);
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    copy_output(output_tensor(found[i], outputs_[i]), outputs_[i], outputs[i]);
}

}  // namespace bm::tvm
