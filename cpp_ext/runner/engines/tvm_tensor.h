#pragma once

#include <cstddef>
#include <memory>

#include "tvm_value.h"

namespace bm::tvm {

// One input of a model as TVM's tensor: over the caller's memory where that is aligned as compiled
// code takes it, else over a copy. Made anew only where the memory or the shape changes.
class InputTensor {
 public:
  explicit InputTensor(const Library& library) : library_(&library), tensor_(library) {}

  const TVMFFIAny& bind(const char* name, const bm_tensor& input);  // Throws Failure.

 private:
  struct Free {
    void operator()(void* memory) const;
  };

  void* aligned(const bm_tensor& input);
  void create(const char* name, const bm_tensor& input, void* data);

  const Library* library_;
  Value tensor_;
  const void* data_ = nullptr;
  std::unique_ptr<void, Free> copy_;
  std::size_t copy_bytes_ = 0;
};

// A tensor that a model gave for `info`. Throws Failure where it is not that, or not dense.
const DLTensor& output_tensor(const Value& value, const bm_tensor_info& info);

// Write its type and shape.
void tell_output(const DLTensor& tensor, const bm_tensor_info& info, bm_tensor& output);

// Write its elements. Throws Failure where they have no room.
void copy_output(const DLTensor& tensor, const bm_tensor_info& info, bm_tensor& output);

}  // namespace bm::tvm
