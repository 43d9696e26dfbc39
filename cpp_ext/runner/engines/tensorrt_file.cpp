#include "tensorrt_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "failure.h"

namespace bm::trt {
namespace {

constexpr std::size_t kHeaderBytes = 36;
constexpr int kFirstTensorRT = 8;  // TensorRT-RTX started again at 1.
constexpr const char* kDevices[] = {"sm75", "sm80", "sm86", "sm89", "sm120", "sm121"};
constexpr const char* kRemedy = "; copy the bundle again, or package the artifact again";

// Closes a file that was only opened to be mapped.
struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) {
      close(number);
    }
  }
};

template <typename Number>
Number little_endian(const unsigned char* from) {
  Number value = 0;
  for (std::size_t i = sizeof(Number); i-- > 0;) {
    value = static_cast<Number>(value << 8 | from[i]);
  }
  return value;
}

[[noreturn]] void unreadable(const std::string& path) {
  bad_input(path + ": cannot be read (" + std::strerror(errno) + ")" + kRemedy);
}

}  // namespace

EngineFile::EngineFile(const char* path) : path_(path) {
  map();
  try {
    parse();
  } catch (...) {
    munmap(const_cast<unsigned char*>(data_), bytes_);
    throw;
  }
}

EngineFile::~EngineFile() {
  munmap(const_cast<unsigned char*>(data_), bytes_);
}

void EngineFile::map() {
  const Descriptor file{open(path_.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat status{};
  if (file.number < 0 || fstat(file.number, &status) != 0) {
    unreadable(path_);
  }
  if (!S_ISREG(status.st_mode) || status.st_size == 0) {
    bad_input(path_ + ": is empty or no file" + kRemedy);
  }
  bytes_ = static_cast<std::size_t>(status.st_size);
  void* data = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (data == MAP_FAILED) {
    unreadable(path_);
  }
  data_ = static_cast<const unsigned char*>(data);
}

void EngineFile::parse() {
  if (bytes_ < 4 || std::memcmp(data_ + 1, "trt", 3) != 0) {
    bad_input(path_ + ": is no TensorRT engine" + kRemedy);
  }
  if (bytes_ < kHeaderBytes) {
    bad_input(path_ + ": is truncated: " + std::to_string(bytes_) + " bytes" + kRemedy);
  }
  is_known_ = little_endian<std::uint32_t>(data_ + 4) == 0;
  declared_ = little_endian<std::uint64_t>(data_ + 16);
  std::memcpy(version_, data_ + 24, sizeof version_);
  is_rtx_ = is_known_ && data_[0] == 'v' && version_[0] < kFirstTensorRT;
  devices_ = is_rtx_ ? little_endian<std::uint32_t>(data_ + 32) : 0;
}

std::string EngineFile::version() const {
  std::string text;
  for (std::size_t i = 0; is_known_ && i < sizeof version_; ++i) {
    text += (i == 0 ? "" : ".") + std::to_string(version_[i]);
  }
  return text;
}

std::string EngineFile::devices() const {
  std::string names;
  for (std::size_t bit = 0; bit < std::size(kDevices); ++bit) {
    if ((devices_ >> bit & 1) != 0) {
      names += (names.empty() ? "" : "+") + std::string(kDevices[bit]);
    }
  }
  return names;
}

std::string EngineFile::damage() const {
  if (!is_known_ || declared_ == 0 || bytes_ == declared_) {
    return "";
  }
  const std::string kind = bytes_ < declared_ ? "is truncated: " : "is damaged: ";
  return kind + std::to_string(bytes_) + " of " + std::to_string(declared_) + " bytes";
}

}  // namespace bm::trt
