// What an SDK's logger says, kept instead of printed.
#pragma once

#include <string>

namespace bm::trt {

// Take an error of the SDK's. The calling thread's first one is kept: those that follow tell where
// it was caught.
void log_error(const char* message) noexcept;

void forget_errors() noexcept;

// " (cause)" in one line, or "".
std::string because();

// Whether that cause is missing memory of the GPU.
bool is_out_of_memory();

}  // namespace bm::trt
