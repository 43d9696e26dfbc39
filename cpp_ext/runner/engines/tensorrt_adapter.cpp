// The classes of tensorrt_sdk.h on one SDK's headers. The build names what is made here with
// BM_SDK, and gives the SDK's namespace another name with -Dnvinfer1=..., so that the inline
// functions of several major versions live in one plugin.
#include <NvInferRuntime.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "failure.h"
#include "tensorrt_log.h"
#include "tensorrt_sdk.h"
#include "tensorrt_values.h"

namespace bm::trt {

extern const Sdk BM_SDK;

namespace {

struct Loaded {
  std::unique_ptr<nv::IRuntime> runtime;
  std::unique_ptr<nv::ICudaEngine> engine;
#ifdef TRT_MAJOR_RTX
  std::unique_ptr<nv::IRuntimeConfig> config;  // The context points to it.
#endif
  std::unique_ptr<nv::IExecutionContext> context;
};

class NvEngine final : public Engine {
 public:
  explicit NvEngine(Loaded loaded) : loaded_(std::move(loaded)) {}

  std::vector<EnginePort> ports() const override {
    std::vector<EnginePort> ports;
    for (int i = 0; i < loaded_.engine->getNbIOTensors(); ++i) {
      ports.push_back(port(loaded_.engine->getIOTensorName(i)));
    }
    return ports;
  }

  bool select_profile(int index, CudaStream stream) override {
    return loaded_.context->setOptimizationProfileAsync(index, stream);
  }

  bool set_shape(const char* name, const Shape& shape) override {
    return loaded_.context->setInputShape(name, write_shape(shape));
  }

  bool set_address(const char* name, void* address) override {
    return loaded_.context->setTensorAddress(name, address);
  }

  bool set_late(const char* name, LateOutput* output) override {
    allocators_.push_back(std::make_unique<Allocator>(output));
    return loaded_.context->setOutputAllocator(name, allocators_.back().get());
  }

  bool infer_shapes() override { return loaded_.context->inferShapes(0, nullptr) == 0; }

  Shape shape(const char* name) const override {
    return read_shape(loaded_.context->getTensorShape(name));
  }

  bool enqueue(CudaStream stream) override { return loaded_.context->enqueueV3(stream); }

 private:
  EnginePort port(const char* name) const {
    const nv::ICudaEngine& engine = *loaded_.engine;
    EnginePort port;
    port.name = name;
    port.is_input = engine.getTensorIOMode(name) == nv::TensorIOMode::kINPUT;
    port.is_on_host = engine.getTensorLocation(name) == nv::TensorLocation::kHOST;
    port.element = element_name(engine.getTensorDataType(name));
    port.dtype = dtype_of(engine.getTensorDataType(name));
    port.shape = read_shape(engine.getTensorShape(name));
    const int count =
        port.is_input && !port.shape.is_known() ? engine.getNbOptimizationProfiles() : 0;
    for (int i = 0; i < count; ++i) {
      port.profiles.push_back(span(name, i));
    }
    return port;
  }

  ShapeSpan span(const char* name, int profile) const {
    const auto shape = [&](nv::OptProfileSelector which) {
      return read_shape(loaded_.engine->getProfileShape(name, profile, which));
    };
    return {shape(nv::OptProfileSelector::kMIN), shape(nv::OptProfileSelector::kOPT),
            shape(nv::OptProfileSelector::kMAX)};
  }

  std::vector<std::unique_ptr<Allocator>> allocators_;
  Loaded loaded_;
};

#ifdef TRT_MAJOR_RTX
// Throws where the header tells that this host cannot run the engine.
void require_valid(const nv::IRuntime& runtime, const void* data, std::size_t bytes) {
  using Reason = nv::EngineInvalidityDiagnostics;
  std::uint64_t reasons = 0;
  const auto size = static_cast<std::int64_t>(bytes);
  if (runtime.getEngineValidity(data, size, &reasons) != nv::EngineValidity::kINVALID) {
    return;
  }
  const std::pair<Reason, const char*> host[] = {
      {Reason::kOLD_CUDA_DRIVER, "the NVIDIA driver is too old for it; update the driver"},
      {Reason::kOLD_CUDA_RUNTIME, "the CUDA runtime is too old for it; update TensorRT-RTX"},
      {Reason::kINSUFFICIENT_GPU_MEMORY, "the GPU has not enough memory for it; free some"},
      {Reason::kCUDA_ERROR, "CUDA does not work here; check the driver with nvidia-smi"}};
  for (const auto& [reason, remedy] : host) {
    if ((reasons & static_cast<std::uint64_t>(reason)) != 0) {
      fail(BM_HOST, remedy + because());
    }
  }
}

void create_context(Loaded& loaded) {
  loaded.config.reset(loaded.engine->createRuntimeConfig());
  if (loaded.config != nullptr) {
    // Kernels that are compiled beside the runs would make latencies drift.
    loaded.config->setDynamicShapesKernelSpecializationStrategy(
        nv::DynamicShapesKernelSpecializationStrategy::kEAGER);
    loaded.context.reset(loaded.engine->createExecutionContext(loaded.config.get()));
  }
}
#else
void require_valid(const nv::IRuntime&, const void*, std::size_t) {}

void create_context(Loaded& loaded) {
  loaded.context.reset(loaded.engine->createExecutionContext());
}
#endif

void create_runtime(Loaded& loaded, const EngineLibrary& library, const EngineSettings& settings) {
  void* runtime = library.create_runtime(&logger(), NV_TENSORRT_VERSION);
  loaded.runtime.reset(static_cast<nv::IRuntime*>(runtime));
  if (runtime == nullptr) {
    fail(BM_HOST, library.title() + " does not start here" + because() +
                      "; check the driver with nvidia-smi");
  }
  if (settings.host_code_allowed) {
    loaded.runtime->setEngineHostCodeAllowed(true);
  }
  if (settings.dla_core >= 0) {
    loaded.runtime->setDLACore(settings.dla_core);
  }
}

std::unique_ptr<Engine> open(const EngineLibrary& library, const void* data, std::size_t bytes,
                             const EngineSettings& settings) {
  forget_errors();
  Loaded loaded;
  create_runtime(loaded, library, settings);
  require_valid(*loaded.runtime, data, bytes);
  loaded.engine.reset(loaded.runtime->deserializeCudaEngine(data, bytes));
  if (loaded.engine == nullptr) {
    return nullptr;
  }
  create_context(loaded);
  if (loaded.context == nullptr) {
    fail(BM_HOST, "no execution context on this GPU" + because() +
                      "; free memory of the GPU, or "
                      "build with smaller maximum shapes");
  }
  return std::make_unique<NvEngine>(std::move(loaded));
}

}  // namespace

const Sdk BM_SDK = {NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, open};

}  // namespace bm::trt
