#pragma once

#include <string>
#include <vector>

#include "bmopt_engine.h"
#include "tvm_tensor.h"

namespace bm::tvm {

class Session {
 public:
  explicit Session(const bm_session_config& config);  // Throws Failure.

  void run(const bm_tensor* inputs, bm_tensor* outputs);  // Throws Failure.
  const char* version() const { return version_.c_str(); }

 private:
  Value method(const Value& module, const char* name) const;
  Value loaded(const char* path) const;
  std::vector<Value> outputs_in(Value result) const;

  const Library& library_;
  int threads_;
  std::string version_;
  std::vector<bm_tensor_info> outputs_;  // Their names point into output_names_.
  std::vector<std::string> input_names_;
  std::vector<std::string> output_names_;
  std::vector<InputTensor> inputs_;
  std::vector<TVMFFIAny> arguments_;
  Value array_size_;
  Value array_item_;
  Value machine_;
  Value main_;
};

}  // namespace bm::tvm
