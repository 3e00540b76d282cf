#include "swarm/signature.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include <openssl/evp.h>

#include "base/error.h"
#include "io/file.h"
#include "io/replace_file.h"
#include "swarm/certificate.h"
#include "swarm/pem.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDigestDigits = 64;
constexpr Bytes kMostKeyBytes = 64 * kKiB;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

std::string SignedText(const Digest& info_hash) {
  return "doppler signed model 1\n" + ToHex(info_hash) + "\n";
}

const unsigned char* Octets(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

using KeyReader = EVP_PKEY* (*)(BIO*, EVP_PKEY**, pem_password_cb*, void*);

Key ReadKey(const fs::path& path, KeyReader read, const char* what) {
  Key key = ReadPem(ReadTextFile(path, kMostKeyBytes), read, EVP_PKEY_free);
  if (key == nullptr || EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519) {
    Throw("'{}' is not {} in a PEM file without a password; docs/swarm.md says how to make one",
          path.string(), what);
  }
  return key;
}

Digest PublicHalf(const Key& key, const fs::path& path) {
  Digest half{};
  std::size_t size = half.size();
  if (EVP_PKEY_get_raw_public_key(key.get(), half.data(), &size) != 1 || size != half.size()) {
    Throw("'{}' has no public key", path.string());
  }
  return half;
}

}  // namespace

std::string FormatSignature(const ModelSignature& signature) {
  return ToHex(signature.key) + ToHex(signature.signature[0]) + ToHex(signature.signature[1]);
}

ModelSignature ParseSignature(std::string_view hex) {
  ModelSignature signature;
  bool right = hex.size() == 3 * kDigestDigits;
  for (std::size_t i = 0; right && i < 3; ++i) {
    const auto part = DigestFromHex(hex.substr(i * kDigestDigits, kDigestDigits));
    right = part.has_value();
    if (right) (i == 0 ? signature.key : signature.signature[i - 1]) = *part;
  }
  if (!right) Throw("a signature is {} hexadecimal digits, and this is none", 3 * kDigestDigits);
  return signature;
}

ModelSignature SignModel(const Digest& info_hash, const fs::path& private_key) {
  const Key key = ReadKey(private_key, PEM_read_bio_PrivateKey, "a private Ed25519 key");
  ModelSignature signature;
  signature.key = PublicHalf(key, private_key);
  const std::string text = SignedText(info_hash);
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::size_t size = sizeof(signature.signature);
  const bool done = context != nullptr &&
                    EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
                    EVP_DigestSign(context.get(), signature.signature[0].data(), &size,
                                   Octets(text), text.size()) == 1;
  DOPPLER_CHECK(done && size == sizeof(signature.signature));
  return signature;
}

bool IsGenuine(const ModelSignature& signature, const Digest& info_hash) {
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, signature.key.data(),
                                            signature.key.size()),
                EVP_PKEY_free);
  const std::string text = SignedText(info_hash);
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  return key != nullptr && context != nullptr &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.signature[0].data(), sizeof(signature.signature),
                          Octets(text), text.size()) == 1;
}

void RequireSignature(const std::optional<ModelSignature>& signature, const Digest& info_hash,
                      const fs::path& trusted) {
  if (signature && !IsGenuine(*signature, info_hash)) {
    Throw(
        "the signature is not that of this model: one of the two was changed; ask who shares it "
        "for a new link, or remove 'manifest.sig' or 'manifest.*.sig' from the folder");
  }
  if (trusted.empty()) return;
  const Digest key =
      PublicHalf(ReadKey(trusted, PEM_read_bio_PUBKEY, "a public Ed25519 key"), trusted);
  if (!signature) {
    Throw("the model is not signed, and only what the key '{}' has signed is trusted",
          trusted.string());
  }
  if (signature->key != key) {
    Throw("the model is signed by the key {} and not by that in '{}'", ToHex(signature->key),
          trusted.string());
  }
}

namespace {

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

std::string SignatureFile(const std::optional<Digest>& team) {
  constexpr std::size_t kDigits = 8;
  return team ? "manifest." + ToHex(*team).substr(0, kDigits) + ".sig" : "manifest.sig";
}

std::optional<ModelSignature> ReadSignatureFile(const fs::path& folder,
                                                const std::optional<Digest>& team) {
  const fs::path path = folder / SignatureFile(team);
  if (!fs::exists(path)) return std::nullopt;
  try {
    return ParseSignature(FirstLine(ReadTextFile(path, kMostKeyBytes)));
  } catch (const Error& error) {
    Throw("'{}': {}", path.string(), error.what());
  }
}

void WriteSignatureFile(const fs::path& folder, const std::string& authority,
                        const ModelSignature& signature) {
  std::optional<Digest> team;
  if (!authority.empty()) team = TeamHash(authority);
  const std::string text = FormatSignature(signature) + "\n" + authority;
  ReplaceFile(folder / SignatureFile(team), std::as_bytes(std::span(text)));
}

std::vector<std::string> SignedAuthorities(const fs::path& folder) {
  std::vector<std::string> authorities;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name == SignatureFile({})) authorities.emplace_back();
    if (!name.starts_with("manifest.") || !name.ends_with(".sig")) continue;
    std::string text = ReadTextFile(entry.path(), kMostKeyBytes);
    text.erase(0, FirstLine(text).size() + 1);
    // The name tells whose it is.
    if (!text.empty() && name == SignatureFile(TeamHash(text))) {
      authorities.push_back(std::move(text));
    }
  }
  std::sort(authorities.begin(), authorities.end());
  return authorities;
}

}  // namespace doppler
