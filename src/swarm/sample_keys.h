// For tests: two pairs of Ed25519 keys that sign nothing else, of which the first is that of RFC
// 8410, and the certificate of a team's authority whose key is lost.
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

inline constexpr const char* kSampleAuthority =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBIDCB06ADAgECAhBg7FF5VfhkzsstU/Kp3hI8MAUGAytlcDAPMQ0wCwYDVQQK\n"
    "DARjcmV3MB4XDTI2MTEyNzIyMzEwOFoXDTM2MTEyNTIyMzEwOFowDzENMAsGA1UE\n"
    "CgwEY3JldzAqMAUGAytlcAMhAEnY4WDmPx85fVLXcrl6mVWPlUx8C1vTdF3d8Vyt\n"
    "pHEeo0UwQzASBgNVHRMBAf8ECDAGAQH/AgEAMA4GA1UdDwEB/wQEAwICBDAdBgNV\n"
    "HQ4EFgQUyGA4z/yqyFqpRL1kgmyXahlUdSQwBQYDK2VwA0EAjX0Rq89FpMoiODNY\n"
    "YSRl1E8QUodrn5Dq89rHlrb5BAM2Rw/vsFzt/eCl3NdZ8GSaIImttNYccI+Kec4J\n"
    "OFAxCA==\n"
    "-----END CERTIFICATE-----\n";

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
