#include "format/sha256.h"

#include <algorithm>

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "base/error.h"
#include "format/sha256_lanes.h"

namespace doppler {
namespace {

int HexValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

}  // namespace

std::string ToHex(const Digest& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * digest.size());
  for (const std::uint8_t byte : digest) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::optional<Digest> DigestFromHex(std::string_view hex) {
  Digest digest;
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = HexValue(hex[2 * i]);
    const int low = HexValue(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return digest;
}

// OpenSSL's own interface for hashes (EVP) allocates whenever a context is started; the functions
// below it do not, and use the same SHA instructions of the processor.
Digest Sha256(std::span<const std::byte> bytes) {
  SHA256_CTX context;
  Digest digest;
  const bool done = SHA256_Init(&context) == 1 &&
                    SHA256_Update(&context, bytes.data(), bytes.size()) == 1 &&
                    SHA256_Final(digest.data(), &context) == 1;
  DOPPLER_CHECK(done);
  return digest;
}

void Sha256OfParts(std::span<const std::byte> bytes, Bytes part_bytes,
                   FunctionRef<void(const Digest&)> on_part) {
  std::array<std::span<const std::byte>, kSha256Batch> parts;
  std::array<Digest, kSha256Batch> digests;
  while (!bytes.empty()) {
    std::size_t count = 0;
    for (; count < parts.size() && !bytes.empty(); ++count) {
      parts[count] = bytes.first(std::min<std::size_t>(bytes.size(), part_bytes));
      bytes = bytes.subspan(parts[count].size());
    }
    Sha256SideBySide(std::span(parts).first(count), std::span(digests).first(count));
    for (std::size_t i = 0; i < count; ++i) on_part(digests[i]);
  }
}

}  // namespace doppler
