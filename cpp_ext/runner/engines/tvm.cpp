// TVM as an engine of the runner.

#include <cstdio>
#include <exception>

#include "bmopt_engine.h"
#include "failure.h"
#include "tvm_session.h"

struct bm_session {
  bm::tvm::Session session;
};

namespace {

template <typename Action>
bm_status guarded(char* error, Action action) {
  try {
    action();
    return BM_OK;
  } catch (const bm::Failure& failure) {
    std::snprintf(error, BM_ERROR_BYTES, "%s", failure.message.c_str());
    return failure.status;
  } catch (const std::exception& fault) {
    std::snprintf(error, BM_ERROR_BYTES, "%s", fault.what());
    return BM_INTERNAL;
  }
}

bm_status open(const bm_session_config* config, bm_session** session, char* error) {
  return guarded(error, [&] { *session = new bm_session{bm::tvm::Session(*config)}; });
}

bm_status run(bm_session* session, const bm_tensor* inputs, bm_tensor* outputs, char* error) {
  return guarded(error, [&] { session->session.run(inputs, outputs); });
}

const char* version(const bm_session* session) {
  return session->session.version();
}

void close(bm_session* session) {
  delete session;
}

constexpr bm_engine_table kTable = {BM_ENGINE_ABI, "tvm", open, run, version, close};

}  // namespace

extern "C" BM_API const bm_engine_table* bm_engine(void) {
  return &kTable;
}
