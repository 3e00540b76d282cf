#include "engine/replay.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"

namespace doppler {
namespace {

using testing::HasSubstr;

// One layer of six experts, one per token, used in this order.
ExpertTrace Sequence(const std::vector<int>& experts) {
  ExpertTrace trace;
  trace.model = {.name = "m",
                 .experts_per_token = 1,
                 .experts_of_layer = {6},
                 .record_bytes_of_layer = {4096}};
  for (const int expert : experts) trace.uses.push_back({0, 1, {expert}});
  return trace;
}

// Decode of a model with skewed routing that drifts.
ExpertTrace Random(unsigned seed) {
  constexpr int kLayers = 5;
  ExpertTrace trace;
  trace.model = {.name = "m",
                 .experts_per_token = 3,
                 .experts_of_layer = std::vector<int>(kLayers, 16),
                 .record_bytes_of_layer = std::vector<Bytes>(kLayers, 4096)};
  std::mt19937 random(seed);
  for (int token = 0; token < 300; ++token) {
    for (int layer = 0; layer < kLayers; ++layer) {
      TraceUse use{layer, 1, {}};
      while (use.experts.size() < 3) {
        const int expert =
            static_cast<int>(std::min(random() % 16, random() % 16) + unsigned(token / 50)) % 16;
        if (std::find(use.experts.begin(), use.experts.end(), expert) == use.experts.end()) {
          use.experts.push_back(expert);
        }
      }
      trace.uses.push_back(use);
    }
  }
  return trace;
}

std::uint64_t Hits(const ExpertTrace& trace, ReplayPolicy policy, std::size_t slots) {
  return Replay(trace, {.policy = policy, .slots = slots})->hits;
}

TEST(Replay, FollowsTheTextbook) {
  // Belady's own kind of example, three places: LRU keeps the wrong ones.
  const ExpertTrace trace = Sequence({0, 1, 2, 3, 0, 1, 4, 0, 1, 2, 3, 4});
  EXPECT_EQ(Hits(trace, ReplayPolicy::kRecency, 3), 2u);
  EXPECT_EQ(Hits(trace, ReplayPolicy::kOptimal, 3), 5u);
  EXPECT_EQ(Hits(trace, ReplayPolicy::kOptimal, 6), 7u);
}

TEST(Replay, FrequencyKeepsWhatRecencyLosesInACycle) {
  std::vector<int> experts;
  for (int round = 0; round < 50; ++round) {
    experts.insert(experts.end(), {0, 0, 1, 2, 3, 4});
  }
  const ExpertTrace trace = Sequence(experts);
  EXPECT_EQ(Hits(trace, ReplayPolicy::kRecency, 3), 50u);
  EXPECT_GE(Hits(trace, ReplayPolicy::kFrequency, 3), 98u);
}

TEST(Replay, NothingBeatsTheOptimum) {
  for (unsigned seed = 0; seed < 5; ++seed) {
    const ExpertTrace trace = Random(seed);
    for (const std::size_t slots : {3u, 10u, 20u, 40u, 80u}) {
      const std::uint64_t best = Hits(trace, ReplayPolicy::kOptimal, slots);
      for (const ReplayPolicy policy :
           {ReplayPolicy::kDefault, ReplayPolicy::kRecency, ReplayPolicy::kFrequency}) {
        EXPECT_LE(Hits(trace, policy, slots), best) << slots;
      }
      EXPECT_EQ(Replay(trace, {.slots = slots})->uses, 300u * 5 * 3);
    }
    // When all fits, only first uses miss, whoever decides.
    EXPECT_EQ(Hits(trace, ReplayPolicy::kLayers, 80), Hits(trace, ReplayPolicy::kOptimal, 80));
  }
}

TEST(Replay, APassingPromptLeavesTheWorkingSet) {
  ExpertTrace trace = Sequence({0, 1, 0, 1});
  trace.uses.push_back({0, 40, {2, 3, 4, 5}});
  trace.uses.push_back({0, 1, {0}});
  trace.uses.push_back({0, 1, {1}});
  const ReplayResult result = *Replay(trace, {.policy = ReplayPolicy::kRecency, .slots = 3});
  EXPECT_EQ(result.decode_hits, 4u);
  EXPECT_EQ(result.decode_uses, 6u);
  EXPECT_EQ(result.uses, 10u);
}

TEST(Replay, NeedsRoomForOneToken) {
  EXPECT_FALSE(Replay(Random(1), {.slots = 2}));
  EXPECT_FALSE(Replay(Random(1), {.policy = ReplayPolicy::kLayers, .slots = 14}));
}

constexpr std::string_view kHead =
    R"({"otherData":{"format":"doppler-trace","version":1,"model":"m","expertsPerToken":1,)"
    R"("experts":[0,4],"recordBytes":[0,4096]},"traceEvents":[)";

std::string WithUse(std::string_view args) {
  return std::string(kHead) + R"({"name":"experts","args":{)" + std::string(args) + "}}]}";
}

TEST(ParseTrace, ReadsUses) {
  const ExpertTrace trace =
      ParseTrace(WithUse(R"("layer":1,"tokens":7,"experts":[3,0],"hits":1)"), "t");
  EXPECT_EQ(trace.model.Records(), 4u);
  EXPECT_EQ(trace.model.TotalBytes(), 4u * 4096);
  ASSERT_EQ(trace.uses.size(), 1u);
  EXPECT_EQ(trace.uses[0].tokens, 7);
  EXPECT_EQ(trace.uses[0].experts, (std::vector<int>{3, 0}));
}

TEST(ParseTrace, SaysWhatIsWrong) {
  const auto message = [](const std::string& text) {
    return MessageOf([&] { ParseTrace(text, "t.json"); });
  };
  EXPECT_THAT(message("{"), HasSubstr("t.json"));
  EXPECT_THAT(message(WithUse(R"("layer":2,"tokens":1,"experts":[1])")), HasSubstr("layer"));
  EXPECT_THAT(message(WithUse(R"("layer":0,"tokens":1,"experts":[1])")), HasSubstr("no experts"));
  EXPECT_THAT(message(WithUse(R"("layer":1,"tokens":1,"experts":[4])")), HasSubstr("experts"));
  EXPECT_THAT(message(WithUse(R"("layer":1,"tokens":1,"experts":[1,1])")), HasSubstr("twice"));
  EXPECT_THAT(message(WithUse(R"("layer":1,"tokens":1,"experts":[])")), HasSubstr("at least one"));
  std::string other(kHead);
  other.replace(other.find("doppler-trace"), 13, "something-else");
  EXPECT_THAT(message(other + "]}"), HasSubstr("not a trace"));
}

}  // namespace
}  // namespace doppler
