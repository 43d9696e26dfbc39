#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>

#include "failure.h"
#include "sha256.h"

namespace bm {
namespace {

constexpr std::size_t kMostFiles = 100000;
constexpr int kDeepestFolder = 32;
constexpr std::size_t kPieceBytes = std::size_t{1} << 18;

std::string reason() {
  return std::strerror(errno);
}

// A regular file that is open for reading.
class Input {
 public:
  // Without O_NONBLOCK a pipe in the bundle would stop us here.
  Input(const std::string& path, int links)
      : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | links)) {
    if (file_ < 0) bad_input(path + ": " + (errno == ELOOP ? "is a link" : reason()));
    struct stat about;
    if (::fstat(file_, &about) == 0 && S_ISREG(about.st_mode)) {
      bytes = static_cast<std::uint64_t>(about.st_size);
      return;
    }
    ::close(file_);
    bad_input(path + ": is no regular file");
  }
  ~Input() { ::close(file_); }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  // Bytes read, 0 at the end.
  std::size_t read(void* data, std::size_t size) {
    for (;;) {
      const ssize_t got = ::read(file_, data, size);
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) bad_input(path_ + ": cannot be read (" + reason() + ")");
    }
  }

  std::uint64_t bytes = 0;

 private:
  std::string path_;
  int file_;
};

struct FolderCloser {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

class Lister {
 public:
  explicit Lister(const std::string& root) : root_(root) {}

  std::vector<std::string> list() {
    visit("", 0);
    std::sort(found_.begin(), found_.end());
    return std::move(found_);
  }

 private:
  void visit(const std::string& prefix, int depth) {
    if (depth > kDeepestFolder) fail(BM_UNTRUSTED, root_ + ": folders are nested too deep");
    const std::string folder = prefix.empty() ? root_ : root_ + "/" + prefix;
    const std::unique_ptr<DIR, FolderCloser> open(::opendir(folder.c_str()));
    if (!open) bad_input(folder + ": cannot be listed (" + reason() + ")");
    while (const dirent* entry = ::readdir(open.get())) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") take(prefix.empty() ? name : prefix + "/" + name, depth);
    }
  }

  void take(const std::string& path, int depth) {
    struct stat about;
    const std::string whole = root_ + "/" + path;
    if (::lstat(whole.c_str(), &about) != 0) bad_input(whole + ": " + reason());
    if (S_ISDIR(about.st_mode)) {
      visit(path, depth + 1);
    } else if (!S_ISREG(about.st_mode)) {
      fail(BM_UNTRUSTED, whole + ": is a link or no regular file; a bundle has none");
    } else if (found_.push_back(path); found_.size() > kMostFiles) {
      fail(BM_UNTRUSTED, root_ + ": has too many files for a bundle");
    }
  }

  std::string root_;
  std::vector<std::string> found_;
};

std::string part_fault(const std::string& part) {
  if (part.empty()) return "has an empty part";
  if (part == "." || part == "..") return "has a part " + part;
  if (part.size() > 255) return "has a part of more than 255 bytes";
  return "";
}

std::string read_all(Input input, const std::string& path, std::size_t limit) {
  if (input.bytes > limit) bad_input(path + ": larger than " + std::to_string(limit) + " bytes");
  std::string bytes(input.bytes, '\0');
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t got = input.read(&bytes[at], bytes.size() - at);
    if (got == 0) bad_input(path + ": became shorter while it was read");
    at += got;
  }
  return bytes;
}

}  // namespace

std::string read_file(const std::string& path, std::size_t limit) {
  return read_all(Input(path, O_NOFOLLOW), path, limit);
}

std::string read_user_file(const std::string& path, std::size_t limit) {
  return read_all(Input(path, 0), path, limit);
}

FileSum sum_file(const std::string& path) {
  Input input(path, O_NOFOLLOW);
  const std::unique_ptr<char[]> piece(new char[kPieceBytes]);
  Sha256 sum;
  std::uint64_t bytes = 0;
  while (const std::size_t got = input.read(piece.get(), kPieceBytes)) {
    sum.update(piece.get(), got);
    bytes += got;
  }
  return {hex(sum.digest()), bytes};
}

void write_file(const std::string& path, const std::string& bytes) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "wbe"), std::fclose);
  if (!file) bad_input(path + ": cannot be written (" + reason() + ")");
  const bool is_written = std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
  if (!is_written || std::fflush(file.get()) != 0)
    bad_input(path + ": cannot be written (" + reason() + ")");
}

std::vector<std::string> list_files(const std::string& folder) {
  return Lister(folder).list();
}

std::uint64_t file_size(const std::string& path) {
  struct stat about;
  return ::lstat(path.c_str(), &about) == 0 ? static_cast<std::uint64_t>(about.st_size) : 0;
}

bool is_file(const std::string& path) {
  struct stat about;
  return ::lstat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode);
}

bool is_file_below(const std::string& folder, const std::string& path) {
  struct stat about;
  for (std::size_t end = path.find('/'); end != path.npos; end = path.find('/', end + 1)) {
    const std::string part = folder + "/" + path.substr(0, end);
    if (::lstat(part.c_str(), &about) != 0 || !S_ISDIR(about.st_mode)) return false;
  }
  return is_file(folder + "/" + path);
}

std::string path_fault(const std::string& path) {
  if (path.empty()) return "is empty";
  if (path.size() > 1024) return "is longer than 1024 bytes";
  if (path.find('\0') != std::string::npos) return "has a NUL";
  if (path.find('\\') != std::string::npos) return "has a backslash";
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string fault = part_fault(path.substr(begin, end - begin));
    if (!fault.empty()) return fault;
    begin = end + 1;
  }
  return "";
}

}  // namespace bm
