// A CUDA driver on the host's memory, to test what the runner asks of the real one: built as
// libcuda.so.1. FAKE_CUDA_DEVICES is the number of GPUs, FAKE_CUDA_BYTES the memory that they
// have. Work without a current context is refused; a context that is given back with something
// left in it ends the process.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace {

constexpr int kOutOfMemory = 2;
constexpr int kNoDevice = 100;
constexpr int kNoContext = 201;

int pushed = 0;
int streams = 0;
std::size_t taken = 0;
std::map<void*, std::size_t> blocks;

long setting(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atol(text) : otherwise;
}

int allocate(void** address, std::size_t bytes) {
  if (pushed == 0) return kNoContext;
  if (taken + bytes > static_cast<std::size_t>(setting("FAKE_CUDA_BYTES", 1 << 30))) {
    return kOutOfMemory;
  }
  *address = std::malloc(bytes);
  blocks[*address] = bytes;
  taken += bytes;
  return 0;
}

int release(void* address) {
  const auto found = blocks.find(address);
  if (pushed == 0) return kNoContext;
  if (found == blocks.end()) std::abort();
  taken -= found->second;
  blocks.erase(found);
  std::free(address);
  return 0;
}

void* pointer(unsigned long long address) {
  return reinterpret_cast<void*>(address);
}

}  // namespace

#define DRIVER extern "C" __attribute__((visibility("default"))) int

DRIVER cuInit(unsigned) {
  return setting("FAKE_CUDA_DEVICES", 1) > 0 ? 0 : kNoDevice;
}

DRIVER cuGetErrorName(int code, const char** name) {
  *name = code == kOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY"
          : code == kNoDevice  ? "CUDA_ERROR_NO_DEVICE"
                               : nullptr;
  return 0;
}

DRIVER cuGetErrorString(int code, const char** text) {
  *text = code == kOutOfMemory ? "out of memory" : nullptr;
  return 0;
}

DRIVER cuDeviceGetCount(int* count) {
  *count = static_cast<int>(setting("FAKE_CUDA_DEVICES", 1));
  return 0;
}

DRIVER cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return 0;
}

DRIVER cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 75 ? 8 : 9;
  return 0;
}

DRIVER cuDevicePrimaryCtxRetain(void** context, int) {
  *context = &blocks;
  return 0;
}

DRIVER cuDevicePrimaryCtxRelease_v2(int) {
  if (!blocks.empty() || streams != 0 || pushed != 0) {
    std::fprintf(stderr, "left behind: %zu blocks, %d streams, %d contexts\n", blocks.size(),
                 streams, pushed);
    std::abort();
  }
  return 0;
}

DRIVER cuCtxPushCurrent_v2(void*) {
  return ++pushed > 0 ? 0 : kNoContext;
}
DRIVER cuCtxPopCurrent_v2(void**) {
  return --pushed >= 0 ? 0 : kNoContext;
}

DRIVER cuMemAlloc_v2(unsigned long long* address, std::size_t bytes) {
  void* block = nullptr;
  const int code = allocate(&block, bytes);
  *address = reinterpret_cast<unsigned long long>(block);
  return code;
}

DRIVER cuMemFree_v2(unsigned long long address) {
  return release(pointer(address));
}
DRIVER cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
  return allocate(address, bytes);
}
DRIVER cuMemFreeHost(void* address) {
  return release(address);
}

DRIVER cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, std::size_t bytes, void*) {
  std::memcpy(pointer(to), from, bytes);
  return pushed == 0 ? kNoContext : 0;
}

DRIVER cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, std::size_t bytes, void*) {
  std::memcpy(to, pointer(from), bytes);
  return pushed == 0 ? kNoContext : 0;
}

DRIVER cuStreamCreate(void** stream, unsigned) {
  *stream = &streams;
  ++streams;
  return 0;
}

DRIVER cuStreamSynchronize(void*) {
  return pushed == 0 ? kNoContext : 0;
}

DRIVER cuStreamDestroy_v2(void*) {
  --streams;
  return 0;
}
