/* abi_test BUNDLE LIBRARY: uses every function of the header on the bundle that test_abi.py makes.
 *
 * Its model "affine" computes y[N, 3] = 2 * x[N, 3] + 1, "found" gives the rows where x[N] != 0 as
 * an output whose shape depends on values, "types" negates i8[2], adds 1 to i64[2], halves f16[2]
 * and turns b[2] around.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bmopt_runner.h"

#define CHECK(condition)                                                                       \
  do {                                                                                         \
    if (!(condition)) {                                                                        \
      fprintf(stderr, "line %d: %s; last error: %s\n", __LINE__, #condition, bm_last_error()); \
      exit(1);                                                                                 \
    }                                                                                          \
  } while (0)
#define CHECK_SAYS(part) CHECK(strstr(bm_last_error(), part) != NULL)

static const char* bundle;
static const char* library;

static bm_runner* open_model(const char* name) {
  bm_options options = {BM_ABI_VERSION, 1, NULL, NULL};
  bm_runner* runner = NULL;
  options.model = name;
  options.library = library;
  CHECK(bm_open(bundle, &options, &runner) == BM_OK);
  CHECK(strcmp(bm_model_name(runner), name) == 0);
  return runner;
}

static bm_tensor tensor(bm_dtype dtype, void* data, size_t bytes, int32_t rank, int64_t rows,
                        int64_t columns) {
  bm_tensor made;
  memset(&made, 0, sizeof made);
  made.dtype = dtype;
  made.rank = rank;
  made.shape[0] = rows;
  made.shape[1] = columns;
  made.data = data;
  made.bytes = bytes;
  return made;
}

static void check_description(void) {
  bm_runner* runner = open_model("affine");
  bm_tensor_info info;
  CHECK(bm_io_count(runner, BM_INPUT) == 1 && bm_io_count(runner, BM_OUTPUT) == 1);
  CHECK(bm_io_info(runner, BM_INPUT, 0, &info) == BM_OK);
  CHECK(strcmp(info.name, "x") == 0 && info.dtype == BM_FLOAT32 && info.rank == 2);
  CHECK(info.shape[0] == -1 && info.shape[1] == 3);
  CHECK(bm_io_info(runner, BM_OUTPUT, 1, &info) == BM_BAD_INPUT);
  CHECK(strcmp(bm_model_target(runner), "ort-fp32") == 0);
  CHECK(strncmp(bm_engine_version(runner), "onnxruntime 1.", 14) == 0);
  bm_close(runner);
}

static void run_affine(bm_runner* runner, float* x, float* y, int64_t rows) {
  bm_tensor in = tensor(BM_FLOAT32, x, (size_t)rows * 12, 2, rows, 3);
  bm_tensor out = tensor(BM_FLOAT32, y, (size_t)rows * 12, 0, 0, 0);
  int64_t i;
  for (i = 0; i < rows * 3; ++i) x[i] = (float)(i + rows);
  memset(y, 0x55, (size_t)rows * 12);
  CHECK(bm_run(runner, &in, 1, &out, 1) == BM_OK);
  CHECK(out.rank == 2 && out.shape[0] == rows && out.shape[1] == 3 && out.dtype == BM_FLOAT32);
  for (i = 0; i < rows * 3; ++i) CHECK(y[i] == 2 * x[i] + 1);
}

static void check_shapes_and_memory_may_change(void) {
  bm_runner* runner = open_model("affine");
  float x[2][30], y[2][30];
  int turn;
  for (turn = 0; turn < 24; ++turn)
    run_affine(runner, x[turn / 2 % 2], y[turn / 3 % 2], 1 + turn / 4 % 3);
  bm_close(runner);
}

static void check_small_output(void) {
  bm_runner* runner = open_model("affine");
  float x[6] = {0}, y[6];
  bm_tensor in = tensor(BM_FLOAT32, x, 24, 2, 2, 3);
  int turn;
  for (turn = 0; turn < 3; ++turn) {
    bm_tensor out = tensor(BM_FLOAT32, y, 23, 0, 0, 0);
    CHECK(bm_run(runner, &in, 1, &out, 1) == BM_BAD_INPUT);
    CHECK(out.rank == 2 && out.shape[0] == 2 && out.shape[1] == 3);
    CHECK_SAYS("output y");
    out.data = NULL;
    CHECK(bm_run(runner, &in, 1, &out, 1) == BM_BAD_INPUT);
    out.data = y;
    out.bytes = 24;
    CHECK(bm_run(runner, &in, 1, &out, 1) == BM_OK && y[5] == 1);
  }
  bm_close(runner);
}

static void refuse(bm_runner* runner, bm_tensor in, const char* part) {
  float y[6];
  bm_tensor out = tensor(BM_FLOAT32, y, sizeof y, 0, 0, 0);
  CHECK(bm_run(runner, &in, 1, &out, 1) == BM_BAD_INPUT);
  CHECK_SAYS(part);
  CHECK(strchr(bm_last_error(), '\n') == NULL);
}

static void check_bad_inputs(void) {
  bm_runner* runner = open_model("affine");
  float x[6] = {0};
  bm_tensor out = tensor(BM_FLOAT32, x, sizeof x, 0, 0, 0);
  bm_tensor in = tensor(BM_FLOAT32, x, 24, 2, 2, 3);
  refuse(runner, tensor(BM_INT32, x, 24, 2, 2, 3), "dtype is int32, the model wants float32");
  refuse(runner, tensor((bm_dtype)99, x, 24, 2, 2, 3), "dtype is ?");
  refuse(runner, tensor(BM_FLOAT32, x, 24, 1, 6, 0), "shape is [6], the model wants [-1, 3]");
  refuse(runner, tensor(BM_FLOAT32, x, 24, 2, 3, 2), "shape is [3, 2]");
  refuse(runner, tensor(BM_FLOAT32, x, 24, 2, -1, 3), "shape is [-1, 3]");
  refuse(runner, tensor(BM_FLOAT32, x, 24, 1000, 2, 3), "1000 axes");
  refuse(runner, tensor(BM_FLOAT32, x, 23, 2, 2, 3), "23 bytes, its shape needs 24");
  refuse(runner, tensor(BM_FLOAT32, NULL, 24, 2, 2, 3), "no data");
  refuse(runner, tensor(BM_FLOAT32, x, 24, 2, INT64_MAX, 3), "too large");
  CHECK(bm_run(runner, &in, 2, &out, 1) == BM_BAD_INPUT);
  CHECK_SAYS("2 inputs given, the model has 1");
  CHECK(bm_run(runner, &in, 1, &out, 0) == BM_BAD_INPUT);
  CHECK(bm_run(runner, NULL, 1, &out, 1) == BM_BAD_INPUT);
  CHECK(bm_run(NULL, &in, 1, &out, 1) == BM_BAD_INPUT);
  CHECK(bm_run(runner, &in, 1, &out, 1) == BM_OK); /* Refusals leave no trace. */
  bm_close(runner);
}

static void check_empty_batch(void) {
  bm_runner* runner = open_model("affine");
  bm_tensor in = tensor(BM_FLOAT32, NULL, 0, 2, 0, 3);
  bm_tensor out = tensor(BM_FLOAT32, NULL, 0, 0, 0, 0);
  CHECK(bm_run(runner, &in, 1, &out, 1) == BM_OK);
  CHECK(out.rank == 2 && out.shape[0] == 0);
  CHECK(bm_run(runner, &in, 1, &out, 1) == BM_OK);
  bm_close(runner);
}

static void check_shapes_of_values(void) {
  bm_runner* runner = open_model("found");
  float x[4] = {0};
  int64_t found[4];
  int turn;
  for (turn = 0; turn < 12; ++turn) {
    bm_tensor in = tensor(BM_FLOAT32, x, sizeof x, 1, 4, 0);
    bm_tensor out = tensor(BM_INT64, found, sizeof found, 0, 0, 0);
    int count = turn * 7 % 5, i;
    for (i = 0; i < 4; ++i) x[i] = i >= 4 - count ? 1.0f : 0.0f;
    CHECK(bm_run(runner, &in, 1, &out, 1) == BM_OK);
    CHECK(out.rank == 2 && out.shape[0] == 1 && out.shape[1] == count);
    for (i = 0; i < count; ++i) CHECK(found[i] == 4 - count + i);
  }
  bm_close(runner);
}

static void check_dtypes(void) {
  bm_runner* runner = open_model("types");
  int8_t i8[2] = {5, -7}, i8_out[2];
  int64_t i64[2] = {1, INT64_C(1) << 40}, i64_out[2];
  uint16_t f16[2] = {0x4000, 0xc400}, f16_out[2];
  unsigned char b[2] = {0, 1}, b_out[2];
  bm_tensor in[4], out[4];
  in[0] = tensor(BM_INT8, i8, 2, 1, 2, 0);
  in[1] = tensor(BM_INT64, i64, 16, 1, 2, 0);
  in[2] = tensor(BM_FLOAT16, f16, 4, 1, 2, 0);
  in[3] = tensor(BM_BOOL, b, 2, 1, 2, 0);
  out[0] = tensor(BM_INT8, i8_out, 2, 0, 0, 0);
  out[1] = tensor(BM_INT64, i64_out, 16, 0, 0, 0);
  out[2] = tensor(BM_FLOAT16, f16_out, 4, 0, 0, 0);
  out[3] = tensor(BM_BOOL, b_out, 2, 0, 0, 0);
  CHECK(bm_run(runner, in, 4, out, 4) == BM_OK);
  CHECK(i8_out[0] == -5 && i8_out[1] == 7);
  CHECK(i64_out[0] == 2 && i64_out[1] == (INT64_C(1) << 40) + 1);
  CHECK(f16_out[0] == 0x3c00 && f16_out[1] == 0xc000);
  CHECK(b_out[0] == 1 && b_out[1] == 0);
  CHECK(out[2].dtype == BM_FLOAT16 && out[3].dtype == BM_BOOL);
  bm_close(runner);
}

static void check_bad_openings(void) {
  bm_options options = {BM_ABI_VERSION, 1, NULL, NULL};
  bm_runner* runner = (bm_runner*)&options;
  CHECK(bm_open("no/such/folder", NULL, &runner) == BM_BAD_INPUT && runner == NULL);
  CHECK_SAYS("no/such/folder");
  CHECK(bm_open(NULL, NULL, &runner) == BM_BAD_INPUT);
  CHECK(bm_open(bundle, NULL, NULL) == BM_BAD_INPUT);
  options.model = "nobody";
  CHECK(bm_open(bundle, &options, &runner) == BM_BAD_INPUT);
  CHECK_SAYS("has no model nobody; it has affine, found, types");
  options.abi_version = 7;
  CHECK(bm_open(bundle, &options, &runner) == BM_BAD_INPUT);
  CHECK_SAYS("abi_version is 7");
  options.abi_version = BM_ABI_VERSION;
  options.threads = -1;
  CHECK(bm_open(bundle, &options, &runner) == BM_BAD_INPUT);
  options.threads = 1;
  options.model = "affine";
  options.library = "/no/such/libonnxruntime.so";
  CHECK(bm_open(bundle, &options, &runner) == BM_HOST);
  CHECK_SAYS("/no/such/libonnxruntime.so");
  CHECK_SAYS("needs onnxruntime 1.16 or newer");
  bm_close(NULL);
}

int main(int count, char** values) {
  CHECK(count == 3);
  bundle = values[1];
  library = values[2];
  CHECK(bm_dtype_bytes(BM_FLOAT16) == 2 && bm_dtype_bytes((bm_dtype)8) == 0 &&
        bm_dtype_bytes((bm_dtype)99) == 0);
  check_description();
  check_shapes_and_memory_may_change();
  check_small_output();
  check_bad_inputs();
  check_empty_batch();
  check_shapes_of_values();
  check_dtypes();
  check_bad_openings();
  return 0;
}
