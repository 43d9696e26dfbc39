#include <cstdio>
#include <exception>
#include <string>

#include "failure.h"
#include "modes.h"
#include "options.h"

namespace bm {
namespace {

int complain(bm_status status, std::string message) {
  for (char& letter : message) {
    if (static_cast<unsigned char>(letter) < 0x20) {
      letter = ' ';
    }
  }
  std::fprintf(stderr, "bmopt-run: error: %s\n", message.c_str());
  return status;
}

void run_mode(const ToolOptions& options) {
  switch (options.mode) {
    case Mode::kRun:
      return run_inferences(options);
    case Mode::kVerify:
      return verify_bundle(options);
    case Mode::kBench:
      return bench_bundle(options);
    case Mode::kHelp:
      std::fputs(help_text(), stdout);
      return;
    case Mode::kVersion:
      std::puts("bmopt-run " BMOPT_VERSION);
      return;
  }
}

int run_tool(const std::vector<std::string>& arguments) {
  int status = BM_OK;
  try {
    run_mode(parse_options(arguments));
  } catch (const Failure& failure) {
    status = complain(failure.status, failure.message);
  } catch (const std::exception& error) {
    status = complain(BM_INTERNAL, error.what());
  }
  if (std::fflush(stdout) != 0 && status == BM_OK) {
    status = complain(BM_BAD_INPUT, "standard output cannot be written");
  }
  return status;
}

}  // namespace
}  // namespace bm

int main(int count, char** arguments) {
  return bm::run_tool({arguments + (count > 0 ? 1 : 0), arguments + count});
}
