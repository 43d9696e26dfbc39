/* Runs a bmopt bundle without Python.
 *
 * A bundle is a folder that `bmopt package` wrote. Open it, run it, close it:
 *
 *     bm_runner *runner;
 *     if (bm_open("bundle", NULL, &runner) != BM_OK) { puts(bm_last_error()); return 1; }
 *     bm_tensor_info in;
 *     bm_io_info(runner, BM_INPUT, 0, &in);
 *     ...
 *     bm_run(runner, inputs, 1, outputs, 1);
 *     bm_close(runner);
 *
 * Thread safety: `bm_last_error` belongs to the calling thread. Different runners may be used by
 * different threads at the same time. One runner may be used by one thread at a time; open the
 * bundle once per thread, or lock. No function throws; none keeps a pointer that it was given
 * beyond its return, unless it says so.
 */
#ifndef BMOPT_RUNNER_H
#define BMOPT_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BM_API __attribute__((visibility("default")))

#define BM_ABI_VERSION 1

/* Statuses are the exit codes of the command line tools. */
typedef enum bm_status {
  BM_OK = 0,
  BM_BAD_INPUT = 2, /* An argument, a file or a tensor does not fit; the message says which. */
  BM_UNTRUSTED = 5, /* A checksum or signature does not match. */
  BM_HOST = 6,      /* This host lacks an instruction set, a library or a device. */
  BM_DIFFERS = 7,   /* Golden outputs differ. */
  BM_INTERNAL = 70  /* A fault of the engine or of this library. */
} bm_status;

typedef enum bm_dtype {
  BM_FLOAT32 = 1,
  BM_UINT8 = 2,
  BM_INT8 = 3,
  BM_UINT16 = 4,
  BM_INT16 = 5,
  BM_INT32 = 6,
  BM_INT64 = 7,
  BM_BOOL = 9,
  BM_FLOAT16 = 10,
  BM_FLOAT64 = 11,
  BM_UINT32 = 12,
  BM_UINT64 = 13
} bm_dtype; /* The numbers are ONNX's. */

typedef enum bm_direction { BM_INPUT = 0, BM_OUTPUT = 1 } bm_direction;

#define BM_MAX_RANK 8

/* A dense, row-major tensor in the caller's memory. */
typedef struct bm_tensor {
  bm_dtype dtype;
  int32_t rank;
  int64_t shape[BM_MAX_RANK];
  void* data;
  size_t bytes; /* Of `data`: what is in it for an input, what fits for an output. */
} bm_tensor;

/* What a bundle says of an input or output. Strings live until the runner is closed. */
typedef struct bm_tensor_info {
  const char* name;
  bm_dtype dtype;
  int32_t rank;
  int64_t shape[BM_MAX_RANK]; /* -1 where the size is free. */
} bm_tensor_info;

typedef struct bm_options {
  int32_t abi_version; /* BM_ABI_VERSION. */
  int32_t threads;     /* Of the engine; 0 for one per core. */
  const char* model;   /* Name of a model in the bundle; NULL for the first that runs here. */
  const char* library; /* Path of the engine's runtime library; NULL for the bundle's, else the
                          system's. */
} bm_options;

typedef struct bm_runner bm_runner;

/* Open the bundle folder at `path`. `options` may be NULL.
 * BM_HOST where no model in it runs here: the message says what is needed. */
BM_API bm_status bm_open(const char* path, const bm_options* options, bm_runner** runner);

/* How many inputs or outputs there are. */
BM_API size_t bm_io_count(const bm_runner* runner, bm_direction direction);

/* Describe one of them. */
BM_API bm_status bm_io_info(const bm_runner* runner, bm_direction direction, size_t index,
                            bm_tensor_info* info);

/* Run one inference, synchronously. Tensors are in the order of `bm_io_info`. The caller sets
 * `data` and `bytes` of every output; `rank`, `shape` and `dtype` are filled in. Where an output
 * does not fit, the status is BM_BAD_INPUT and its shape tells what is needed. */
BM_API bm_status bm_run(bm_runner* runner, const bm_tensor* inputs, size_t input_count,
                        bm_tensor* outputs, size_t output_count);

/* Name of the model that was opened, its target ("ort-int8:x86-vnni") and engine with version. */
BM_API const char* bm_model_name(const bm_runner* runner);
BM_API const char* bm_model_target(const bm_runner* runner);
BM_API const char* bm_engine_version(const bm_runner* runner);

/* What went wrong in this thread's last call that failed, in one line. */
BM_API const char* bm_last_error(void);

/* Close a runner; NULL does nothing. */
BM_API void bm_close(bm_runner* runner);

/* Bytes of one element; 0 for a number that is no bm_dtype. */
BM_API size_t bm_dtype_bytes(bm_dtype dtype);

#ifdef __cplusplus
}
#endif
#endif
