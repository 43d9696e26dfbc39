#pragma once

// What every engine's plugin is made of: its table of functions over a class Session, made from a
// bm_session_config, with `run(inputs, outputs)` and `version()`. Errors inside are exceptions;
// none leaves a function of the table.

#include <cstdio>
#include <exception>
#include <new>

#include "bmopt_engine.h"
#include "failure.h"

namespace bm {

inline bm_status report(bm_status status, const char* message, char* error) {
  std::snprintf(error, BM_ERROR_BYTES, "%s", message);
  return status;
}

template <typename Work>
bm_status guarded(char* error, Work work) noexcept {
  try {
    work();
    return BM_OK;
  } catch (const Failure& failure) {
    return report(failure.status, failure.message.c_str(), error);
  } catch (const std::bad_alloc&) {
    return report(BM_HOST, "this host has no memory left; free some", error);
  } catch (const std::exception& exception) {
    return report(BM_INTERNAL, exception.what(), error);
  } catch (...) {
    return report(BM_INTERNAL, "an unknown error of the engine's plugin", error);
  }
}

template <typename Session>
struct Plugin {
  static Session* own(bm_session* session) { return reinterpret_cast<Session*>(session); }

  static bm_status open(const bm_session_config* config, bm_session** session, char* error) {
    *session = nullptr;
    return guarded(error, [&] { *session = reinterpret_cast<bm_session*>(new Session(*config)); });
  }

  static bm_status run(bm_session* session, const bm_tensor* inputs, bm_tensor* outputs,
                       char* error) {
    return guarded(error, [&] { own(session)->run(inputs, outputs); });
  }

  static const char* version(const bm_session* session) {
    return reinterpret_cast<const Session*>(session)->version();
  }

  static void close(bm_session* session) { delete own(session); }

  static constexpr bm_engine_table table(const char* name) {
    return {BM_ENGINE_ABI, name, open, run, version, close};
  }
};

}  // namespace bm
