#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace bm {

// FIPS 180-4.
class Sha256 {
 public:
  void update(const void* data, std::size_t size);
  std::array<unsigned char, 32> digest();  // Ends the message: call it once.

 private:
  void block(const unsigned char* bytes);

  std::uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  unsigned char pending_[64] = {};
  std::uint64_t length_ = 0;
};

std::string hex(const std::array<unsigned char, 32>& digest);  // Small digits.
std::string sha256_hex(const void* data, std::size_t size);

}  // namespace bm
