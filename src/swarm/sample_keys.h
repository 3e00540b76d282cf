// For tests: two pairs of Ed25519 keys that sign nothing else. The first is that of RFC 8410.
#pragma once

#include <filesystem>

#include "swarm/sample_artifact.h"

namespace doppler {

inline constexpr const char* kSamplePrivateKey =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
    "-----END PRIVATE KEY-----\n";
inline constexpr const char* kSamplePublicKey =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
    "-----END PUBLIC KEY-----\n";
inline constexpr const char* kOtherPrivateKey =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEICmLkAspjD7dByQka2qrccuORY2A/LZGE2AVYJXR+WiI\n"
    "-----END PRIVATE KEY-----\n";
inline constexpr const char* kOtherPublicKey =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAKs0h7PQyobk5Z0qpSBt4KqeV9PYi2X9JQVPwjEH+QZA=\n"
    "-----END PUBLIC KEY-----\n";

// The files of the keys above.
struct SampleKeys {
  explicit SampleKeys(const std::filesystem::path& folder)
      : key(folder / "key.pem"),
        key_public(folder / "key.pub.pem"),
        other(folder / "other.pem"),
        other_public(folder / "other.pub.pem") {
    WriteSampleFile(key, kSamplePrivateKey);
    WriteSampleFile(key_public, kSamplePublicKey);
    WriteSampleFile(other, kOtherPrivateKey);
    WriteSampleFile(other_public, kOtherPublicKey);
  }

  const std::filesystem::path key;
  const std::filesystem::path key_public;
  const std::filesystem::path other;
  const std::filesystem::path other_public;
};

}  // namespace doppler
