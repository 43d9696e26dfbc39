// The plugin's one symbol. No exception leaves it.
#include "plugin.h"
#include "tensorrt_session.h"

namespace bm::trt {

// The build lists what it compiled tensorrt_adapter.cpp as: SDK(name) SDK(name).
#define SDK(name) extern const Sdk name;
BM_SDKS
#undef SDK

const std::vector<const Sdk*>& compiled_sdks() {
#define SDK(name) &name,
  static const std::vector<const Sdk*> all = {BM_SDKS};
#undef SDK
  return all;
}

}  // namespace bm::trt

extern "C" const bm_engine_table* bm_engine(void) {
  static constexpr bm_engine_table kTable =
      bm::Plugin<bm::trt::Session>::table(bm::trt::is_rtx_plugin() ? "tensorrt_rtx" : "tensorrt");
  return &kTable;
}
