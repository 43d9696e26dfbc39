#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace bm {

// Where the first byte lies that is not part of valid UTF-8; the size where all are.
std::size_t invalid_utf8_at(const std::string& text);

// Append a code point (not a surrogate, at most 0x10ffff).
void append_utf8(std::string& text, std::uint32_t code);

}  // namespace bm
