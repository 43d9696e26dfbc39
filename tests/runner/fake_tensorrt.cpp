// Stands in for tensorrt_adapter.cpp, so that what is around it runs without an SDK and a GPU. It
// "deserialises" the header of an engine file followed by the name of what the engine does.
#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "failure.h"
#include "tensorrt_log.h"
#include "tensorrt_sdk.h"

namespace bm::trt {

extern const Sdk fake_10;

namespace {

constexpr std::size_t kHeaderBytes = 36;

int tellings = 0;  // How often an engine was told a shape.

Shape shape_of(std::initializer_list<std::int64_t> dims) {
  Shape shape;
  shape.rank = static_cast<std::int32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), shape.dims);
  return shape;
}

EnginePort port(const char* name, bool is_input, const Shape& shape) {
  EnginePort port;
  port.name = name;
  port.is_input = is_input;
  port.element = "FLOAT";
  port.dtype = BM_FLOAT32;
  port.shape = shape;
  return port;
}

// y = 2 x for x of N x 3, with a profile for N from 1 to 4 and one for 5 to 8, which adds 100 so
// that the two can be told apart.
class Double : public Engine {
 public:
  std::vector<EnginePort> ports() const override {
    EnginePort x = port("x", true, shape_of({-1, 3}));
    x.profiles = {{shape_of({1, 3}), shape_of({2, 3}), shape_of({4, 3})},
                  {shape_of({5, 3}), shape_of({8, 3}), shape_of({8, 3})}};
    return {port("y", false, shape_of({-1, 3})), x};
  }

  bool select_profile(int index, CudaStream) override {
    profile_ = index;
    return true;
  }

  bool set_shape(const char*, const Shape& shape) override {
    ++tellings;
    given_ = shape;
    return true;
  }

  bool set_address(const char* name, void* address) override {
    (*name == 'x' ? x_ : y_) = static_cast<float*>(address);
    return true;
  }

  bool set_late(const char*, LateOutput* output) override {
    late_ = output;
    return true;
  }

  bool infer_shapes() override { return true; }
  Shape shape(const char*) const override { return given_; }

  bool enqueue(CudaStream) override {
    for (std::int64_t i = 0; i < given_.elements(); ++i) {
      y_[i] = 2 * x_[i] + (profile_ == 1 ? 100 : 0);
    }
    return true;
  }

 protected:
  int profile_ = 0;
  Shape given_;
  float* x_ = nullptr;
  float* y_ = nullptr;
  LateOutput* late_ = nullptr;
};

// y = the positive elements of x.
class Positive : public Double {
 public:
  Shape shape(const char*) const override { return shape_of({-1}); }

  std::vector<EnginePort> ports() const override {
    return {port("x", true, shape_of({-1, 3})), port("y", false, shape_of({-1}))};
  }

  bool enqueue(CudaStream) override {
    std::vector<float> found;
    std::copy_if(x_, x_ + given_.elements(), std::back_inserter(found),
                 [](float value) { return value > 0; });
    void* to = late_->allocate(std::max<std::size_t>(1, found.size() * sizeof(float)));
    if (to == nullptr) {
      log_error("no memory for y");
      return false;
    }
    std::copy(found.begin(), found.end(), static_cast<float*>(to));
    late_->tell_shape(shape_of({static_cast<std::int64_t>(found.size())}));
    return true;
  }
};

// Refuses to run.
class Stuck : public Double {
 public:
  bool enqueue(CudaStream) override {
    log_error("Error Code 1:\n  the kernel  failed");
    return false;
  }
};

// Has elements that the runner has no type for.
class Brief : public Double {
 public:
  std::vector<EnginePort> ports() const override {
    EnginePort x = port("x", true, shape_of({1}));
    x.dtype = bm_dtype{};
    x.element = "BF16";
    return {x, port("y", false, shape_of({1}))};
  }
};

std::unique_ptr<Engine> open(const EngineLibrary&, const void* data, std::size_t bytes,
                             const EngineSettings&) {
  forget_errors();
  const std::string name(static_cast<const char*>(data) + kHeaderBytes, bytes - kHeaderBytes);
  if (name == "double") return std::make_unique<Double>();
  if (name == "positive") return std::make_unique<Positive>();
  if (name == "stuck") return std::make_unique<Stuck>();
  if (name == "brief") return std::make_unique<Brief>();
  if (name == "fat") log_error("Error Code 2: OutOfMemory (Requested size was 1 bytes.)");
  if (name == "foreign") log_error("expecting compute 8.6 got compute 8.9, please rebuild");
  return nullptr;
}

}  // namespace

const Sdk fake_10 = {10, 0, open};

}  // namespace bm::trt

extern "C" __attribute__((visibility("default"))) int fake_tellings() {
  return bm::trt::tellings;
}
