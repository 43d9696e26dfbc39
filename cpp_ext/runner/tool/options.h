#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bm {

enum class Mode { kRun, kVerify, kBench, kHelp, kVersion };

struct ToolOptions {
  Mode mode = Mode::kRun;
  std::string bundle;
  std::vector<std::string> inputs;
  std::string output;
  std::string model;
  std::string library;
  std::string key;
  std::size_t top = 5;
  std::int32_t threads = 0;
  double seconds = 0;
  bool is_json = false;
  std::string command;  // As it was given, quoted for a shell.
};

// Read the command line. Throws Failure (BM_BAD_INPUT) at what it does not know.
ToolOptions parse_options(const std::vector<std::string>& arguments);

const char* help_text();

}  // namespace bm
