// Values, logger and allocator of one SDK's headers. All has no linkage outside of
// tensorrt_adapter.cpp, which includes it for each SDK with other types of the same names.
#pragma once

#include <NvInferRuntime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>

#include "tensorrt_log.h"
#include "tensorrt_sdk.h"

namespace bm::trt {
namespace {

namespace nv = nvinfer1;

constexpr const char* kElements[] = {"FLOAT", "HALF", "INT8",  "INT32", "BOOL", "UINT8",
                                     "FP8",   "BF16", "INT64", "INT4",  "FP4",  "E8M0"};

bm_dtype dtype_of(nv::DataType type) {
  switch (type) {
    case nv::DataType::kFLOAT:
      return BM_FLOAT32;
    case nv::DataType::kHALF:
      return BM_FLOAT16;
    case nv::DataType::kINT8:
      return BM_INT8;
    case nv::DataType::kUINT8:
      return BM_UINT8;
    case nv::DataType::kINT32:
      return BM_INT32;
    case nv::DataType::kINT64:
      return BM_INT64;
    case nv::DataType::kBOOL:
      return BM_BOOL;
    default:
      return bm_dtype{};
  }
}

std::string element_name(nv::DataType type) {
  const auto number = static_cast<std::size_t>(type);
  return number < std::size(kElements) ? kElements[number] : std::to_string(number);
}

Shape read_shape(const nv::Dims& dims) {
  Shape shape;
  shape.rank = std::min(dims.nbDims, BM_MAX_RANK);
  std::copy(dims.d, dims.d + std::max(shape.rank, 0), shape.dims);
  return shape;
}

nv::Dims write_shape(const Shape& shape) {
  nv::Dims dims{};
  dims.nbDims = shape.rank;
  std::copy(shape.dims, shape.dims + shape.rank, dims.d);
  return dims;
}

class Logger final : public nv::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity <= Severity::kERROR) {
      log_error(message);
    }
  }
};

// The SDK's global logger is the first that it was given, used after that runtime is gone.
Logger& logger() {
  static Logger* const only = new Logger;
  return *only;
}

class Allocator final : public nv::IOutputAllocator {
 public:
  explicit Allocator(LateOutput* output) : output_(output) {}

  void* reallocateOutputAsync(const char* /*name*/, void* /*current*/, std::uint64_t bytes,
                              std::uint64_t /*alignment*/, cudaStream_t /*stream*/) override {
    return output_->allocate(bytes);
  }

  void notifyShape(const char* /*name*/, const nv::Dims& dims) noexcept override {
    output_->tell_shape(read_shape(dims));
  }

 private:
  LateOutput* output_;
};

}  // namespace
}  // namespace bm::trt
