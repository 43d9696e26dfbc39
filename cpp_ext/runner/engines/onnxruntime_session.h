#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bmopt_engine.h"
#include "onnxruntime_library.h"

namespace bm::ort {

// An input or output over the caller's memory, bound anew only where that or the shape changes.
struct Slot {
  std::string name;
  bm_dtype dtype;
  bool has_free_axes;
  Owned<OrtValue> value;
  const void* data;
  std::vector<std::int64_t> shape;
  bool is_shape_known;
};

class Session {
 public:
  explicit Session(const bm_session_config& config);  // Throws Failure.

  void run(const bm_tensor* inputs, bm_tensor* outputs);  // Throws Failure.
  const char* version() const { return library_.version.c_str(); }

 private:
  void create(const bm_session_config& config);
  std::vector<Slot> slots(const bm_tensor_info* infos, std::size_t count, bool is_output);
  void check_type(const bm_tensor_info& info, const OrtTypeInfo* type) const;
  std::size_t index_of(const std::string& name, bool is_output) const;

  void bind_inputs(const bm_tensor* inputs);
  void bind_outputs(bm_tensor* outputs);
  void bind(Slot& slot, void* data, std::size_t bytes);
  OrtStatus* call();
  void call_or_allocate();
  void take_allocated(Slot& slot, bm_tensor& output);
  void forget_outputs();
  void read_shape(Slot& slot) const;

  Library library_;
  Owned<OrtEnv> env_;
  Owned<OrtSession> session_;
  Owned<OrtMemoryInfo> memory_;
  std::vector<Slot> inputs_;
  std::vector<Slot> outputs_;
  std::vector<const char*> input_names_;
  std::vector<const char*> output_names_;
  std::vector<const OrtValue*> input_values_;
  std::vector<OrtValue*> output_values_;
  // Whether shapes depend on more than the inputs' shapes: then ONNX Runtime allocates.
  bool are_shapes_free_ = false;
};

}  // namespace bm::ort
