// `doppler peers`: who has how much of a model.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/swarm.h"
#include "swarm/sample_artifact.h"

namespace doppler {

using testing::HasSubstr;

namespace {

// What `peers` prints: again, as long as it came too early on a busy machine.
std::string PeersOutput(const std::vector<std::string>& arguments,
                        const std::function<bool(const std::string&)>& complete) {
  std::string output;
  for (int attempt = 0; attempt < 10; ++attempt) {
    output = Output(arguments);
    if (complete(output)) break;
  }
  return output;
}

bool HasTwoPeersAndARate(const std::string& output) {
  const nlohmann::json found = nlohmann::json::parse(output);
  bool any_rate = false;
  for (const nlohmann::json& holder : found["holders"]) {
    any_rate |= holder["bytes_per_second"].is_number() && holder["bytes_per_second"] > 0;
  }
  return found["holders"].size() == 2 && any_rate;
}

// A model of four experts, and a copy of it without some of their shards.
class ModelAndPart {
 public:
  explicit ModelAndPart(const std::vector<std::string>& missing) {
    WriteSampleArtifact(model());
    fs::copy(model(), part(), fs::copy_options::recursive);
    for (const std::string& name : missing) fs::remove(part() / "shards" / name);
  }
  fs::path model() const { return temp_.path() / "model"; }
  fs::path part() const { return temp_.path() / "part"; }

 private:
  const TempFolder temp_;
};

}  // namespace

TEST(PeersTest, ShowsWhoHasWhatAndWhatIsRare) {
  const ModelAndPart folders({"00001.bin", "00004.bin"});
  const Seed all(folders.model());
  const Seed some(folders.part());
  const std::string output =
      PeersOutput({"peers", all.link(), "--private", "--peer", all.peer(), "--peer", some.peer(),
                   "--wait", "2", "--json", "--probe", "1M"},
                  HasTwoPeersAndARate);
  ASSERT_TRUE(HasTwoPeersAndARate(output)) << output;
  const nlohmann::json found = nlohmann::json::parse(output);
  EXPECT_EQ(found["experts"], 4);
  EXPECT_EQ(found["experts_by_holders"], nlohmann::json({0, 2, 2}));
  ASSERT_EQ(found["rare_experts"].size(), 2u);
  EXPECT_EQ(found["rare_experts"][0],
            nlohmann::json({{"layer", 0}, {"expert", 0}, {"holder", all.peer()}}));
  for (const nlohmann::json& holder : found["holders"]) {
    const bool whole = holder["peer"] == all.peer();
    EXPECT_EQ(holder["peer"], whole ? all.peer() : some.peer());
    EXPECT_EQ(holder["experts"], whole ? 4 : 2);
    EXPECT_EQ(holder["client"], "doppler");
    EXPECT_EQ(holder["part"] == 1.0, whole);
    EXPECT_GE(holder["round_trip_seconds"], 0);
  }
}

TEST(PeersTest, WhatIsHereCountsAndIsNotTouched) {
  const ModelAndPart folders({"00001.bin"});
  const fs::path part = folders.part();
  const Seed seed(folders.model());
  const std::string text = PeersOutput(
      {"peers", part, "--private", "--peer", seed.peer(), "--wait", "0.7"},
      [&](const std::string& output) { return output.find(seed.peer()) != std::string::npos; });
  EXPECT_THAT(text, HasSubstr("\nhere "));
  EXPECT_THAT(text, HasSubstr("1 expert is held by only one\n  layer 0: 0\n"));
  EXPECT_THAT(text, HasSubstr("3 experts are held by 2\n"));
  EXPECT_EQ(Entries(part / "shards").size(), Entries(folders.model() / "shards").size() - 1);
}

TEST(PeersTest, SaysThatNobodyIsThere) {
  const std::string link = "magnet:?xt=urn:btmh:1220" + std::string(64, 'a');
  ExpectRefused(Doppler({"peers", link, "--private", "--wait", "0.5"}), kFailed,
                {"nobody has told of the model in 0.5 s", "--peer"});
}

}  // namespace doppler
