#pragma once

#include <optional>
#include <string>

namespace bm {

// The bytes of a base64 text (RFC 4648), none where it is not strictly one: padded, no spaces or
// line ends, no bits set beyond the last byte.
std::optional<std::string> base64_decoded(const std::string& text);

}  // namespace bm
