#pragma once

#include <string>

#include "bmopt_runner.h"
#include "bundle.h"
#include "options.h"

namespace bm {

// A runner that closes itself.
class OpenRunner {
 public:
  // Throws Failure with bm_open's status.
  OpenRunner(const std::string& folder, const ToolOptions& options);
  ~OpenRunner() { bm_close(runner_); }
  OpenRunner(const OpenRunner&) = delete;
  OpenRunner& operator=(const OpenRunner&) = delete;

  bm_runner* get() const { return runner_; }
  std::string engine_version() const { return bm_engine_version(runner_); }

  // What the manifest says of the model that was opened.
  const ModelSpec& model(const Bundle& bundle) const;

 private:
  bm_runner* runner_ = nullptr;
};

}  // namespace bm
