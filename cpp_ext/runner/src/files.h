#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bm {

// Read a regular file. A link is refused, and so is one of more than `limit` bytes.
// Throws Failure (BM_BAD_INPUT).
std::string read_file(const std::string& path, std::size_t limit);

// The same for a user's file, which may be a link.
std::string read_user_file(const std::string& path, std::size_t limit);

// Size and SHA-256 of a regular file, read in pieces; a link is refused.
struct FileSum {
  std::string sha256;
  std::uint64_t bytes;
};
FileSum sum_file(const std::string& path);

void write_file(const std::string& path, const std::string& bytes);

// All files below a folder as relative paths, sorted. Throws Failure (BM_UNTRUSTED) at anything
// that is neither a folder nor a regular file (links above all), or too much of them.
std::vector<std::string> list_files(const std::string& folder);

std::uint64_t file_size(const std::string& path);  // 0 where there is none.

// Whether `path` is a regular file and no link.
bool is_file(const std::string& path);

// The same for `path` in `folder`, where none of the folders on the way is a link either.
bool is_file_below(const std::string& folder, const std::string& path);

// Why a path of a manifest is not allowed, empty where it is: relative, '/'-separated, no part
// empty, "." or "..", no NUL, no backslash, at most 255 bytes a part and 1024 in all.
std::string path_fault(const std::string& path);

}  // namespace bm
