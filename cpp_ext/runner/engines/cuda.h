// The CUDA driver, loaded with dlopen: neither CUDA's headers nor its runtime library are needed.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;
struct CUctx_st;

namespace bm {

using CudaStream = CUstream_st*;
using CudaContext = CUctx_st*;
using CudaAddress = unsigned long long;

// The functions of libcuda.so.1 that are used here; each returns 0 or a CUresult.
struct CudaApi {
  int (*init)(unsigned flags);
  int (*error_name)(int code, const char** name);
  int (*error_text)(int code, const char** text);
  int (*device_count)(int* count);
  int (*device_get)(int* device, int ordinal);
  int (*device_attribute)(int* value, int attribute, int device);
  int (*context_retain)(CudaContext* context, int device);
  int (*context_release)(int device);
  int (*context_push)(CudaContext context);
  int (*context_pop)(CudaContext* context);
  int (*allocate)(CudaAddress* address, std::size_t bytes);
  int (*free)(CudaAddress address);
  int (*allocate_pinned)(void** address, std::size_t bytes, unsigned flags);
  int (*free_pinned)(void* address);
  int (*upload)(CudaAddress to, const void* from, std::size_t bytes, CudaStream stream);
  int (*download)(void* to, CudaAddress from, std::size_t bytes, CudaStream stream);
  int (*stream_create)(CudaStream* stream, unsigned flags);
  int (*stream_wait)(CudaStream stream);
  int (*stream_destroy)(CudaStream stream);
};

// The first GPU (of CUDA_VISIBLE_DEVICES), with the context that TensorRT uses too.
// All members throw Failure (BM_HOST) where the driver refuses; those that free never throw.
class Cuda {
 public:
  Cuda();
  ~Cuda();
  Cuda(const Cuda&) = delete;
  Cuda& operator=(const Cuda&) = delete;

  const CudaApi& api() const { return api_; }
  CudaContext context() const { return context_; }

  // Compute capability: 89 for sm89.
  int sm() const;

  void check(int code, const char* function) const;

 private:
  CudaApi api_{};
  int device_ = 0;
  CudaContext context_ = nullptr;
};

// Makes the GPU's context the calling thread's for a while, and gives the caller back its own.
class CudaScope {
 public:
  explicit CudaScope(const Cuda& cuda);
  ~CudaScope();
  CudaScope(const CudaScope&) = delete;
  CudaScope& operator=(const CudaScope&) = delete;

 private:
  const Cuda& cuda_;
};

// A queue of work. Needs a CudaScope for its whole life, as the buffers do.
class CudaQueue {
 public:
  explicit CudaQueue(const Cuda& cuda);
  ~CudaQueue();
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;

  CudaStream stream() const { return stream_; }
  void upload(void* device, const void* host, std::size_t bytes) const;
  void download(void* host, const void* device, std::size_t bytes) const;
  void wait() const;
  // Wait for what was enqueued, whatever has become of it.
  void settle() const noexcept;

 private:
  const Cuda& cuda_;
  CudaStream stream_ = nullptr;
};

// Memory that grows when more is asked for; what it held is lost then.
class CudaBuffer {
 public:
  // Pinned memory is the host's that the GPU copies from and to without the CPU.
  enum class Kind { device, pinned };

  CudaBuffer(const Cuda& cuda, Kind kind) : cuda_(cuda), kind_(kind) {}
  ~CudaBuffer() { release(); }
  CudaBuffer(const CudaBuffer&) = delete;
  CudaBuffer& operator=(const CudaBuffer&) = delete;

  void* address() const { return address_; }
  // Make room and return the address. Tensors without elements have an address too.
  void* reserve(std::size_t bytes);

 private:
  void allocate(std::size_t bytes);
  void release() noexcept;

  const Cuda& cuda_;
  Kind kind_;
  void* address_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace bm
