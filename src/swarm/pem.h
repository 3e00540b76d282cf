// Reads certificates and keys in PEM text with OpenSSL.
#pragma once

#include <memory>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/pem.h>

namespace doppler {

template <typename Object>
using PemObject = std::unique_ptr<Object, void (*)(Object*)>;

// In place of OpenSSL's own, which would ask on the terminal.
inline int AskNobody(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) { return -1; }

// The first such object in the text, which `read` (PEM_read_bio_X509, say) reads and `release`
// frees; null if there is none, or one with a password.
template <typename Object>
PemObject<Object> ReadPem(std::string_view text,
                          Object* (*read)(BIO*, Object**, pem_password_cb*, void*),
                          void (*release)(Object*)) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  return {memory == nullptr ? nullptr : read(memory.get(), nullptr, AskNobody, nullptr), release};
}

}  // namespace doppler
