// TensorRT and TensorRT-RTX without their headers: tensorrt_adapter.cpp is compiled once for each
// SDK's headers, since the tables of virtual functions differ between major versions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bmopt_runner.h"
#include "cuda.h"
#include "tensorrt_library.h"

namespace bm::trt {

struct Shape {
  std::int32_t rank = 0;  // -1 where even that is unknown.
  std::int64_t dims[BM_MAX_RANK] = {};

  bool operator==(const Shape& other) const;
  bool is_known() const;  // No -1 in it.
  std::int64_t elements() const;
  std::string text() const;  // "4x3x32x32", with ? where it is unknown.
};

// The shapes that an optimisation profile allows.
struct ShapeSpan {
  Shape low;
  Shape usual;
  Shape high;

  bool has(const Shape& shape) const;
};

// An input or output of an engine.
struct EnginePort {
  std::string name;
  bool is_input = false;
  bool is_on_host = false;          // The engine reads or writes it in host memory: it is a shape.
  std::string element;              // The SDK's name of the element type.
  bm_dtype dtype{};                 // 0 for a type that the runner cannot feed.
  Shape shape;                      // -1 for a dynamic axis.
  std::vector<ShapeSpan> profiles;  // Of an input with dynamic axes.
};

// An output whose shape depends on the data, so that the engine asks for its memory.
class LateOutput {
 public:
  virtual ~LateOutput() = default;
  virtual void* allocate(std::size_t bytes) noexcept = 0;
  virtual void tell_shape(const Shape& shape) noexcept = 0;
};

// A deserialised engine with its execution context. What returns a bool is false where the SDK
// refuses; because() of tensorrt_log.h tells why.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::vector<EnginePort> ports() const = 0;
  virtual bool select_profile(int index, CudaStream stream) = 0;
  virtual bool set_shape(const char* name, const Shape& shape) = 0;
  virtual bool set_address(const char* name, void* address) = 0;
  virtual bool set_late(const char* name, LateOutput* output) = 0;
  virtual bool infer_shapes() = 0;
  virtual Shape shape(const char* name) const = 0;
  virtual bool enqueue(CudaStream stream) = 0;
};

struct EngineSettings {
  bool host_code_allowed = false;  // An engine for other versions brings a runtime of its own.
  int dla_core = -1;               // Core of the deep learning accelerator; -1 for the GPU.
};

// What was compiled for the headers of one SDK.
struct Sdk {
  int major;
  int minor;
  // Return null where the SDK refuses the bytes. Throws Failure (BM_HOST) where something else is
  // wrong.
  std::unique_ptr<Engine> (*open)(const EngineLibrary& library, const void* data,
                                  std::size_t bytes, const EngineSettings& settings);
};

// All that this plugin was compiled for.
const std::vector<const Sdk*>& compiled_sdks();

}  // namespace bm::trt
