#include <dlfcn.h>

#include <memory>

#include "failure.h"
#include "signature.h"

namespace bm {
namespace {

// EVP_PKEY_ED25519 of OpenSSL 1.1.1 and 3.
constexpr int kEd25519 = 1087;

const unsigned char* bytes_of(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// OpenSSL's functions by their C signatures; nothing of it is needed to build or to start.
struct Libcrypto {
  void* (*new_key)(int, void*, const unsigned char*, std::size_t) = nullptr;
  void (*free_key)(void*) = nullptr;
  void* (*new_context)() = nullptr;
  void (*free_context)(void*) = nullptr;
  int (*begin)(void*, void**, const void*, void*, void*) = nullptr;
  int (*verify)(void*, const unsigned char*, std::size_t, const unsigned char*,
                std::size_t) = nullptr;
};

template <typename Function>
void bind(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (*function == nullptr) {
    fail(BM_HOST, std::string("the signature cannot be checked here: libcrypto has no ") + name +
                      "; install OpenSSL 1.1.1 or newer");
  }
}

void* open_library() {
  for (const char* name : {"libcrypto.so.3", "libcrypto.so.1.1"}) {
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
      return library;
    }
  }
  fail(BM_HOST,
       "the signature cannot be checked here: there is no libcrypto.so.3 or .so.1.1; install "
       "OpenSSL");
}

Libcrypto load() {
  void* library = open_library();
  Libcrypto functions;
  bind(library, "EVP_PKEY_new_raw_public_key", &functions.new_key);
  bind(library, "EVP_PKEY_free", &functions.free_key);
  bind(library, "EVP_MD_CTX_new", &functions.new_context);
  bind(library, "EVP_MD_CTX_free", &functions.free_context);
  bind(library, "EVP_DigestVerifyInit", &functions.begin);
  bind(library, "EVP_DigestVerify", &functions.verify);
  return functions;
}

}  // namespace

bool is_signed_by(const std::string& key, const std::string& message,
                  const std::string& signature) {
  const Libcrypto crypto = load();
  const std::unique_ptr<void, void (*)(void*)> loaded(
      crypto.new_key(kEd25519, nullptr, bytes_of(key), key.size()), crypto.free_key);
  const std::unique_ptr<void, void (*)(void*)> context(crypto.new_context(), crypto.free_context);
  if (context == nullptr) {
    fail(BM_INTERNAL, "OpenSSL has no memory to check the signature");
  }
  return loaded != nullptr &&
         crypto.begin(context.get(), nullptr, nullptr, nullptr, loaded.get()) == 1 &&
         crypto.verify(context.get(), bytes_of(signature), signature.size(), bytes_of(message),
                       message.size()) == 1;
}

}  // namespace bm
