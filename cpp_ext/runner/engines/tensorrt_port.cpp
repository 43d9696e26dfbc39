#include "tensorrt_port.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "dtype.h"
#include "failure.h"

namespace bm::trt {
namespace {

bool fits(const Shape& wanted, const Shape& given) {
  for (int axis = 0; axis < wanted.rank && wanted.rank == given.rank; ++axis) {
    const bool is_fixed = wanted.dims[axis] >= 0;
    if (given.dims[axis] < 0 || (is_fixed && wanted.dims[axis] != given.dims[axis])) {
      return false;
    }
  }
  return wanted.rank == given.rank;
}

std::size_t bytes_of(bm_dtype dtype, const Shape& shape) {
  return static_cast<std::size_t>(shape.elements()) * dtype_bytes(dtype);
}

}  // namespace

std::size_t Port::bytes() const {
  return bytes_of(description_.dtype, shape_);
}

void* Port::reserve(const Shape& shape) {
  shape_ = shape;
  void* host = host_.reserve(bytes());
  return description_.is_on_host ? host : device_.reserve(bytes());
}

void Port::write(const void* from) {
  if (bytes() != 0) {
    std::memcpy(host_.address(), from, bytes());
  }
}

void Port::upload(const CudaQueue& queue) const {
  if (!description_.is_on_host) {
    queue.upload(device_.address(), host_.address(), bytes());
  }
}

void Port::download(const CudaQueue& queue) {
  if (!description_.is_on_host) {
    host_.reserve(bytes());
    queue.download(host_.address(), device_.address(), bytes());
  }
}

void Port::read(void* to) const {
  if (bytes() != 0) {
    std::memcpy(to, host_.address(), bytes());
  }
}

void* Port::allocate(std::size_t bytes) noexcept {
  try {
    return device_.reserve(bytes);
  } catch (const Failure& failure) {
    failure_ = failure.message;
  } catch (...) {
    failure_ = "no memory for output '" + description_.name + "'";
  }
  return nullptr;
}

void Port::check_allocation() {
  if (!failure_.empty()) {
    std::string message;
    message.swap(failure_);
    fail(BM_HOST, std::move(message));
  }
}

Shape shape_of(const bm_tensor& tensor) {
  Shape shape;
  shape.rank = std::clamp(tensor.rank, 0, BM_MAX_RANK);
  std::copy(tensor.shape, tensor.shape + shape.rank, shape.dims);
  return shape;
}

void check_input(const EnginePort& port, const bm_tensor& tensor) {
  const Shape shape = shape_of(tensor);
  const std::string name = "input '" + port.name + "'";
  if (tensor.dtype != port.dtype) {
    bad_input(name + " is " + dtype_name(tensor.dtype) + ", and the engine takes " +
              dtype_name(port.dtype) + "; cast it");
  }
  if (!fits(port.shape, shape)) {
    bad_input(name + " has shape " + shape.text() + ", and the engine takes " + port.shape.text() +
              "; feed that shape");
  }
  const std::size_t wanted = bytes_of(port.dtype, shape);
  if (tensor.bytes != wanted || (tensor.data == nullptr && wanted != 0)) {
    bad_input(name + " has " + std::to_string(tensor.bytes) + " bytes, and its shape " +
              shape.text() + " takes " + std::to_string(wanted));
  }
}

}  // namespace bm::trt
