#pragma once

#include <string>
#include <vector>

namespace bm {

// "x86_64-linux" or "aarch64-linux": what this library was compiled for.
const char* host_platform();

// Whether this host's CPU and kernel have a feature, named as in /proc/cpuinfo. Nobody has a
// feature with an unknown name.
bool has_cpu_feature(const std::string& name);

// Those needs, each a list of alternatives, that this host does not meet: "avx2",
// "avx512_vnni or avx_vnni".
std::vector<std::string> missing_cpu_features(const std::vector<std::vector<std::string>>& needs);

// Whether dotted version `a` is older than `b`: "1.9" < "1.23.2". What follows the numbers
// ("+cu12", "rc1") is ignored.
bool is_older_version(const std::string& a, const std::string& b);

}  // namespace bm
