#include <algorithm>
#include <map>

#include "bundle.h"
#include "failure.h"
#include "files.h"

namespace bm {
namespace {

constexpr char kSums[] = "SHA256SUMS";
constexpr std::size_t kSumsBytes = std::size_t{128} << 20;
constexpr std::size_t kDigits = 64;

using Sums = std::map<std::string, std::string>;  // Path to sum.

[[noreturn]] void untrusted(const Bundle& bundle, const std::string& path,
                            const std::string& what) {
  fail(BM_UNTRUSTED, bundle.path(path) + ": " + what);
}

void take_line(const Bundle& bundle, const std::string& line, Sums& sums) {
  const std::string digits = line.substr(0, kDigits);
  const bool is_sum = line.size() > kDigits + 2 && line.compare(kDigits, 2, "  ") == 0 &&
                      digits.find_first_not_of("0123456789abcdef") == digits.npos;
  const std::string path = is_sum ? line.substr(kDigits + 2) : "";
  if (!is_sum || !path_fault(path).empty()) untrusted(bundle, kSums, "a line is no checksum");
  if (!sums.emplace(path, digits).second) untrusted(bundle, kSums, path + " is there twice");
}

Sums read_sums(const Bundle& bundle) {
  if (!is_file(bundle.path(kSums))) untrusted(bundle, kSums, "is missing, or is a link");
  const std::string text = read_file(bundle.path(kSums), kSumsBytes);
  Sums sums;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    if (end == text.npos) untrusted(bundle, kSums, "its last line is cut off");
    take_line(bundle, text.substr(begin, end - begin), sums);
    begin = end + 1;
  }
  return sums;
}

// SHA256SUMS and the manifest have to tell the same.
void check_lists(const Bundle& bundle, const Sums& sums) {
  if (sums.count("manifest.json") == 0) untrusted(bundle, kSums, "does not list manifest.json");
  for (const FileSpec& file : bundle.manifest.files) {
    const auto sum = sums.find(file.path);
    if (sum == sums.end()) untrusted(bundle, kSums, "does not list " + file.path);
    if (sum->second != file.sha256)
      untrusted(bundle, kSums, file.path + " has another checksum in manifest.json");
  }
  if (sums.size() != bundle.manifest.files.size() + 1)
    untrusted(bundle, kSums, "lists files that manifest.json does not");
}

void check_found(const Bundle& bundle, const Sums& sums) {
  std::size_t listed = 0;
  for (const std::string& path : list_files(bundle.folder)) {
    if (path == kSums || path == "SIGNATURE") continue;
    if (sums.count(path) == 0) untrusted(bundle, path, "is in no list of the bundle; remove it");
    ++listed;
  }
  if (listed == sums.size()) return;
  for (const auto& sum : sums)
    if (!is_file_below(bundle.folder, sum.first))
      untrusted(bundle, sum.first, "is missing; copy the whole bundle");
}

void check_file(const Bundle& bundle, const std::string& path, const std::string& sha256) {
  if (sum_file(bundle.path(path)).sha256 != sha256)
    untrusted(bundle, path, "was changed: its checksum differs from SHA256SUMS");
}

}  // namespace

void check_sums(const Bundle& bundle) {
  const Sums sums = read_sums(bundle);
  check_lists(bundle, sums);
  check_found(bundle, sums);
  for (const auto& [path, sha256] : sums) check_file(bundle, path, sha256);
  for (const FileSpec& file : bundle.manifest.files)
    if (file_size(bundle.path(file.path)) != file.bytes)
      untrusted(bundle, file.path, "has another size than in manifest.json");
}

}  // namespace bm
