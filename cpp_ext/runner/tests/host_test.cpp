#include "host.h"

#include "check.h"
#include "files.h"
#include "sha256.h"

TEST(versions) {
  CHECK(bm::is_older_version("1.9", "1.23.2"));
  CHECK(!bm::is_older_version("1.23.2", "1.9"));
  CHECK(!bm::is_older_version("1.23", "1.23.0"));
  CHECK(!bm::is_older_version("1.23.0+cu12", "1.23"));
  CHECK(bm::is_older_version("1.22.9rc1", "1.23"));
  CHECK(bm::is_older_version("", "1"));
  CHECK(!bm::is_older_version("10.0", "9.9"));
}

TEST(cpu_features) {
  CHECK(!bm::has_cpu_feature("telepathy"));
  CHECK(!bm::has_cpu_feature(""));
  const std::vector<std::string> missing =
      bm::missing_cpu_features({{"telepathy"}, {"telepathy", "avx9"}});
  CHECK(missing.size() == 2);
  CHECK(missing[1] == "telepathy or avx9");
#if defined(__aarch64__)
  CHECK(bm::missing_cpu_features({{"asimd"}, {"avx2", "asimd"}}).empty());
#endif
}

// The names that /proc/cpuinfo has are those of CPUID: pytest compares them on x86-64.
TEST(cpu_features_listed) {
  for (const char* name : {"sse4_1", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni",
                           "amx_int8", "asimd", "asimddp", "i8mm", "sve"})
    std::printf("cpu %s %d\n", name, bm::has_cpu_feature(name) ? 1 : 0);
}

TEST(sha256) {
  CHECK(bm::sha256_hex("", 0) ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(bm::sha256_hex("abc", 3) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string million(1000000, 'a');
  CHECK(bm::sha256_hex(million.data(), million.size()) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(sha256_in_pieces) {
  const std::string text(300, 'x');
  for (std::size_t first = 0; first <= text.size(); ++first) {
    bm::Sha256 sum;
    sum.update(text.data(), first);
    sum.update(text.data() + first, text.size() - first);
    CHECK(bm::hex(sum.digest()) == bm::sha256_hex(text.data(), text.size()));
  }
}

TEST(paths) {
  for (const char* path : {"a", "a/b.c", "models/x-1/model.onnx", "..a", "a..", "\xc3\xa4"})
    CHECK(bm::path_fault(path).empty());
  for (const char* path : {"", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\\b", "../a"})
    CHECK(!bm::path_fault(path).empty());
  CHECK(!bm::path_fault(std::string("a\0b", 3)).empty());
  CHECK(bm::path_fault(std::string(255, 'a')).empty());
  CHECK(!bm::path_fault(std::string(256, 'a')).empty());
  std::string deep = "a";
  while (deep.size() < 1024) deep += "/a";
  CHECK(!bm::path_fault(deep).empty());
}
