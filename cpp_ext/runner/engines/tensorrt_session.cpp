#include "tensorrt_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "dtype.h"
#include "failure.h"
#include "tensorrt_file.h"
#include "tensorrt_log.h"
#include "tensorrt_open.h"

namespace bm::trt {
namespace {

std::string names_of(const std::vector<EnginePort>& ports, bool is_input) {
  std::string names;
  for (const EnginePort& port : ports) {
    if (port.is_input == is_input) {
      names += (names.empty() ? "" : ", ") + port.name;
    }
  }
  return names;
}

void check_port(const EnginePort& port, const bm_tensor_info& info) {
  if (port.dtype == 0) {
    bad_input("'" + port.name + "' has elements of type " + port.element +
              ", which cannot be fed; cast it to a wider type inside the model and build again");
  }
  if (port.dtype != info.dtype) {
    bad_input("'" + port.name + "' is " + dtype_name(port.dtype) + " in the engine and " +
              dtype_name(info.dtype) + " in the manifest; package the artifact again");
  }
}

}  // namespace

// From here on the destructor cleans up behind whatever is thrown.
Session::Session(const bm_session_config& config) : Session() {
  const EngineFile file(config.model_path);
  check_file(file);
  const EngineSettings settings = read_settings(config);
  const EngineLibrary library = open_library(config, file);
  sdk_of(library);
  version_ = library.version();
  cuda_ = std::make_unique<Cuda>();
  const CudaScope here(*cuda_);
  engine_ = open_engine(file, library, settings, *cuda_);
  queue_ = std::make_unique<CudaQueue>(*cuda_);
  make_ports(config);
}

Session::~Session() {
  if (cuda_ == nullptr) {
    return;
  }
  try {
    const CudaScope here(*cuda_);
    engine_.reset();
    inputs_.clear();
    outputs_.clear();
    queue_.reset();
  } catch (...) {
    // A broken context cannot be made current; what is left is freed without it.
  }
}

void Session::make_ports(const bm_session_config& config) {
  std::vector<EnginePort> all = engine_->ports();
  inputs_ = take(all, config.inputs, config.input_count, true);
  outputs_ = take(all, config.outputs, config.output_count, false);
  if (!all.empty()) {
    bad_input("the manifest does not have '" + all.front().name +
              "' of the engine; package the "
              "artifact again");
  }
  reads_host_ = std::any_of(inputs_.begin(), inputs_.end(),
                            [](const auto& port) { return port->description().is_on_host; });
}

Session::Ports Session::take(std::vector<EnginePort>& all, const bm_tensor_info* infos,
                             std::size_t count, bool is_input) {
  const std::string names = names_of(all, is_input);
  Ports ports;
  for (std::size_t i = 0; i < count; ++i) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const EnginePort& port) {
      return port.is_input == is_input && port.name == infos[i].name;
    });
    if (found == all.end()) {
      bad_input("the engine has no " + std::string(is_input ? "input '" : "output '") +
                infos[i].name + "' but " + names + "; package the artifact again");
    }
    check_port(*found, infos[i]);
    ports.push_back(std::make_unique<Port>(*cuda_, std::move(*found)));
    all.erase(found);
  }
  return ports;
}

void Session::run(const bm_tensor* inputs, bm_tensor* outputs) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    check_input(inputs_[i]->description(), inputs[i]);
  }
  const CudaScope here(*cuda_);
  try {
    run_here(inputs, outputs);
  } catch (...) {
    // Copies may be under way from and to memory that the next run writes, or frees.
    queue_->settle();
    throw;
  }
}

void Session::run_here(const bm_tensor* inputs, bm_tensor* outputs) {
  bind(inputs);
  const auto is_late = [](const auto& port) { return port->is_late(); };
  const bool any_late = std::any_of(outputs_.begin(), outputs_.end(), is_late);
  if (!any_late) {
    check_outputs(outputs);
  }
  for (const auto& port : inputs_) {
    port->upload(*queue_);
  }
  enqueue();
  if (any_late) {
    queue_->wait();
    check_outputs(outputs);
  }
  for (const auto& port : outputs_) {
    port->download(*queue_);
  }
  queue_->wait();
  deliver(outputs);
}

void Session::enqueue() {
  forget_errors();
  const bool is_done = engine_->enqueue(queue_->stream());
  for (const auto& port : outputs_) {
    port->check_allocation();
  }
  require(is_done, "to run");
}

// Fill in what the outputs are; whether they fit can only be told with all of them known.
void Session::check_outputs(bm_tensor* outputs) const {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Port& port = *outputs_[i];
    outputs[i].dtype = port.description().dtype;
    outputs[i].rank = port.shape().rank;
    std::copy(std::begin(port.shape().dims), std::end(port.shape().dims), outputs[i].shape);
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Port& port = *outputs_[i];
    if (outputs[i].bytes < port.bytes() || (outputs[i].data == nullptr && port.bytes() != 0)) {
      bad_input("output '" + port.description().name + "' has shape " + port.shape().text() +
                " and takes " + std::to_string(port.bytes()) + " bytes, not " +
                std::to_string(outputs[i].bytes));
    }
  }
}

void Session::deliver(bm_tensor* outputs) const {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    outputs_[i]->read(outputs[i].data);
  }
}

void Session::require(bool is_accepted, const std::string& what) const {
  if (!is_accepted) {
    fail(BM_HOST, "the engine refuses " + what + because() +
                      "; build it again for these shapes on a device like this one");
  }
}

}  // namespace bm::trt
