#include "format/sha256.h"

#include <vector>

#include <gtest/gtest.h>

#include "base/alloc_guard.h"

namespace doppler {
namespace {

std::vector<std::byte> Noise(std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::uint32_t state = 1;
  for (std::byte& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

std::vector<Digest> Parts(std::span<const std::byte> bytes, Bytes part_bytes) {
  std::vector<Digest> digests;
  Sha256OfParts(bytes, part_bytes, [&](const Digest& digest) { digests.push_back(digest); });
  return digests;
}

// Values of FIPS 180-4's examples.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(ToHex(Sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(ToHex(Sha256(std::as_bytes(std::span("abc", 3)))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256OfParts, KnownAnswers) {
  const std::string_view text = "abcabcab";
  const std::vector<Digest> digests = Parts(std::as_bytes(std::span(text)), 3);
  ASSERT_EQ(digests.size(), 3u);
  for (const std::size_t i : {0u, 1u}) {
    EXPECT_EQ(ToHex(digests[i]),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  }
  EXPECT_EQ(ToHex(digests[2]), "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603");
}

// The library that hashes side by side against OpenSSL, at every length of the last block and with
// more parts than one batch.
TEST(Sha256OfParts, AgreesWithOneByOne) {
  const std::vector<std::byte> bytes = Noise(40'000);
  for (const std::size_t part : {1u, 55u, 56u, 63u, 64u, 65u, 119u, 120u, 4096u, 16384u, 50'000u}) {
    const std::size_t size = std::min<std::size_t>(bytes.size(), part * 77 + part / 2);
    const auto some = std::span<const std::byte>(bytes).first(size);
    const std::vector<Digest> digests = Parts(some, part);
    ASSERT_EQ(digests.size(), (size + part - 1) / part);
    for (std::size_t i = 0; i < digests.size(); ++i) {
      const auto message = some.subspan(i * part, std::min(part, size - i * part));
      EXPECT_EQ(digests[i], Sha256(message)) << "part " << i << " of " << part;
    }
  }
}

TEST(Sha256OfParts, NothingHasNoParts) { EXPECT_TRUE(Parts({}, 16384).empty()); }

TEST(Sha256OfParts, DoesNotAllocateAfterTheFirstCall) {
  const std::vector<std::byte> bytes = Noise(100'000);
  std::size_t count = 0;
  const auto hash = [&] { Sha256OfParts(bytes, 16384, [&](const Digest&) { ++count; }); };
  hash();
  const NoAllocScope no_alloc;
  hash();
  EXPECT_EQ(count, 14u);
}

}  // namespace
}  // namespace doppler
