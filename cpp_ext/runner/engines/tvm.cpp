// TVM as an engine of the runner.

#include "plugin.h"
#include "tvm_session.h"

extern "C" BM_API const bm_engine_table* bm_engine(void) {
  static constexpr bm_engine_table kTable = bm::Plugin<bm::tvm::Session>::table("tvm");
  return &kTable;
}
