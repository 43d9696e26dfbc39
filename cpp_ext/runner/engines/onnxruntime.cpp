// ONNX Runtime as an engine of the runner.

#include "onnxruntime_session.h"
#include "plugin.h"

extern "C" BM_API const bm_engine_table* bm_engine(void) {
  static constexpr bm_engine_table kTable = bm::Plugin<bm::ort::Session>::table("onnxruntime");
  return &kTable;
}
