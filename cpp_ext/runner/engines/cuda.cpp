#include "cuda.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "failure.h"

namespace bm {
namespace {

constexpr int kOutOfMemory = 2;
constexpr int kNoDevice = 100;
constexpr int kMajorCapability = 75;
constexpr int kMinorCapability = 76;
constexpr unsigned kNonBlocking = 1;  // The legacy default stream would wait for ours.
constexpr std::size_t kLeastBytes = 256;
constexpr const char* kDriver = "libcuda.so.1";

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) {
    fail(BM_HOST, std::string(kDriver) + " has no " + name + "; update the NVIDIA driver");
  }
}

void* open_driver() {
  void* library = dlopen(kDriver, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    fail(BM_HOST, std::string("no NVIDIA driver is loaded (") + (reason ? reason : kDriver) +
                      "); the engine runs on a host with an NVIDIA GPU and its driver");
  }
  return library;
}

void find_devices(void* library, CudaApi& api) {
  find(library, "cuInit", api.init);
  find(library, "cuGetErrorName", api.error_name);
  find(library, "cuGetErrorString", api.error_text);
  find(library, "cuDeviceGetCount", api.device_count);
  find(library, "cuDeviceGet", api.device_get);
  find(library, "cuDeviceGetAttribute", api.device_attribute);
  find(library, "cuDevicePrimaryCtxRetain", api.context_retain);
  find(library, "cuDevicePrimaryCtxRelease_v2", api.context_release);
  find(library, "cuCtxPushCurrent_v2", api.context_push);
  find(library, "cuCtxPopCurrent_v2", api.context_pop);
}

void find_memory(void* library, CudaApi& api) {
  find(library, "cuMemAlloc_v2", api.allocate);
  find(library, "cuMemFree_v2", api.free);
  find(library, "cuMemHostAlloc", api.allocate_pinned);
  find(library, "cuMemFreeHost", api.free_pinned);
  find(library, "cuMemcpyHtoDAsync_v2", api.upload);
  find(library, "cuMemcpyDtoHAsync_v2", api.download);
  find(library, "cuStreamCreate", api.stream_create);
  find(library, "cuStreamSynchronize", api.stream_wait);
  find(library, "cuStreamDestroy_v2", api.stream_destroy);
}

const char* advice(int code) {
  switch (code) {
    case kOutOfMemory:
      return "run smaller batches, or free memory of the GPU";
    case kNoDevice:
      return "check CUDA_VISIBLE_DEVICES, and that this host has an NVIDIA GPU";
    default:
      return "run it again, and see nvidia-smi and the system log where it persists";
  }
}

CudaAddress as_number(const void* address) {
  return static_cast<CudaAddress>(reinterpret_cast<std::uintptr_t>(address));
}

}  // namespace

Cuda::Cuda() {
  // Never closed: the driver and TensorRT have threads in it.
  void* library = open_driver();
  find_devices(library, api_);
  find_memory(library, api_);
  check(api_.init(0), "cuInit");
  int count = 0;
  check(api_.device_count(&count), "cuDeviceGetCount");
  if (count == 0) {
    fail(BM_HOST, "no NVIDIA GPU is visible; check CUDA_VISIBLE_DEVICES");
  }
  check(api_.device_get(&device_, 0), "cuDeviceGet");
  check(api_.context_retain(&context_, device_), "cuDevicePrimaryCtxRetain");
}

Cuda::~Cuda() {
  api_.context_release(device_);
}

int Cuda::sm() const {
  int major = 0;
  int minor = 0;
  check(api_.device_attribute(&major, kMajorCapability, device_), "cuDeviceGetAttribute");
  check(api_.device_attribute(&minor, kMinorCapability, device_), "cuDeviceGetAttribute");
  return 10 * major + minor;
}

void Cuda::check(int code, const char* function) const {
  if (code == 0) {
    return;
  }
  const char* name = nullptr;
  const char* text = nullptr;
  api_.error_name(code, &name);
  api_.error_text(code, &text);
  const std::string error = name != nullptr ? name : "error " + std::to_string(code);
  const std::string said = text != nullptr ? " (" + std::string(text) + ")" : "";
  fail(BM_HOST,
       "CUDA: " + std::string(function) + " failed with " + error + said + "; " + advice(code));
}

CudaScope::CudaScope(const Cuda& cuda) : cuda_(cuda) {
  cuda.check(cuda.api().context_push(cuda.context()), "cuCtxPushCurrent");
}

CudaScope::~CudaScope() {
  CudaContext ours = nullptr;
  cuda_.api().context_pop(&ours);
}

CudaQueue::CudaQueue(const Cuda& cuda) : cuda_(cuda) {
  cuda.check(cuda.api().stream_create(&stream_, kNonBlocking), "cuStreamCreate");
}

CudaQueue::~CudaQueue() {
  cuda_.api().stream_destroy(stream_);
}

void CudaQueue::upload(void* device, const void* host, std::size_t bytes) const {
  if (bytes != 0) {
    const int code = cuda_.api().upload(as_number(device), host, bytes, stream_);
    cuda_.check(code, "cuMemcpyHtoDAsync");
  }
}

void CudaQueue::download(void* host, const void* device, std::size_t bytes) const {
  if (bytes != 0) {
    const int code = cuda_.api().download(host, as_number(device), bytes, stream_);
    cuda_.check(code, "cuMemcpyDtoHAsync");
  }
}

void CudaQueue::wait() const {
  cuda_.check(cuda_.api().stream_wait(stream_), "cuStreamSynchronize");
}

void CudaQueue::settle() const noexcept {
  cuda_.api().stream_wait(stream_);
}

void* CudaBuffer::reserve(std::size_t bytes) {
  const std::size_t wanted = std::max(bytes, kLeastBytes);
  if (wanted > capacity_) {
    release();
    allocate(wanted);
    capacity_ = wanted;
  }
  return address_;
}

void CudaBuffer::allocate(std::size_t bytes) {
  if (kind_ == Kind::pinned) {
    cuda_.check(cuda_.api().allocate_pinned(&address_, bytes, 0), "cuMemHostAlloc");
    return;
  }
  CudaAddress address = 0;
  cuda_.check(cuda_.api().allocate(&address, bytes), "cuMemAlloc");
  address_ = reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));
}

void CudaBuffer::release() noexcept {
  if (capacity_ != 0 && kind_ == Kind::pinned) {
    cuda_.api().free_pinned(address_);
  } else if (capacity_ != 0) {
    cuda_.api().free(as_number(address_));
  }
  address_ = nullptr;
  capacity_ = 0;
}

}  // namespace bm
