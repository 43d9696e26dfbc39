#pragma once

#include <tvm/ffi/c_api.h>

#include <string>

namespace bm::tvm {

// The C functions of libtvm_ffi, from a library that was found when the program ran.
struct Library {
  decltype(&TVMFFIGetVersion) get_version;
  decltype(&TVMFFIObjectDecRef) release;
  decltype(&TVMFFIFunctionGetGlobal) get_global;
  decltype(&TVMFFIFunctionCall) call;
  decltype(&TVMFFIErrorMoveFromRaised) take_error;
  decltype(&TVMFFITensorFromDLPack) tensor_from_dlpack;
  // TVM's own, of its C++ interface: null where a version lacks it.
  void (*set_max_threads)(int);
  std::string version;  // Of libtvm_ffi, "0.1.14": the runtime itself tells none.
};

// Load libtvm_ffi and libtvm_runtime: `name` is the path or soname of the latter, or null. What is
// loaded stays. Throws Failure (BM_HOST).
const Library& load_library(const char* name);

}  // namespace bm::tvm
