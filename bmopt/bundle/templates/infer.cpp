// The same in C++17: build/infer_cpp BUNDLE. Inputs are zeros; free axes have the size 1.
#include <bmopt_runner.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

namespace {

struct Close {
  void operator()(bm_runner* runner) const { bm_close(runner); }
};
using Runner = std::unique_ptr<bm_runner, Close>;

void check(bm_status status) {
  if (status != BM_OK) throw std::runtime_error(bm_last_error());
}

Runner open(const char* bundle) {
  bm_runner* runner = nullptr;
  check(bm_open(bundle, nullptr, &runner));
  return Runner(runner);
}

// One input or output with memory of its own.
struct Tensor {
  bm_tensor view{};
  std::vector<unsigned char> memory;

  explicit Tensor(const bm_tensor_info& info) {
    view.dtype = info.dtype;
    view.rank = info.rank;
    std::transform(info.shape, info.shape + info.rank, view.shape,
                   [](int64_t size) { return size < 0 ? 1 : size; });
    resize();
  }

  std::size_t count() const {
    std::size_t count = 1;
    for (int32_t axis = 0; axis < view.rank; ++axis) {
      count *= static_cast<std::size_t>(view.shape[axis]);
    }
    return count;
  }

  void resize() {
    memory.resize(std::max<std::size_t>(count() * bm_dtype_bytes(view.dtype), 1));
    view.data = memory.data();
    view.bytes = memory.size();
  }
};

std::vector<Tensor> tensors(const Runner& runner, bm_direction direction) {
  std::vector<Tensor> found;
  for (std::size_t i = 0; i < bm_io_count(runner.get(), direction); ++i) {
    bm_tensor_info info;
    check(bm_io_info(runner.get(), direction, i, &info));
    found.emplace_back(info);
  }
  return found;
}

std::vector<bm_tensor> views(const std::vector<Tensor>& tensors) {
  std::vector<bm_tensor> found;
  for (const Tensor& tensor : tensors) found.push_back(tensor.view);
  return found;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) throw std::runtime_error("usage: infer_cpp BUNDLE");
  const Runner runner = open(argv[1]);
  const std::vector<Tensor> inputs = tensors(runner, BM_INPUT);
  const std::vector<Tensor> outputs = tensors(runner, BM_OUTPUT);
  const std::vector<bm_tensor> in = views(inputs);
  std::vector<bm_tensor> out = views(outputs);
  check(bm_run(runner.get(), in.data(), in.size(), out.data(), out.size()));
  std::printf("%s on %s\n", bm_model_target(runner.get()), bm_engine_version(runner.get()));
  for (const bm_tensor& tensor : out) {
    if (tensor.dtype != BM_FLOAT32) continue;
    std::printf("first value: %g\n", static_cast<double>(*static_cast<float*>(tensor.data)));
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "infer_cpp: %s\n", error.what());
  return 1;
}
