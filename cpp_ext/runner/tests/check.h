#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "failure.h"

// A test program without dependencies: TEST(name) { CHECK(...); }
namespace bm::test {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

struct Registration {
  Registration(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

inline void expect(bool is_true, const char* what, const char* file, int line) {
  if (is_true) return;
  std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
  std::exit(1);
}

// Whether the action throws a Failure of this status whose message has `part`.
template <typename Action>
bool fails(bm_status status, const std::string& part, Action action) {
  try {
    action();
  } catch (const Failure& failure) {
    if (failure.status == status && failure.message.find(part) != std::string::npos) return true;
    std::fprintf(stderr, "status %d: %s\n", failure.status, failure.message.c_str());
    return false;
  }
  std::fprintf(stderr, "nothing failed\n");
  return false;
}

}  // namespace bm::test

#define TEST(name)                                                         \
  static void test_##name();                                               \
  static const bm::test::Registration register_##name(#name, test_##name); \
  static void test_##name()
#define CHECK(condition) bm::test::expect((condition), #condition, __FILE__, __LINE__)
#define CHECK_FAILS(status, part, expression) \
  CHECK(bm::test::fails(status, part, [&] { (void)(expression); }))
