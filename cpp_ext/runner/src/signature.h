#pragma once

#include <optional>
#include <string>

namespace bm {

constexpr char kSignatureFile[] = "SIGNATURE";
constexpr char kSumsFile[] = "SHA256SUMS";

// The 32 bytes of the ed25519 public key that an argument names: their base64, or a file with it
// or with PEM.
// Throws Failure (BM_BAD_INPUT).
std::string public_key_of(const std::string& argument);

// Check a bundle's SIGNATURE, which is over the bytes of its SHA256SUMS. Returns the base64 of
// the key that signed, none where the bundle is not signed. Throws Failure: BM_UNTRUSTED where
// the signature does not match, is damaged, is by another key than `demanded` (empty for any), or
// is missing although a key is demanded; BM_HOST where no libcrypto is there to check it.
std::optional<std::string> check_signature(const std::string& folder, const std::string& demanded);

// Whether `signature` (64 bytes) of `message` is by `key` (32 bytes). Throws Failure (BM_HOST).
bool is_signed_by(const std::string& key, const std::string& message,
                  const std::string& signature);

}  // namespace bm
