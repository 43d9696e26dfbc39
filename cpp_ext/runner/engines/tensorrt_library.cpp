#include "tensorrt_library.h"

#include <dlfcn.h>

#include <algorithm>

#include "failure.h"

namespace bm::trt {
namespace {

// 10.16.1 is 101601, and so on since TensorRT 10; TensorRT-RTX 1.7.1 is 10701.
void split_version(int number, int* release) {
  release[0] = number / 10000;
  release[1] = number / 100 % 100;
  release[2] = number % 100;
}

std::string said() {
  const char* reason = dlerror();
  return reason != nullptr ? " (" + std::string(reason) + ")" : "";
}

}  // namespace

EngineLibrary::EngineLibrary(const std::string& path) : path_(path) {
  handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    fail(BM_HOST, std::string(sdk_title()) + " cannot be loaded" + said() +
                      "; install it, or name "
                      "its library with --library");
  }
  create_ = reinterpret_cast<void* (*)(void*, int)>(find("createInferRuntime_INTERNAL"));
  read_version();
}

void EngineLibrary::read_version() {
  split_version(reinterpret_cast<int (*)()>(find("getInferLibVersion"))(), release_);
  version_ = std::to_string(release_[0]) + "." + std::to_string(release_[1]) + "." +
             std::to_string(release_[2]);
  // Missing in the oldest ones.
  if (void* build = dlsym(handle_, "getInferLibBuildVersion")) {
    version_ += "." + std::to_string(reinterpret_cast<int (*)()>(build)());
  }
}

void* EngineLibrary::find(const char* name) const {
  void* function = dlsym(handle_, name);
  if (function == nullptr) {
    fail(BM_HOST, path_ + ": is no library of " + sdk_title() + " (" + name +
                      " is missing); name another with --library");
  }
  return function;
}

std::string EngineLibrary::title() const {
  return std::string(sdk_title()) + " " + version_;
}

const char* sdk_title() {
  return is_rtx_plugin() ? "TensorRT-RTX" : "TensorRT";
}

std::vector<std::string> library_names(int major, const std::vector<int>& compiled) {
  std::vector<int> majors = compiled;
  // An engine runs on the version that built it; if it was built for others too, on newer ones.
  std::sort(majors.begin(), majors.end(),
            [major](int a, int b) { return (a == major) != (b == major) ? a == major : a > b; });
  std::vector<std::string> names;
  for (const int number : majors) {
    const std::string stem = is_rtx_plugin() ? "libtensorrt_rtx.so." : "libnvinfer.so.";
    names.push_back(stem + std::to_string(number));
  }
  return names;
}

}  // namespace bm::trt
