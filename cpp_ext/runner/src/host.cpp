#include "host.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

namespace bm {
namespace {

#if defined(__aarch64__)

struct Feature {
  const char* name;
  unsigned long vector;  // AT_HWCAP or AT_HWCAP2.
  unsigned long bit;
};

constexpr unsigned long kHwcap = 16;
constexpr unsigned long kHwcap2 = 26;

// Linux, arch/arm64/include/uapi/asm/hwcap.h.
constexpr Feature kFeatures[] = {
    {"asimd", kHwcap, 1}, {"asimddp", kHwcap, 20}, {"sve", kHwcap, 22}, {"i8mm", kHwcap2, 13}};

bool has(const Feature& feature) {
  return ::getauxval(feature.vector) >> feature.bit & 1;
}

#elif defined(__x86_64__)

enum Register { kEax, kEbx, kEcx, kEdx };

struct Feature {
  const char* name;
  unsigned leaf;
  unsigned subleaf;
  Register in;
  unsigned bit;
  std::uint64_t state;  // Registers that the system must save: bits of XCR0.
};

constexpr std::uint64_t kAvx = 0x6;
constexpr std::uint64_t kAvx512 = 0xe6;
constexpr std::uint64_t kAmx = 0x60000;

// Intel 64 manual, volume 2, CPUID.
constexpr Feature kFeatures[] = {{"sse4_1", 1, 0, kEcx, 19, 0},
                                 {"avx2", 7, 0, kEbx, 5, kAvx},
                                 {"avx512f", 7, 0, kEbx, 16, kAvx512},
                                 {"avx512bw", 7, 0, kEbx, 30, kAvx512},
                                 {"avx512_vnni", 7, 0, kEcx, 11, kAvx512},
                                 {"avx_vnni", 7, 1, kEax, 4, kAvx},
                                 {"amx_int8", 7, 0, kEdx, 25, kAmx}};

constexpr unsigned kOsxsave = 27;  // Leaf 1, ECX: XGETBV may be used.

bool is_set(unsigned leaf, unsigned subleaf, Register in, unsigned bit) {
  unsigned values[4] = {};
  if (!__get_cpuid_count(leaf, subleaf, &values[0], &values[1], &values[2], &values[3]))
    return false;
  return values[in] >> bit & 1;
}

std::uint64_t saved_state() {
  if (!is_set(1, 0, kEcx, kOsxsave)) return 0;
  std::uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

bool has(const Feature& feature) {
  const bool is_saved = (saved_state() & feature.state) == feature.state;
  return is_saved && is_set(feature.leaf, feature.subleaf, feature.in, feature.bit);
}

#else
#error "the runner is for x86-64 and AArch64"
#endif

std::string alternatives(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " or ") + name;
  return text;
}

std::vector<long> version_numbers(const std::string& version) {
  std::vector<long> numbers;
  const char* at = version.data();
  const char* const end = at + version.size();
  long number = 0;
  for (;;) {
    const auto read = std::from_chars(at, end, number);
    if (read.ec != std::errc() || number < 0) break;
    numbers.push_back(number);
    if (read.ptr == end || *read.ptr != '.') break;
    at = read.ptr + 1;
  }
  while (!numbers.empty() && numbers.back() == 0) numbers.pop_back();  // 1.0 is 1.
  return numbers;
}

}  // namespace

const char* host_platform() {
#if defined(__aarch64__)
  return "aarch64-linux";
#else
  return "x86_64-linux";
#endif
}

bool has_cpu_feature(const std::string& name) {
  return std::any_of(std::begin(kFeatures), std::end(kFeatures),
                     [&](const Feature& feature) { return name == feature.name && has(feature); });
}

std::vector<std::string> missing_cpu_features(const std::vector<std::vector<std::string>>& needs) {
  std::vector<std::string> missing;
  for (const std::vector<std::string>& names : needs)
    if (std::none_of(names.begin(), names.end(), has_cpu_feature))
      missing.push_back(alternatives(names));
  return missing;
}

bool is_older_version(const std::string& a, const std::string& b) {
  return version_numbers(a) < version_numbers(b);
}

}  // namespace bm
