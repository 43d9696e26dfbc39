/* Runs the bundle once: build/infer BUNDLE [INPUT.raw]...
 *
 * Each file has the bytes of one input, row-major, as `numpy.ndarray.tofile` writes them; inputs
 * without a file are zeros. Axes of free size are 1 here. Prints the first values of each output.
 */
#include <bmopt_runner.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 32, SHOWN = 10 };

static int fail(const char* what) {
  fprintf(stderr, "infer: %s\n", what);
  return 1;
}

static size_t bytes_of(const bm_tensor* tensor) {
  size_t bytes = bm_dtype_bytes(tensor->dtype);
  for (int32_t axis = 0; axis < tensor->rank; ++axis) bytes *= (size_t)tensor->shape[axis];
  return bytes;
}

/* Allocate the input or output `index`, filled with zeros. */
static int make(const bm_runner* runner, bm_direction direction, size_t index, bm_tensor* tensor) {
  bm_tensor_info info;
  if (bm_io_info(runner, direction, index, &info) != BM_OK) return 0;
  memset(tensor, 0, sizeof *tensor);
  tensor->dtype = info.dtype;
  tensor->rank = info.rank;
  for (int32_t axis = 0; axis < info.rank; ++axis) {
    tensor->shape[axis] = info.shape[axis] < 0 ? 1 : info.shape[axis];
  }
  tensor->bytes = bytes_of(tensor);
  tensor->data = calloc(tensor->bytes ? tensor->bytes : 1, 1);
  return tensor->data != NULL;
}

static int read_raw(const char* path, bm_tensor* tensor) {
  FILE* file = fopen(path, "rb");
  size_t got = file ? fread(tensor->data, 1, tensor->bytes, file) : 0;
  if (file) fclose(file);
  return got == tensor->bytes;
}

static void show(const bm_tensor_info* info, const bm_tensor* tensor) {
  size_t count = bytes_of(tensor) / bm_dtype_bytes(tensor->dtype);
  printf("%s:", info->name);
  for (size_t i = 0; i < count && i < SHOWN; ++i) {
    if (tensor->dtype == BM_FLOAT32) {
      printf(" %g", (double)((const float*)tensor->data)[i]);
    } else if (tensor->dtype == BM_INT64) {
      printf(" %lld", (long long)((const int64_t*)tensor->data)[i]);
    } else {
      printf(" %u", ((const unsigned char*)tensor->data)[i]);
    }
  }
  printf("\n");
}

/* Run once; outputs of a size that was not known are allocated again as large as they have to be.
 */
static bm_status run(bm_runner* runner, const bm_tensor* inputs, size_t ins, bm_tensor* outputs,
                     size_t outs) {
  bm_status status = bm_run(runner, inputs, ins, outputs, outs);
  if (status != BM_BAD_INPUT) return status;
  for (size_t i = 0; i < outs; ++i) {
    size_t wanted = bytes_of(&outputs[i]);
    if (wanted <= outputs[i].bytes) continue;
    void* larger = realloc(outputs[i].data, wanted);
    if (!larger) return BM_INTERNAL;
    outputs[i].data = larger;
    outputs[i].bytes = wanted;
  }
  return bm_run(runner, inputs, ins, outputs, outs);
}

int main(int argc, char** argv) {
  bm_tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS];
  bm_runner* runner = NULL;
  if (argc < 2) return fail("usage: infer BUNDLE [INPUT.raw]...");
  bm_status status = bm_open(argv[1], NULL, &runner);
  if (status != BM_OK) return fail(bm_last_error()), (int)status;
  size_t ins = bm_io_count(runner, BM_INPUT), outs = bm_io_count(runner, BM_OUTPUT);
  if (ins > MAX_TENSORS || outs > MAX_TENSORS) return fail("too many inputs or outputs");
  for (size_t i = 0; i < ins; ++i) {
    if (!make(runner, BM_INPUT, i, &inputs[i])) return fail("out of memory");
    if (argc > (int)i + 2 && !read_raw(argv[i + 2], &inputs[i])) return fail("input is too short");
  }
  for (size_t i = 0; i < outs; ++i) {
    if (!make(runner, BM_OUTPUT, i, &outputs[i])) return fail("out of memory");
  }
  status = run(runner, inputs, ins, outputs, outs);
  if (status != BM_OK) return fail(bm_last_error()), (int)status;
  for (size_t i = 0; i < outs; ++i) {
    bm_tensor_info info;
    if (bm_io_info(runner, BM_OUTPUT, i, &info) == BM_OK) show(&info, &outputs[i]);
  }
  for (size_t i = 0; i < ins; ++i) free(inputs[i].data);
  for (size_t i = 0; i < outs; ++i) free(outputs[i].data);
  bm_close(runner);
  return 0;
}
