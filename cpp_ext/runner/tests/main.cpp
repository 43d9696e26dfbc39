#include "check.h"

// Run all cases; a failure ends the program with status 1.
int main() {
  for (const bm::test::Case& one : bm::test::cases()) {
    std::printf("%s\n", one.name);
    std::fflush(stdout);
    one.run();
  }
  std::printf("%zu cases passed\n", bm::test::cases().size());
  return 0;
}
