// An engine file, and what its header tells without the SDK and without a GPU.
//
// The header, little-endian: tag (4 bytes), version of the layout (u32, 0), 8 bytes unknown, size
// of the file (u64), version of the SDK (4 bytes), tag of the platform (4 bytes), and of
// TensorRT-RTX a bit mask of the GPUs (u32). bmopt/backends/nvinfer/engine_file.py reads the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace bm::trt {

class EngineFile {
 public:
  // Throws Failure (BM_BAD_INPUT) where the file cannot be read or is no engine.
  explicit EngineFile(const char* path);
  ~EngineFile();
  EngineFile(const EngineFile&) = delete;
  EngineFile& operator=(const EngineFile&) = delete;

  const std::string& path() const { return path_; }
  const void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

  // Whether the header has the layout that is known; without it the others tell nothing.
  bool is_known() const { return is_known_; }
  bool is_rtx() const { return is_rtx_; }
  // Major version of the SDK that wrote it; 0 for an unknown layout.
  int major() const { return is_known_ ? version_[0] : 0; }
  // "10.16.1.11"; "" for an unknown layout.
  std::string version() const;
  // "sm86+sm89": the GPUs that an engine of TensorRT-RTX is for; "" where it does not tell.
  std::string devices() const;
  // What is wrong with its size: "is truncated: 10 of 20 bytes"; "" where it is as declared.
  std::string damage() const;

 private:
  void map();
  void parse();

  std::string path_;
  const unsigned char* data_ = nullptr;
  std::size_t bytes_ = 0;
  bool is_known_ = false;
  bool is_rtx_ = false;
  std::uint64_t declared_ = 0;
  unsigned char version_[4] = {};
  std::uint32_t devices_ = 0;
};

}  // namespace bm::trt
