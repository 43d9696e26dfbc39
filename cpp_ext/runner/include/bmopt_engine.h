/* What an engine plugin gives the runner: one table of functions, found as `bm_engine`.
 *
 * A plugin is a shared library lib/libbm_engine_NAME.so of the bundle. It loads its runtime (ONNX
 * Runtime, TensorRT, TVM ...) with dlopen, so that it can be built and shipped where that is
 * missing. Functions return a bm_status and, where that is not BM_OK, write one line to `error`.
 */
#ifndef BMOPT_ENGINE_H
#define BMOPT_ENGINE_H

#include "bmopt_runner.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BM_ENGINE_ABI 1
#define BM_ERROR_BYTES 1024

typedef struct bm_session bm_session;

typedef struct bm_session_config {
  const char* model_path;  /* The model's or engine's file. */
  const char* library;     /* Path or soname of the runtime library. */
  int32_t threads;         /* 0 for one per core. */
  const char* const* keys; /* Session settings by the engine's names, from the manifest. */
  const char* const* values;
  size_t setting_count;
  const bm_tensor_info* inputs; /* As the manifest has them, in its order. */
  size_t input_count;
  const bm_tensor_info* outputs;
  size_t output_count;
} bm_session_config;

typedef struct bm_engine_table {
  int32_t abi; /* BM_ENGINE_ABI */
  const char* name;
  bm_status (*open)(const bm_session_config* config, bm_session** session, char* error);
  bm_status (*run)(bm_session* session, const bm_tensor* inputs, bm_tensor* outputs, char* error);
  const char* (*version)(const bm_session* session);
  void (*close)(bm_session* session);
} bm_engine_table;

/* The one symbol of a plugin. */
typedef const bm_engine_table* (*bm_engine_entry)(void);
BM_API const bm_engine_table* bm_engine(void);

#ifdef __cplusplus
}
#endif
#endif
