#include <algorithm>
#include <cstring>
#include <exception>

#include "bmopt_runner.h"
#include "dtype.h"
#include "failure.h"
#include "runner.h"

namespace {

constexpr std::size_t kMessageBytes = 4096;
thread_local char last_error[kMessageBytes] = "";

bm_status remember(bm_status status, const char* message) {
  const std::size_t size = std::min(std::strlen(message), kMessageBytes - 1);
  std::copy(message, message + size, last_error);
  last_error[size] = '\0';
  std::replace_if(
      last_error, last_error + size, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return status;
}

// No exception may cross into C.
template <typename Action>
bm_status guarded(Action action) {
  try {
    action();
    return BM_OK;
  } catch (const bm::Failure& failure) {
    return remember(failure.status, failure.message.c_str());
  } catch (const std::exception& error) {
    return remember(BM_INTERNAL, error.what());
  } catch (...) {
    return remember(BM_INTERNAL, "an unknown fault");
  }
}

void check_options(const bm_options& options) {
  if (options.abi_version != BM_ABI_VERSION)
    bm::bad_input("bm_options.abi_version is " + std::to_string(options.abi_version) +
                  ", this library has " + std::to_string(BM_ABI_VERSION));
  if (options.threads < 0) bm::bad_input("bm_options.threads is negative");
}

void open(const char* path, const bm_options* options, bm_runner** runner) {
  if (path == nullptr || runner == nullptr) bm::bad_input("bm_open: path or runner is NULL");
  *runner = nullptr;
  static const bm_options defaults = {BM_ABI_VERSION, 0, nullptr, nullptr};
  const bm_options& chosen = options ? *options : defaults;
  check_options(chosen);
  const bm::EngineOptions engine{chosen.threads, chosen.library ? chosen.library : ""};
  *runner = bm::open_runner(path, chosen.model ? chosen.model : "", engine).release();
}

}  // namespace

extern "C" {

BM_API bm_status bm_open(const char* path, const bm_options* options, bm_runner** runner) {
  return guarded([&] { open(path, options, runner); });
}

BM_API size_t bm_io_count(const bm_runner* runner, bm_direction direction) {
  return runner ? runner->infos(direction).size() : 0;
}

BM_API bm_status bm_io_info(const bm_runner* runner, bm_direction direction, size_t index,
                            bm_tensor_info* info) {
  return guarded([&] {
    if (runner == nullptr || info == nullptr) bm::bad_input("bm_io_info: an argument is NULL");
    if (index >= runner->infos(direction).size())
      bm::bad_input("bm_io_info: there is no tensor " + std::to_string(index));
    *info = runner->infos(direction)[index];
  });
}

BM_API bm_status bm_run(bm_runner* runner, const bm_tensor* inputs, size_t input_count,
                        bm_tensor* outputs, size_t output_count) {
  return guarded([&] {
    if (runner == nullptr) bm::bad_input("bm_run: runner is NULL");
    bm::run_checked(*runner, inputs, input_count, outputs, output_count);
  });
}

BM_API const char* bm_model_name(const bm_runner* runner) {
  return runner ? runner->model->name.c_str() : "";
}

BM_API const char* bm_model_target(const bm_runner* runner) {
  return runner ? runner->model->target.c_str() : "";
}

BM_API const char* bm_engine_version(const bm_runner* runner) {
  return runner ? runner->engine->version().c_str() : "";
}

BM_API const char* bm_last_error(void) {
  return last_error;
}

BM_API void bm_close(bm_runner* runner) {
  delete runner;
}

BM_API size_t bm_dtype_bytes(bm_dtype dtype) {
  return bm::dtype_bytes(bm::dtype_code(dtype));
}
}
