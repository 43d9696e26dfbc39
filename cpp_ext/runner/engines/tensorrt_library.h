// The SDK's runtime library, loaded with dlopen.
#pragma once

#include <string>
#include <vector>

namespace bm::trt {

class EngineLibrary {
 public:
  // `path` is a path or soname. Throws Failure (BM_HOST) where it cannot be loaded.
  explicit EngineLibrary(const std::string& path);

  const std::string& path() const { return path_; }
  int major() const { return release_[0]; }
  int minor() const { return release_[1]; }
  // "10.16.1" or "1.7.1.116".
  const std::string& version() const { return version_; }
  // "TensorRT 10.16.1".
  std::string title() const;

  // The library's C function that makes a runtime for a logger and the headers' version.
  void* create_runtime(void* logger, int headers) const { return create_(logger, headers); }

 private:
  void read_version();
  void* find(const char* name) const;

  std::string path_;
  void* handle_ = nullptr;  // Never closed: the SDK's threads and its logger outlive engines.
  void* (*create_)(void* logger, int headers) = nullptr;
  int release_[3] = {};
  std::string version_;
};

// "TensorRT" or "TensorRT-RTX": which of them this plugin is for.
const char* sdk_title();
// Whether it is TensorRT-RTX.
constexpr bool is_rtx_plugin() {
#ifdef BM_TENSORRT_RTX
  return true;
#else
  return false;
#endif
}

// Sonames of the library to try for an engine that the SDK's major version `major` built (0 where
// that is unknown), of those `compiled` for; the likeliest first.
std::vector<std::string> library_names(int major, const std::vector<int>& compiled);

}  // namespace bm::trt
