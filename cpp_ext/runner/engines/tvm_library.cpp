#include "tvm_library.h"

#include <dlfcn.h>

#include <vector>

#include "failure.h"

namespace bm::tvm {
namespace {

constexpr char kRuntime[] = "libtvm_runtime.so";
constexpr char kFfi[] = "libtvm_ffi.so";
constexpr char kExtra[] = "libtvm_runtime_extra.so";
constexpr char kHow[] =
    "package the bundle with it (without --slim), install it, or name its file with --library";
// tvm::runtime::threading::SetMaxConcurrency(int)
constexpr char kSetMaxThreads[] = "_ZN3tvm7runtime9threading17SetMaxConcurrencyEi";

// Compiled models are linked with no library: they find libtvm_ffi among the global symbols.
void* open_first(const std::vector<std::string>& names, int scope) {
  std::string reason;
  for (const std::string& name : names) {
    void* const library = ::dlopen(name.c_str(), RTLD_NOW | scope);
    if (library != nullptr) return library;
    if (reason.empty()) reason = ::dlerror();
  }
  fail(BM_HOST, "cannot load TVM's runtime: " + reason + "; " + kHow);
}

// The folder of a path with its slash; empty for a soname.
std::string folder_of(const std::string& name) {
  return name.substr(0, name.rfind('/') + 1);
}

// libtvm_ffi lies beside the runtime in a bundle, and in a package of its own in wheels.
std::vector<std::string> ffi_names(const std::string& folder) {
  if (folder.empty()) return {kFfi};
  return {folder + kFfi, folder + "../../tvm_ffi/lib/" + kFfi, kFfi};
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function == nullptr)
    fail(BM_HOST, std::string(kFfi) + " has no " + name + ": it is of another version");
}

Library functions_of(void* ffi, void* runtime) {
  Library library{};
  find(ffi, "TVMFFIGetVersion", library.get_version);
  find(ffi, "TVMFFIObjectDecRef", library.release);
  find(ffi, "TVMFFIFunctionGetGlobal", library.get_global);
  find(ffi, "TVMFFIFunctionCall", library.call);
  find(ffi, "TVMFFIErrorMoveFromRaised", library.take_error);
  find(ffi, "TVMFFITensorFromDLPack", library.tensor_from_dlpack);
  library.set_max_threads =
      reinterpret_cast<decltype(library.set_max_threads)>(::dlsym(runtime, kSetMaxThreads));
  TVMFFIVersion version;
  library.get_version(&version);
  library.version = std::to_string(version.major) + "." + std::to_string(version.minor) + "." +
                    std::to_string(version.patch);
  return library;
}

}  // namespace

const Library& load_library(const char* name) {
  const std::string runtime_name = name != nullptr ? name : kRuntime;
  const std::string folder = folder_of(runtime_name);
  void* const ffi = open_first(ffi_names(folder), RTLD_GLOBAL);
  void* const runtime = open_first({runtime_name}, RTLD_LOCAL);
  // Sorting and random numbers, which few models need: those say what they miss.
  ::dlopen((folder + kExtra).c_str(), RTLD_NOW | RTLD_LOCAL);
  // Objects may outlive a session, but never a library that is not closed.
  static const Library library = functions_of(ffi, runtime);
  return library;
}

}  // namespace bm::tvm
