#include "base64.h"

#include <cstdint>
#include <cstring>

namespace bm {
namespace {

constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The six bits of a letter, -1 for what is none.
int bits_of(char letter) {
  const char* found = letter == '\0' ? nullptr : std::strchr(kLetters, letter);
  return found == nullptr ? -1 : static_cast<int>(found - kLetters);
}

// How many '=' end the text: at most 2.
std::size_t padding_of(const std::string& text) {
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') {
    ++padding;
  }
  return padding;
}

}  // namespace

std::optional<std::string> base64_decoded(const std::string& text) {
  const std::size_t letters = text.size() - padding_of(text);
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  std::string bytes;
  std::uint32_t pending = 0;
  int pending_bits = 0;
  for (std::size_t i = 0; i < letters; ++i) {
    const int bits = bits_of(text[i]);
    if (bits < 0) {
      return std::nullopt;
    }
    pending = ((pending << 6) | static_cast<std::uint32_t>(bits)) & 0xFFFFU;
    pending_bits += 6;
    if (pending_bits >= 8) {
      pending_bits -= 8;
      bytes.push_back(static_cast<char>((pending >> pending_bits) & 0xFFU));
    }
  }
  const std::uint32_t rest = pending & ((1U << pending_bits) - 1U);
  return rest == 0 ? std::optional<std::string>(bytes) : std::nullopt;
}

}  // namespace bm
