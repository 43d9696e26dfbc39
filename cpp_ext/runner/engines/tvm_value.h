#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "bmopt_runner.h"
#include "tvm_library.h"

namespace bm::tvm {

// A value that TVM gave: what it refers to is released.
class Value {
 public:
  explicit Value(const Library& library) : library_(&library) {}
  Value(const Library& library, TVMFFIObjectHandle object, std::int32_t type);
  ~Value() { reset(); }
  Value(Value&& other) noexcept
      : library_(other.library_), any_(std::exchange(other.any_, TVMFFIAny{})) {}
  Value& operator=(Value&& other) noexcept {
    std::swap(any_, other.any_);
    return *this;
  }

  const TVMFFIAny& any() const { return any_; }
  bool is(std::int32_t type) const { return any_.type_index == type; }
  bool is_none() const { return is(kTVMFFINone); }
  TVMFFIObjectHandle object() const { return any_.v_obj; }
  TVMFFIAny* fill() {
    reset();
    return &any_;
  }
  void reset();

 private:
  const Library* library_;
  TVMFFIAny any_{};
};

TVMFFIAny argument(std::int64_t number);
TVMFFIAny argument(bool flag);
TVMFFIAny argument(const char* text);  // Valid while the text is.

// Throws Failure with `status`, or BM_BAD_INPUT where TVM says that a value does not fit, if
// `code` is an error; `what` begins the message.
void check(const Library& library, int code, bm_status status, const std::string& what);

// A function of TVM's registry.
Value global_function(const Library& library, const std::string& name);

// Call a function. Throws Failure as `check` does.
Value call(const Library& library, const Value& function, const TVMFFIAny* arguments,
           std::size_t count, bm_status status, const std::string& what);

inline Value call(const Library& library, const Value& function,
                  std::initializer_list<TVMFFIAny> arguments, bm_status status,
                  const std::string& what) {
  return call(library, function, arguments.begin(), arguments.size(), status, what);
}

}  // namespace bm::tvm
