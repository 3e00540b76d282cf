#include "swarm/signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "io/file.h"
#include "swarm/link.h"
#include "swarm/sample_keys.h"
#include "swarm/torrent.h"

namespace doppler {

using testing::HasSubstr;

namespace {

class SignatureTest : public testing::Test {
 protected:
  std::string Refusal(const std::optional<ModelSignature>& signature, const Digest& model,
                      const std::filesystem::path& trusted = {}) const {
    return MessageOf([&] { RequireSignature(signature, model, trusted); });
  }

  const TempFolder temp_;
  const SampleKeys keys_{temp_.path()};
  const Digest model_{1, 2, 3};
  const ModelSignature signature_ = SignModel(model_, keys_.key);
};

// The signature that `openssl pkeyutl -sign -rawin` makes of the same text with the same key.
TEST_F(SignatureTest, IsThatOfTheWrittenText) {
  EXPECT_EQ(FormatSignature(signature_),
            "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
            "fe542f482425d8a66457f55c8e8682d8f2da05235be3ff2d976c9edbb16442a4"
            "a7c626b865456709e31b6c71abc09b142946c2a2f66c330a0cdcb8765bcb0b0c");
}

TEST_F(SignatureTest, OnlyTheModelAndTheKeyThatWereMeant) {
  RequireSignature(signature_, model_, {});
  RequireSignature(signature_, model_, keys_.key_public);
  RequireSignature(std::nullopt, model_, {});
  EXPECT_THAT(Refusal(signature_, {1, 2, 4}), HasSubstr("is not that of this model"));
  EXPECT_THAT(Refusal(signature_, model_, keys_.other_public),
              HasSubstr("is signed by the key 19bf44096984cdfe"));
  EXPECT_THAT(Refusal(std::nullopt, model_, keys_.key_public), HasSubstr("is not signed"));
  for (const std::size_t part : {0u, 1u, 2u}) {
    ModelSignature altered = signature_;
    (part == 0 ? altered.key : altered.signature[part - 1])[5] ^= 1;
    EXPECT_FALSE(IsGenuine(altered, model_)) << part;
    EXPECT_THAT(Refusal(altered, model_, keys_.key_public), HasSubstr("was changed"));
  }
}

TEST_F(SignatureTest, RefusesFilesThatAreNoKeys) {
  EXPECT_THAT(MessageOf([&] { SignModel(model_, keys_.key_public); }),
              HasSubstr("is not a private Ed25519 key"));
  EXPECT_THAT(Refusal(signature_, model_, keys_.key), HasSubstr("is not a public Ed25519 key"));
  EXPECT_THAT(Refusal(signature_, model_, temp_.path() / "none"), HasSubstr("none"));
  WriteSampleFile(temp_.path() / "ec.pem",
                  "-----BEGIN PUBLIC KEY-----\n"
                  "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEN+ybxcidVgxjIXSlzac1AAfh67zZ\n"
                  "z4JAtjbfNALmyC5eufkn15it+rI/PMHJnClGxp89gl8AZsukroygZg9rpw==\n"
                  "-----END PUBLIC KEY-----\n");
  EXPECT_THAT(Refusal(signature_, model_, temp_.path() / "ec.pem"),
              HasSubstr("is not a public Ed25519 key"));
}

TEST_F(SignatureTest, GoesThroughAFileALinkAndATorrent) {
  EXPECT_EQ(ReadSignatureFile(temp_.path(), {}), std::nullopt);
  WriteSignatureFile(temp_.path(), {}, signature_);
  EXPECT_EQ(ReadSignatureFile(temp_.path(), {}), signature_);
  Link link;
  link.info_hash = model_;
  const std::string plain = FormatLink(link);
  link.signature = signature_;
  EXPECT_EQ(ParseLink(FormatLink(link)).signature, signature_);
  ModelSignature second = signature_;
  second.key[0] ^= 1;
  EXPECT_THAT(MessageOf([&] { ParseLink(FormatLink(link) + "&x.sig=" + FormatSignature(second)); }),
              HasSubstr("two signatures"));
  for (const std::string& wrong : {std::string(), std::string(191, 'a'), std::string(192, 'g')}) {
    EXPECT_THAT(MessageOf([&] { ParseLink(plain + "&x.sig=" + wrong); }),
                HasSubstr("192 hexadecimal digits"));
    WriteSampleFile(temp_.path() / SignatureFile({}), wrong);
    EXPECT_THAT(MessageOf([&] { ReadSignatureFile(temp_.path(), {}); }), HasSubstr("manifest.sig"));
  }
}

TEST_F(SignatureTest, AFolderKeepsOnePerTeamWithItsAuthority) {
  const std::string crew = "a certificate\nof two lines\n";
  WriteSignatureFile(temp_.path(), crew, signature_);
  EXPECT_EQ(ReadSignatureFile(temp_.path(), TeamHash(crew)), signature_);
  EXPECT_EQ(ReadSignatureFile(temp_.path(), {}), std::nullopt);
  EXPECT_THAT(SignedAuthorities(temp_.path()), testing::ElementsAre(crew));
  WriteSignatureFile(temp_.path(), {}, signature_);
  EXPECT_THAT(SignedAuthorities(temp_.path()), testing::ElementsAre("", crew));
  // One of another team is not that.
  WriteSampleFile(temp_.path() / SignatureFile(TeamHash(crew)),
                  FormatSignature(signature_) + "\nanother certificate\n");
  EXPECT_THAT(SignedAuthorities(temp_.path()), testing::ElementsAre(""));
}

TEST_F(SignatureTest, ATorrentHasTheSameHashWithIt) {
  Torrent torrent;
  torrent.name = "signed";
  torrent.files.push_back({.path = "manifest.json", .size = 5, .root = {1}, .layer = {}});
  torrent.files.push_back({.path = "shards/00000.bin", .size = 4096, .root = {2}, .layer = {}});
  const Digest hash = InfoHash(torrent);
  torrent.signature = signature_;
  torrent.trackers = {"udp://a:1"};
  torrent.web_seeds = {"http://a/"};
  const Torrent again = ParseTorrent(WriteTorrent(torrent), "again");
  EXPECT_EQ(InfoHash(again), hash);
  EXPECT_EQ(again.signature, signature_);
  std::string shorter = WriteTorrent(torrent);
  const std::string key = "17:doppler signature96:";
  const std::size_t place = shorter.find(key);
  ASSERT_NE(place, std::string::npos);
  shorter.erase(place + key.size(), 1).replace(place + key.size() - 3, 2, "95");
  EXPECT_THAT(MessageOf([&] { ParseTorrent(shorter, "shorter"); }), HasSubstr("96 bytes"));
}

}  // namespace
}  // namespace doppler
