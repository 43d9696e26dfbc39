#include "signature.h"

#include <sys/stat.h>

#include <algorithm>

#include "base64.h"
#include "failure.h"
#include "files.h"
#include "json.h"

namespace bm {
namespace {

constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kSignatureBytes = 64;
constexpr std::size_t kSmallFile = std::size_t{1} << 16;
constexpr std::size_t kMostBytes = 4096;

constexpr char kPemBegin[] = "-----BEGIN PUBLIC KEY-----";
constexpr char kPemEnd[] = "-----END PUBLIC KEY-----";
// What stands before the 32 bytes in a SubjectPublicKeyInfo (RFC 8410).
const std::string kEd25519Info("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 12);
constexpr std::size_t kSumsBytes = std::size_t{64} << 20;

struct Signature {
  std::string key_text;
  std::string key;
  std::string bytes;
};

bool exists(const std::string& path) {
  struct stat found{};
  return lstat(path.c_str(), &found) == 0;
}

std::string trimmed(const std::string& text) {
  const char* blank = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(blank);
  return begin == std::string::npos ? ""
                                    : text.substr(begin, text.find_last_not_of(blank) - begin + 1);
}

std::string field(const Json& document, const std::string& name, const std::string& path) {
  const Json* value = document.find(name);
  if (value == nullptr) {
    bad_input(path + ": lacks " + name);
  }
  return value->as_text(path + ": " + name);
}

std::string decoded(const std::string& text, std::size_t size, const std::string& what) {
  const std::optional<std::string> bytes = base64_decoded(text);
  if (!bytes || bytes->size() != size) {
    bad_input(what + " is not " + std::to_string(size) + " bytes in base64");
  }
  return *bytes;
}

// A signature has one text, so that no byte of it can be changed unnoticed.
void require_canonical(const std::string& text, const Json& document, const std::string& path) {
  std::string canonical = "{\"algorithm\": " + json_quoted(field(document, "algorithm", path));
  canonical += ", \"public_key\": " + json_quoted(field(document, "public_key", path));
  canonical += ", \"signature\": " + json_quoted(field(document, "signature", path)) + "}\n";
  if (text != canonical) {
    bad_input(path + ": is damaged; fetch the bundle again");
  }
}

Signature read_signature(const std::string& path) {
  const std::string text = read_file(path, kMostBytes);
  const Json document = parse_json(text, path);
  require_canonical(text, document, path);
  const std::string algorithm = field(document, "algorithm", path);
  if (algorithm != "ed25519") {
    bad_input(path + ": algorithm '" + algorithm + "' is not known; ed25519 is");
  }
  Signature signature;
  signature.key_text = field(document, "public_key", path);
  signature.key = decoded(signature.key_text, kKeyBytes, path + ": public_key");
  signature.bytes =
      decoded(field(document, "signature", path), kSignatureBytes, path + ": signature");
  return signature;
}

// The key of an ed25519 public key in PEM; none where it is another kind of text.
std::optional<std::string> pem_key(const std::string& text) {
  const std::size_t begin = sizeof kPemBegin - 1;
  const std::size_t end = text.find(kPemEnd);
  if (text.compare(0, begin, kPemBegin) != 0 || end == text.npos) {
    return std::nullopt;
  }
  std::string body = text.substr(begin, end - begin);
  body.erase(
      std::remove_if(body.begin(), body.end(), [](char c) { return c == '\n' || c == '\r'; }),
      body.end());
  const std::string info = base64_decoded(body).value_or("");
  const bool is_ed25519 = info.size() == kEd25519Info.size() + kKeyBytes &&
                          info.compare(0, kEd25519Info.size(), kEd25519Info) == 0;
  return is_ed25519 ? std::optional<std::string>(info.substr(kEd25519Info.size())) : std::nullopt;
}

void require_valid(const Signature& signature, const std::string& sums, const std::string& path,
                   const std::string& demanded) {
  if (!demanded.empty() && signature.key != demanded) {
    fail(BM_UNTRUSTED, path + ": is by another key than the one given; ask who made the bundle");
  }
  if (!is_signed_by(signature.key, sums, signature.bytes)) {
    fail(BM_UNTRUSTED, path + ": does not match " + kSumsFile + "; fetch the bundle again");
  }
}

}  // namespace

std::string public_key_of(const std::string& argument) {
  const std::optional<std::string> given = base64_decoded(argument);
  if (given && given->size() == kKeyBytes) {
    return *given;
  }
  if (!exists(argument)) {
    bad_input("--key " + argument +
              ": is neither the base64 of a 32-byte key nor a file with it or PEM");
  }
  const std::string text = trimmed(read_user_file(argument, kSmallFile));
  if (const std::optional<std::string> key = pem_key(text)) {
    return *key;
  }
  return decoded(text, kKeyBytes, argument + ": the key");
}

std::optional<std::string> check_signature(const std::string& folder,
                                           const std::string& demanded) {
  const std::string path = folder + "/" + kSignatureFile;
  if (!exists(path)) {
    if (!demanded.empty()) {
      fail(BM_UNTRUSTED, folder + ": is not signed, but a key was given; sign it or drop --key");
    }
    return std::nullopt;
  }
  try {
    const Signature signature = read_signature(path);
    require_valid(signature, read_file(folder + "/" + kSumsFile, kSumsBytes), path, demanded);
    return signature.key_text;
  } catch (const Failure& failure) {
    // A damaged signature is no mistake of the caller.
    if (failure.status == BM_BAD_INPUT) {
      fail(BM_UNTRUSTED, failure.message);
    }
    throw;
  }
}

}  // namespace bm
