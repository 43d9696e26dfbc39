#pragma once

#include "fields.h"
#include "manifest.h"

namespace bm {

// Parts of a manifest, read and checked. Each throws Failure (BM_BAD_INPUT).
ModelSpec read_model(const Fields& fields);
PreprocessSpec read_preprocess(const Fields& fields);

}  // namespace bm
