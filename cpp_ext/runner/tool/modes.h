#pragma once

#include "options.h"

namespace bm {

// What the tool does; each prints its result and throws Failure where it did not succeed.
void run_inferences(const ToolOptions& options);
void verify_bundle(const ToolOptions& options);
void bench_bundle(const ToolOptions& options);

}  // namespace bm
