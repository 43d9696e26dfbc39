// runner_overhead BUNDLE MODEL LIBRARY SECONDS: what bm_run costs over ONNX Runtime's own Run on
// the same memory. Both in turns of 2 ms, as nanoseconds per call of each turn, one a line:
// "direct NS" or "runner NS".
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "bmopt_runner.h"
#include "dtype.h"
#include "engines/onnxruntime_library.h"
#include "failure.h"
#include "npy.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kTurn{2};

double now_ns() {
  return std::chrono::duration<double, std::nano>(Clock::now().time_since_epoch()).count();
}

// An array that fits what the bundle says; free axes are 1.
bm::Array array_for(const bm_runner* runner, bm_direction direction) {
  bm_tensor_info info;
  if (bm_io_count(runner, direction) != 1) bm::bad_input("the model has more than one tensor");
  bm_io_info(runner, direction, 0, &info);
  std::vector<std::int64_t> shape(info.shape, info.shape + info.rank);
  for (std::int64_t& extent : shape) extent = extent < 0 ? 1 : extent;
  return bm::make_array(info.dtype, shape);
}

// ONNX Runtime called without anything between.
class Direct {
 public:
  Direct(const char* model, const char* library, bm_tensor in, bm_tensor out)
      : library_(bm::ort::load_library(library)) {
    const OrtApi& api = *library_.api;
    OrtSessionOptions* options = nullptr;
    check(api.CreateEnv(ORT_LOGGING_LEVEL_FATAL, "overhead", &env_));
    check(api.CreateSessionOptions(&options));
    check(api.SetIntraOpNumThreads(options, 1));
    check(api.CreateSession(env_, model, options, &session_));
    check(api.CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory_));
    input_ = value(in);
    output_ = value(out);
    api.ReleaseSessionOptions(options);
  }

  void run(const char* input, const char* output) {
    check(library_.api->Run(session_, nullptr, &input, &input_, 1, &output, 1, &output_));
  }

 private:
  void check(OrtStatus* status) const { library_.check(status, BM_INTERNAL, "direct"); }

  OrtValue* value(const bm_tensor& tensor) {
    OrtValue* made = nullptr;
    check(library_.api->CreateTensorWithDataAsOrtValue(
        memory_, tensor.data, tensor.bytes, tensor.shape, static_cast<std::size_t>(tensor.rank),
        static_cast<ONNXTensorElementDataType>(tensor.dtype), &made));
    return made;
  }

  bm::ort::Library library_;
  OrtEnv* env_ = nullptr;
  OrtSession* session_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  const OrtValue* input_ = nullptr;
  OrtValue* output_ = nullptr;
};

template <typename Call>
void turn(const char* name, Call call) {
  const auto end = Clock::now() + kTurn;
  const double begin = now_ns();
  std::size_t calls = 0;
  do {
    for (int i = 0; i < 16; ++i) call();
    calls += 16;
  } while (Clock::now() < end);
  std::printf("%s %.2f\n", name, (now_ns() - begin) / static_cast<double>(calls));
}

void measure(char** values) {
  const bm_options options = {BM_ABI_VERSION, 1, nullptr, values[3]};
  bm_runner* runner = nullptr;
  if (bm_open(values[1], &options, &runner) != BM_OK) bm::fail(BM_HOST, bm_last_error());
  bm::Array in = array_for(runner, BM_INPUT);
  bm::Array out = array_for(runner, BM_OUTPUT);
  bm_tensor input = in.tensor();
  bm_tensor output = out.tensor();
  bm_tensor_info names[2];
  bm_io_info(runner, BM_INPUT, 0, &names[0]);
  bm_io_info(runner, BM_OUTPUT, 0, &names[1]);
  Direct direct(values[2], values[3], input, output);
  const auto end = Clock::now() + std::chrono::seconds(std::atoi(values[4]));
  while (Clock::now() < end) {
    turn("direct", [&] { direct.run(names[0].name, names[1].name); });
    turn("runner", [&] { bm_run(runner, &input, 1, &output, 1); });
  }
  bm_close(runner);
}

}  // namespace

int main(int count, char** values) {
  try {
    if (count != 5) bm::bad_input("runner_overhead BUNDLE MODEL LIBRARY SECONDS");
    measure(values);
    return 0;
  } catch (const bm::Failure& failure) {
    std::fprintf(stderr, "%s\n", failure.message.c_str());
    return failure.status;
  }
}
