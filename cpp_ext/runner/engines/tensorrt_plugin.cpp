// The plugin's one symbol. No exception leaves it.
#include <cstdio>
#include <exception>
#include <new>

#include "bmopt_engine.h"
#include "failure.h"
#include "tensorrt_session.h"

struct bm_session {
  bm::trt::Session session;
};

namespace bm::trt {

// The build lists what it compiled tensorrt_adapter.cpp as: SDK(name) SDK(name).
#define SDK(name) extern const Sdk name;
BM_SDKS
#undef SDK

const std::vector<const Sdk*>& compiled_sdks() {
#define SDK(name) &name,
  static const std::vector<const Sdk*> all = {BM_SDKS};
#undef SDK
  return all;
}

}  // namespace bm::trt

namespace {

bm_status report(bm_status status, const char* message, char* error) {
  std::snprintf(error, BM_ERROR_BYTES, "%s", message);
  return status;
}

template <typename Work>
bm_status guarded(char* error, Work work) noexcept {
  try {
    work();
    return BM_OK;
  } catch (const bm::Failure& failure) {
    return report(failure.status, failure.message.c_str(), error);
  } catch (const std::bad_alloc&) {
    return report(BM_HOST, "this host has no memory left; free some", error);
  } catch (const std::exception& exception) {
    return report(BM_INTERNAL, exception.what(), error);
  } catch (...) {
    return report(BM_INTERNAL, "an unknown error of the engine's plugin", error);
  }
}

bm_status open_session(const bm_session_config* config, bm_session** session, char* error) {
  *session = nullptr;
  return guarded(error, [&] { *session = new bm_session{bm::trt::Session(*config)}; });
}

bm_status run_session(bm_session* session, const bm_tensor* inputs, bm_tensor* outputs,
                      char* error) {
  return guarded(error, [&] { session->session.run(inputs, outputs); });
}

const char* session_version(const bm_session* session) {
  return session->session.version().c_str();
}

void close_session(bm_session* session) {
  delete session;
}

constexpr const char* kName = bm::trt::is_rtx_plugin() ? "tensorrt_rtx" : "tensorrt";

const bm_engine_table kTable = {BM_ENGINE_ABI, kName,           open_session,
                                run_session,   session_version, close_session};

}  // namespace

extern "C" const bm_engine_table* bm_engine(void) {
  return &kTable;
}
