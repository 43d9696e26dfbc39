#include "open_runner.h"

#include "failure.h"

namespace bm {

OpenRunner::OpenRunner(const std::string& folder, const ToolOptions& options) {
  bm_options settings{};
  settings.abi_version = BM_ABI_VERSION;
  settings.threads = options.threads;
  settings.model = options.model.empty() ? nullptr : options.model.c_str();
  settings.library = options.library.empty() ? nullptr : options.library.c_str();
  const bm_status status = bm_open(folder.c_str(), &settings, &runner_);
  if (status != BM_OK) {
    fail(status, bm_last_error());
  }
}

const ModelSpec& OpenRunner::model(const Bundle& bundle) const {
  return model_named(bundle, bm_model_name(runner_));
}

}  // namespace bm
