#include "engine/sampler.h"

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/alloc_guard.h"
#include "base/error_testing.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

SamplerOptions Options(const std::function<void(SamplerOptions&)>& change) {
  SamplerOptions options{.temperature = 1.0f};
  change(options);
  return options;
}

std::map<TokenId, int> Count(const SamplerOptions& options, const std::vector<float>& logits,
                             int draws = 4000) {
  Sampler sampler(options, logits.size());
  std::map<TokenId, int> out;
  for (int i = 0; i < draws; ++i) ++out[sampler.Sample(logits)];
  return out;
}

std::vector<TokenId> Drawn(const SamplerOptions& options, const std::vector<float>& logits) {
  std::vector<TokenId> out;
  for (const auto& [token, count] : Count(options, logits)) out.push_back(token);
  return out;
}

// Probabilities 0.5, 0.05, 0.25, 0.2.
const std::vector<float> kLogits = {std::log(0.5f), std::log(0.05f), std::log(0.25f),
                                    std::log(0.2f)};

TEST(Sampler, TemperatureZeroIsGreedyWithTiesToTheLowestId) {
  Sampler sampler({.temperature = 0}, 4);
  EXPECT_EQ(sampler.Sample(kLogits), 0);
  EXPECT_EQ(sampler.Sample(std::vector<float>{1, 3, 3, 2}), 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{-kInfinity, -5, -kInfinity, -5}), 1);
}

TEST(Sampler, DrawsInProportion) {
  const auto counts = Count(Options([](auto&) {}), kLogits, 40'000);
  // Five standard deviations of a binomial count are below 500.
  EXPECT_NEAR(counts.at(0), 20'000, 500);
  EXPECT_NEAR(counts.at(1), 2'000, 250);
  EXPECT_NEAR(counts.at(2), 10'000, 500);
  EXPECT_NEAR(counts.at(3), 8'000, 500);
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  // At temperature 0.5 the probabilities are squared: 0.25, 0.0025, 0.0625, 0.04 of 0.355.
  const auto cold = Count(Options([](auto& o) { o.temperature = 0.5f; }), kLogits, 40'000);
  EXPECT_NEAR(cold.at(0), 40'000 * 0.25 / 0.355, 500);
  EXPECT_EQ(Drawn(Options([](auto& o) { o.temperature = 1e-40f; }), kLogits).size(), 1u);
  EXPECT_EQ(Drawn(Options([](auto& o) { o.temperature = 1e30f; }), kLogits).size(), 4u);
}

TEST(Sampler, TopK) {
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_k = 1; }), kLogits), ElementsAre(0));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_k = 3; }), kLogits), ElementsAre(0, 2, 3));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_k = 100; }), kLogits), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_k = 2; }), {1, 1, 1, 1}), ElementsAre(0, 1));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_p = 0.01f; }), kLogits), ElementsAre(0));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_p = 0.6f; }), kLogits), ElementsAre(0, 2));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_p = 0.94f; }), kLogits), ElementsAre(0, 2, 3));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_p = 0.3f; }), {1, 1, 1, 1}), ElementsAre(0, 1));
}

TEST(Sampler, TopPCountsWhatTopKLeft) {
  // Of 0.5 and 0.25 the first has two thirds.
  const auto both = [](auto& o) {
    o.top_k = 2;
    o.top_p = 0.65f;
  };
  EXPECT_THAT(Drawn(Options(both), kLogits), ElementsAre(0));
}

TEST(Sampler, MinPIsAFractionOfTheLikeliest) {
  EXPECT_THAT(Drawn(Options([](auto& o) { o.min_p = 0.45f; }), kLogits), ElementsAre(0, 2));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.min_p = 0.39f; }), kLogits), ElementsAre(0, 2, 3));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.min_p = 1.0f; }), kLogits), ElementsAre(0));
}

TEST(Sampler, FiltersComeBeforeTheTemperature) {
  // At temperature 10 all four are about as likely; top_p still sees 0.5 and 0.25.
  const auto hot = [](auto& o) {
    o.temperature = 10;
    o.top_p = 0.6f;
  };
  EXPECT_THAT(Drawn(Options(hot), kLogits), ElementsAre(0, 2));
}

TEST(Sampler, PenaltyOnTokensOfTheWindow) {
  Sampler sampler({.temperature = 0, .repetition_penalty = 2.0f, .repetition_window = 2}, 4);
  const std::vector<float> logits = {4, 3, -1, -1.5};
  EXPECT_EQ(sampler.Sample(logits), 0);
  sampler.Accept(0);
  sampler.Accept(0);  // counts once: 4 becomes 2
  EXPECT_EQ(sampler.Sample(logits), 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{4, 1.9f, -1, -1}), 0);
  EXPECT_EQ(sampler.Sample(std::vector<float>{-1, -9, -9, -1.5}), 3);  // -1 becomes -2
  sampler.Accept(1);                                                   // the window is now 0, 1
  EXPECT_EQ(sampler.Sample(logits), 0);
  sampler.Accept(2);  // and now 1, 2
  sampler.Accept(2);  // and now 2, 2
  EXPECT_EQ(sampler.Sample(std::vector<float>{1, 3, 4, 1}), 1);
}

TEST(Sampler, WindowOfZeroPenalizesNothing) {
  Sampler sampler({.temperature = 0, .repetition_penalty = 2.0f, .repetition_window = 0}, 2);
  sampler.Accept(0);
  EXPECT_EQ(sampler.Sample(std::vector<float>{4, 3}), 0);
}

// Fixes the generator, its conversion and the order of the walk: a change of any of them would
// change what a user's seed gives.
TEST(Sampler, SeedsGiveFixedSequences) {
  Sampler sampler({.temperature = 1.0f, .seed = 42}, 8);
  const std::vector<float> even(8, 0.0f);
  std::mt19937_64 random(42);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(sampler.Sample(even), static_cast<TokenId>(random() >> 61)) << i;
  }
  // The standard fixes the 10,000th number of the generator seeded with 5489.
  std::mt19937_64 standard;
  standard.discard(9'999);
  EXPECT_EQ(standard(), 9981545732273789042u);
}

TEST(Sampler, DifferentSeedsDiffer) {
  const std::vector<float> even(1000, 0.0f);
  Sampler a({.temperature = 1.0f, .seed = 1}, 1000);
  Sampler b({.temperature = 1.0f, .seed = 2}, 1000);
  int same = 0;
  for (int i = 0; i < 100; ++i) same += a.Sample(even) == b.Sample(even) ? 1 : 0;
  EXPECT_LT(same, 10);
}

TEST(Sampler, DoesNotAllocate) {
  const std::vector<float> logits(5000, 0.5f);
  const SamplerOptions options{
      .temperature = 0.7f, .top_k = 100, .top_p = 0.9f, .min_p = 0.05f, .repetition_penalty = 1.1f};
  Sampler sampler(options, logits.size());
  Sampler greedy({.temperature = 0}, logits.size());
  const std::vector<float> broken(5000, NAN);
  NoAllocScope no_allocation;
  for (int i = 0; i < 200; ++i) sampler.Accept(sampler.Sample(logits));
  greedy.Accept(greedy.Sample(logits));
  EXPECT_THROW(greedy.Sample(broken), Error);  // an error may
}

TEST(Sampler, BrokenLogitsAreErrors) {
  for (const float temperature : {0.0f, 1.0f}) {
    Sampler sampler({.temperature = temperature}, 3);
    const auto message = [&](std::vector<float> logits) {
      return MessageOf([&] { sampler.Sample(logits); });
    };
    EXPECT_THAT(message({1, NAN, 2}), HasSubstr("produced NaN as the logit of token 1"));
    EXPECT_THAT(message({1, 2, kInfinity}), HasSubstr("produced infinity as the logit of token 2"));
    EXPECT_THAT(message({-kInfinity, -kInfinity, -kInfinity}), HasSubstr("probability zero"));
  }
}

TEST(Sampler, ImpossibleTokensAreNeverDrawn) {
  const std::vector<float> logits = {-kInfinity, 0, -kInfinity, 0, -kInfinity};
  EXPECT_THAT(Drawn(Options([](auto&) {}), logits), ElementsAre(1, 3));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_p = 0.999f; }), logits), ElementsAre(1, 3));
  EXPECT_THAT(Drawn(Options([](auto& o) { o.top_k = 4; }), logits), ElementsAre(1, 3));
}

TEST(Sampler, OptionsAreUsageErrorsThatNameTheFlag) {
  const auto message = [](const std::function<void(SamplerOptions&)>& change) -> std::string {
    try {
      Sampler sampler(Options(change), 4);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  };
  for (const float value : {-1.0f, NAN, kInfinity}) {
    EXPECT_THAT(message([&](auto& o) { o.temperature = value; }), HasSubstr("--temperature"));
  }
  EXPECT_THAT(message([](auto& o) { o.top_k = -1; }), HasSubstr("--top-k is -1"));
  for (const float value : {0.0f, -0.1f, 1.1f, NAN}) {
    EXPECT_THAT(message([&](auto& o) { o.top_p = value; }), HasSubstr("--top-p"));
  }
  for (const float value : {-0.1f, 1.1f, NAN}) {
    EXPECT_THAT(message([&](auto& o) { o.min_p = value; }), HasSubstr("--min-p"));
  }
  for (const float value : {0.0f, -1.0f, NAN, kInfinity}) {
    EXPECT_THAT(message([&](auto& o) { o.repetition_penalty = value; }),
                HasSubstr("--repetition-penalty"));
  }
  for (const int value : {-1, 2'000'000'000}) {
    EXPECT_THAT(message([&](auto& o) { o.repetition_window = value; }),
                HasSubstr("--repetition-window"));
  }
  EXPECT_EQ(message([](auto&) {}), "no error");
}

}  // namespace
}  // namespace doppler
