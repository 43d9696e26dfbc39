#pragma once

#include <onnxruntime_c_api.h>

#include <string>

#include "bmopt_runner.h"

namespace bm::ort {

// ONNX Runtime's functions, from a library that was found when the program ran.
struct Library {
  const OrtApi* api;
  std::string version;

  // Throws Failure with `status` where ONNX Runtime's is an error; `what` begins the message.
  void check(OrtStatus* result, bm_status status, const std::string& what) const;
};

// Load it from a path, or by the name it has in the system's folders. What is loaded stays.
// Throws Failure (BM_HOST).
Library load_library(const char* name);

// Releases an object of ONNX Runtime's.
template <typename T>
class Owned {
 public:
  using Release = void(ORT_API_CALL*)(T*);

  explicit Owned(Release release) : release_(release) {}
  ~Owned() { reset(); }
  Owned(Owned&& other) noexcept : value_(other.value_), release_(other.release_) {
    other.value_ = nullptr;
  }
  Owned& operator=(Owned&&) = delete;

  T* get() const { return value_; }
  T** fill() {
    reset();
    return &value_;
  }
  void reset() {
    if (value_ != nullptr) release_(value_);
    value_ = nullptr;
  }

 private:
  T* value_ = nullptr;
  Release release_;
};

}  // namespace bm::ort
