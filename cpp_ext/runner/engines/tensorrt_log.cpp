#include "tensorrt_log.h"

#include <algorithm>
#include <cctype>
#include <cstddef>

namespace bm::trt {
namespace {

constexpr std::size_t kLongest = 300;

// A plain array: TensorRT may still log while a thread ends, after its strings are gone.
thread_local char first_error[kLongest + 1] = {};

}  // namespace

void log_error(const char* message) noexcept {
  if (first_error[0] != '\0') {
    return;
  }
  std::size_t used = 0;
  for (; *message != '\0' && used < kLongest; ++message) {
    const bool is_space = std::isspace(static_cast<unsigned char>(*message)) != 0;
    if (!is_space) {
      first_error[used++] = *message;
    } else if (used != 0 && first_error[used - 1] != ' ') {
      first_error[used++] = ' ';
    }
  }
  first_error[used] = '\0';
}

void forget_errors() noexcept {
  first_error[0] = '\0';
}

std::string because() {
  return first_error[0] == '\0' ? "" : " (" + std::string(first_error) + ")";
}

bool is_out_of_memory() {
  std::string said;
  for (const char* letter = first_error; *letter != '\0'; ++letter) {
    if (*letter != ' ') {
      said += static_cast<char>(std::tolower(static_cast<unsigned char>(*letter)));
    }
  }
  const char* const signs[] = {"outofmemory", "couldnotbeallocated", "memoryallocation"};
  return std::any_of(std::begin(signs), std::end(signs),
                     [&said](const char* sign) { return said.find(sign) != std::string::npos; });
}

}  // namespace bm::trt
