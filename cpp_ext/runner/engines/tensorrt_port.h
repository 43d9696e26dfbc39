// An input or output of an engine with the memory behind it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "bmopt_runner.h"
#include "cuda.h"
#include "tensorrt_sdk.h"

namespace bm::trt {

class Port final : public LateOutput {
 public:
  Port(const Cuda& cuda, EnginePort description)
      : description_(std::move(description)),
        host_(cuda, CudaBuffer::Kind::pinned),
        device_(cuda, CudaBuffer::Kind::device) {}

  const EnginePort& description() const { return description_; }
  const char* name() const { return description_.name.c_str(); }
  const Shape& shape() const { return shape_; }
  std::size_t bytes() const;
  bool is_dynamic() const { return !description_.shape.is_known(); }

  // Where the engine finds it: nowhere before reserve().
  void* address() const { return description_.is_on_host ? host_.address() : device_.address(); }
  // Make room for a shape; the address that the engine is to use.
  void* reserve(const Shape& shape);
  void write(const void* from);
  void upload(const CudaQueue& queue) const;
  // Enqueue the copy to the host; the shape may only be known since the run.
  void download(const CudaQueue& queue);
  void read(void* to) const;

  // Of an output whose shape depends on the data.
  bool is_late() const { return is_late_; }
  void make_late() { is_late_ = true; }
  void* allocate(std::size_t bytes) noexcept override;
  void tell_shape(const Shape& shape) noexcept override { shape_ = shape; }
  // Throws what allocate() could not.
  void check_allocation();

 private:
  EnginePort description_;
  Shape shape_;
  CudaBuffer host_;
  CudaBuffer device_;
  bool is_late_ = false;
  std::string failure_;
};

// Throws Failure (BM_BAD_INPUT) where a tensor does not fit the input.
void check_input(const EnginePort& port, const bm_tensor& tensor);

Shape shape_of(const bm_tensor& tensor);

}  // namespace bm::trt
