#include "swarm/team.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "io/file.h"
#include "swarm/sample_artifact.h"

namespace doppler {

using testing::HasSubstr;

namespace fs = std::filesystem;

class TeamTest : public testing::Test {
 protected:
  TeamTest() { MakeTeam(crew_, {.name = "crew"}); }

  fs::path Invite(const std::string& name, const std::vector<std::string>& models = {}) const {
    fs::path folder = temp_.path() / "members" / name;
    InviteMember(crew_, {.name = name, .models = models, .output = folder});
    return folder;
  }
  static std::string ReadProblem(const fs::path& folder) {
    return MessageOf([&] { ReadTeam(folder); });
  }

  const TempFolder temp_;
  const fs::path crew_ = temp_.path() / "crew";
};

TEST_F(TeamTest, AMemberHasWhatItNeedsAndNoMore) {
  const fs::path alice = Invite("alice");
  EXPECT_EQ(ReadTeam(alice).authority, ReadTeam(crew_).authority);
  EXPECT_NE(ReadTeam(alice).member.private_key, ReadTeam(crew_).member.private_key);
  EXPECT_FALSE(fs::exists(alice / "ca.key.pem"));
  for (const fs::path& key :
       {alice / "member.key.pem", crew_ / "member.key.pem", crew_ / "ca.key.pem"}) {
    EXPECT_EQ(fs::status(key).permissions(), fs::perms::owner_read | fs::perms::owner_write) << key;
  }
  EXPECT_THAT(MessageOf([&] {
                InviteMember(alice, {.name = "bob", .models = {}, .output = temp_.path() / "b"});
              }),
              HasSubstr("only who runs the team can invite"));
}

TEST_F(TeamTest, NothingIsOverwritten) {
  Invite("alice");
  EXPECT_THAT(MessageOf([&] { Invite("alice"); }), HasSubstr("exists already"));
  EXPECT_THAT(MessageOf([&] { MakeTeam(crew_, {.name = "crew"}); }), HasSubstr("exists already"));
}

TEST_F(TeamTest, RefusesAFolderThatIsNone) {
  EXPECT_THAT(ReadProblem(temp_.path()), HasSubstr("there is no ca.pem"));
  const fs::path alice = Invite("alice");
  fs::permissions(alice / "member.key.pem", fs::perms::group_read, fs::perm_options::add);
  EXPECT_THAT(ReadProblem(alice), HasSubstr("'chmod 600'"));
  const fs::path bob = Invite("bob");
  WriteSampleFile(bob / "ca.pem", "none");
  EXPECT_THAT(ReadProblem(bob), HasSubstr("ca.pem': a team's certificate is not one X.509"));
  const fs::path other = temp_.path() / "other";
  MakeTeam(other, {.name = "other"});
  WriteSampleFile(bob / "ca.pem", ReadTextFile(other / "ca.pem"));
  EXPECT_THAT(ReadProblem(bob), HasSubstr("signed by another team's authority"));
}

TEST_F(TeamTest, AModelIsForWhoMayJoinIt) {
  const Team all = ReadTeam(Invite("alice"));
  const Team one = ReadTeam(Invite("bob", {"llama"}));
  const std::string& authority = all.authority;
  const auto problem = [](const Team* team, const std::string& of, const std::string& model) {
    return MessageOf([&] { RequireMember(team, of, model); });
  };
  EXPECT_NO_THROW(RequireMember(&all, authority, "qwen"));
  EXPECT_NO_THROW(RequireMember(&one, authority, "llama"));
  EXPECT_NO_THROW(RequireMember(nullptr, "", "qwen"));
  // libtorrent would take the beginning of a name.
  EXPECT_THAT(problem(&one, authority, "llama-2"), HasSubstr("is for llama and not for the model"));
  EXPECT_THAT(problem(nullptr, authority, "qwen"), HasSubstr("--team FOLDER"));
  EXPECT_THAT(problem(&all, "", "qwen"), HasSubstr("is not a team's"));
  const fs::path other = temp_.path() / "other";
  MakeTeam(other, {.name = "other"});
  EXPECT_THAT(problem(&all, ReadTeam(other).authority, "qwen"), HasSubstr("to another team"));
  EXPECT_NO_THROW(RequireMemberForLink(&all, TeamHash(authority), ""));
  EXPECT_THAT(MessageOf([&] { RequireMemberForLink(&all, {}, ""); }), HasSubstr("is not a team's"));
}

}  // namespace doppler
