#include "utf8.h"

#include <cstdint>

namespace bm {
namespace {

bool is_continuation(unsigned char c) {
  return (c & 0xc0) == 0x80;
}

std::size_t length_of(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 0;
}

// The second byte's range excludes long forms, surrogates and what is beyond 0x10ffff.
bool is_second_byte(unsigned char lead, unsigned char second) {
  if (lead == 0xe0) return second >= 0xa0;
  if (lead == 0xed) return second <= 0x9f;
  if (lead == 0xf0) return second >= 0x90;
  if (lead == 0xf4) return second <= 0x8f;
  return true;
}

bool is_sequence(const unsigned char* bytes, std::size_t length) {
  for (std::size_t i = 1; i < length; ++i)
    if (!is_continuation(bytes[i])) return false;
  return length == 1 || is_second_byte(bytes[0], bytes[1]);
}

char byte(std::uint32_t value) {
  return static_cast<char>(static_cast<unsigned char>(value));
}

}  // namespace

std::size_t invalid_utf8_at(const std::string& text) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = length_of(bytes[at]);
    if (length == 0 || length > text.size() - at || !is_sequence(bytes + at, length)) return at;
    at += length;
  }
  return at;
}

void append_utf8(std::string& text, std::uint32_t code) {
  if (code < 0x80) {
    text += byte(code);
    return;
  }
  if (code < 0x800) {
    text += byte(0xc0 | code >> 6);
  } else if (code < 0x10000) {
    text += byte(0xe0 | code >> 12);
    text += byte(0x80 | (code >> 6 & 0x3f));
  } else {
    text += byte(0xf0 | code >> 18);
    text += byte(0x80 | (code >> 12 & 0x3f));
    text += byte(0x80 | (code >> 6 & 0x3f));
  }
  text += byte(0x80 | (code & 0x3f));
}

}  // namespace bm
