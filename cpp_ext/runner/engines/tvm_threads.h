#pragma once

#include "tvm_value.h"

namespace bm::tvm {

// Have TVM use `count` threads where the calling thread runs a model, 0 for one per core. They
// share the processors that the calling thread may use, and leave that as it is. Throws Failure.
void use_threads(const Library& library, int count);

}  // namespace bm::tvm
