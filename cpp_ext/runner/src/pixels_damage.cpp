#include <array>
#include <cstdint>

#include "pixels.h"

namespace bm {
namespace {

constexpr char kPngStart[] = "\x89PNG\r\n\x1a\n";
constexpr std::size_t kPngStartBytes = sizeof kPngStart - 1;
// Length and name before a chunk's data, checksum after it.
constexpr std::size_t kChunkHead = 8;
constexpr std::size_t kChunkBytes = 12;

std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value & 1U) != 0 ? 0xEDB88320U ^ (value >> 1) : value >> 1;
    }
    table[i] = value;
  }
  return table;
}

std::uint32_t crc_of(const std::string& bytes, std::size_t begin, std::size_t size) {
  static const std::array<std::uint32_t, 256> table = crc_table();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (std::size_t i = begin; i < begin + size; ++i) {
    crc = table[(crc ^ static_cast<unsigned char>(bytes[i])) & 0xFFU] ^ (crc >> 8);
  }
  return ~crc;
}

std::uint32_t big_endian(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = at; i < at + 4; ++i) {
    value = (value << 8) | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

std::string png_damage(const std::string& bytes) {
  std::size_t at = kPngStartBytes;
  while (bytes.size() - at >= kChunkBytes) {
    const std::size_t size = big_endian(bytes, at);
    if (size > bytes.size() - at - kChunkBytes) {
      return "it ends too early";
    }
    const std::size_t end = at + kChunkHead + size;
    if (crc_of(bytes, at + 4, size + 4) != big_endian(bytes, end)) {
      return "a checksum in it is wrong";
    }
    if (bytes.compare(at + 4, 4, "IEND") == 0) {
      return "";
    }
    at = end + 4;
  }
  return "it ends too early";
}

// The end mark must follow the last scan; a thumbnail before that scan has marks of its own.
std::string jpeg_damage(const std::string& bytes) {
  const std::size_t scan = bytes.rfind("\xFF\xDA");
  const bool is_ended =
      scan != std::string::npos && bytes.find("\xFF\xD9", scan) != std::string::npos;
  return is_ended ? "" : "it ends too early";
}

}  // namespace

std::string damage(const std::string& bytes) {
  if (bytes.compare(0, kPngStartBytes, kPngStart) == 0) {
    return png_damage(bytes);
  }
  return bytes.compare(0, 2, "\xFF\xD8") == 0 ? jpeg_damage(bytes) : "of another kind";
}

}  // namespace bm
