// From an engine file to an execution context, and every reason why there is none.
#pragma once

#include <memory>

#include "bmopt_engine.h"
#include "cuda.h"
#include "tensorrt_file.h"
#include "tensorrt_library.h"
#include "tensorrt_sdk.h"

namespace bm::trt {

// Throws Failure (BM_BAD_INPUT) where the file is of the other SDK, or cut short.
void check_file(const EngineFile& file);

// The library that the configuration names, else the first that loads.
// Throws Failure (BM_HOST) where none does.
EngineLibrary open_library(const bm_session_config& config, const EngineFile& file);

// Throws Failure (BM_HOST) where this plugin was not compiled for the library's version.
const Sdk& sdk_of(const EngineLibrary& library);

// Throws Failure (BM_BAD_INPUT) at a setting that is unknown or has no such value.
EngineSettings read_settings(const bm_session_config& config);

// Throws Failure (BM_HOST) where this host cannot run the engine.
std::unique_ptr<Engine> open_engine(const EngineFile& file, const EngineLibrary& library,
                                    const EngineSettings& settings, const Cuda& cuda);

}  // namespace bm::trt
