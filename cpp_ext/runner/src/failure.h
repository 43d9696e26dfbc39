#pragma once

#include <string>
#include <utility>

#include "bmopt_runner.h"

namespace bm {

// What goes wrong inside; the C functions and main() turn it into a status and one line.
struct Failure {
  bm_status status;
  std::string message;
};

[[noreturn]] inline void fail(bm_status status, std::string message) {
  throw Failure{status, std::move(message)};
}

[[noreturn]] inline void bad_input(std::string message) {
  fail(BM_BAD_INPUT, std::move(message));
}

}  // namespace bm
