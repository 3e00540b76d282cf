#include "swarm/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "swarm/sample_keys.h"

namespace doppler {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class CertificateTest : public testing::Test {
 protected:
  std::string ProblemWith(const KeyPair& member, std::time_t now = std::time(nullptr)) const {
    return MessageOf([&] { RequireSigned(member, authority_.certificate, "it", now); });
  }

  const KeyPair authority_ = MakeAuthority("crew", ValidFor(10));
  const KeyPair member_ = MakeMember(authority_, "alice", {}, ValidFor(10));
};

TEST_F(CertificateTest, AMemberIsTheTeams) {
  EXPECT_NO_THROW(RequireAuthority(authority_.certificate));
  EXPECT_NO_THROW(RequireAuthority(kSampleAuthority));
  EXPECT_THAT(authority_.certificate.size(), testing::Lt(kMostPemBytes / 4));
  EXPECT_NO_THROW(RequireSigned(member_, authority_.certificate, "it", std::time(nullptr)));
  EXPECT_THAT(ModelsOf(member_.certificate), ElementsAre("*"));
}

TEST_F(CertificateTest, ItMayBeForSomeModels) {
  const KeyPair some = MakeMember(authority_, "bob", {"a_b-1.5", "other"}, ValidFor(1));
  EXPECT_THAT(ModelsOf(some.certificate), ElementsAre("a_b-1.5", "other"));
  EXPECT_NO_THROW(RequireSigned(some, authority_.certificate, "it", std::time(nullptr)));
}

TEST_F(CertificateTest, RefusesAnotherTeams) {
  const KeyPair other = MakeAuthority("crew", ValidFor(10));
  EXPECT_NE(TeamHash(other.certificate), TeamHash(authority_.certificate));
  EXPECT_THAT(ProblemWith(MakeMember(other, "alice", {}, ValidFor(10))),
              HasSubstr("it was signed by another team's authority"));
}

TEST_F(CertificateTest, RefusesItBeforeAndAfterItsTime) {
  constexpr std::time_t kDay = 24 * 60 * 60;
  const std::time_t now = std::time(nullptr);
  EXPECT_THAT(ProblemWith(member_, now + 11 * kDay), StartsWith("it expired on "));
  EXPECT_THAT(ProblemWith(member_, now - 2 * kDay), StartsWith("it is good only from "));
  const KeyPair longer = MakeMember(authority_, "alice", {}, ValidFor(20));
  EXPECT_THAT(ProblemWith(longer, now + 11 * kDay),
              HasSubstr("the team's own certificate expired"));
}

TEST_F(CertificateTest, RefusesWhatDoesNotBelongTogether) {
  KeyPair mixed = member_;
  mixed.private_key = MakeMember(authority_, "bob", {}, ValidFor(10)).private_key;
  EXPECT_THAT(ProblemWith(mixed), HasSubstr("do not belong together"));
  mixed.private_key = "none";
  EXPECT_THAT(ProblemWith(mixed), HasSubstr("do not belong together"));
  mixed.certificate = "none";
  EXPECT_THAT(ProblemWith(mixed), HasSubstr("is not an X.509 certificate"));
  const KeyPair halves = {.certificate = authority_.certificate,
                          .private_key = member_.private_key};
  EXPECT_THAT(MessageOf([&] { MakeMember(halves, "bob", {}, ValidFor(1)); }),
              HasSubstr("do not belong together"));
  EXPECT_THAT(MessageOf([&] { ModelsOf("none"); }), HasSubstr("not an X.509"));
}

TEST(CertificateNameTest, IsPlain) {
  EXPECT_TRUE(IsPlainName("alice.laptop-2"));
  for (const std::string& name : {std::string(), std::string(".a"), std::string("a b"),
                                  std::string("a/b"), std::string(65, 'a')}) {
    EXPECT_FALSE(IsPlainName(name)) << name;
  }
}

}  // namespace doppler
