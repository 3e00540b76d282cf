#include "model/router.h"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

TEST(RouteToken, TakesTheMostProbableInOrder) {
  ModelConfig config;
  config.normalize_expert_weights = true;
  std::array<float, 4> scores = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};
  std::array<RoutedExpert, 2> chosen;
  RouteToken(config, scores, {}, chosen);
  EXPECT_EQ(chosen[0].expert, ExpertId(1));
  EXPECT_EQ(chosen[1].expert, ExpertId(3));
  EXPECT_NEAR(chosen[0].weight, 0.4f / 0.7f, 1e-6f);
  EXPECT_NEAR(chosen[1].weight, 0.3f / 0.7f, 1e-6f);
}

TEST(RouteToken, KeepsProbabilitiesWhenNotNormalised) {
  ModelConfig config;
  config.normalize_expert_weights = false;
  std::array<float, 3> scores = {0, 0, 0};
  std::array<RoutedExpert, 2> chosen;
  RouteToken(config, scores, {}, chosen);
  // Equal scores go by number.
  EXPECT_EQ(chosen[0].expert, ExpertId(0));
  EXPECT_EQ(chosen[1].expert, ExpertId(1));
  EXPECT_NEAR(chosen[0].weight, 1 / 3.0f, 1e-6f);
}

TEST(RouteToken, RefusesScoresThatAreNotFinite) {
  const ModelConfig config;
  std::array<RoutedExpert, 2> chosen;
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const std::size_t place : {0u, 1u, 2u}) {
      std::array<float, 3> scores = {0, 1, 2};
      scores[place] = bad;
      EXPECT_THROW(RouteToken(config, scores, {}, chosen), Error);
    }
  }
}

ModelConfig SigmoidConfig() {
  ModelConfig config;
  config.routing = RoutingKind::kSigmoid;
  return config;
}

float Sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

std::vector<int> Chosen(std::span<const RoutedExpert> routed) {
  std::vector<int> ids;
  for (const RoutedExpert& one : routed) ids.push_back(one.expert.value);
  return ids;
}

TEST(RouteTokenBySigmoid, TheCorrectionChoosesAndTheProbabilityWeighs) {
  ModelConfig config = SigmoidConfig();
  config.expert_weight_scale = 2.5f;
  const std::array<float, 4> correction = {0, 0, 0, 100};
  std::array<RoutedExpert, 2> chosen;
  std::array<float, 4> scores = {1, 3, 2, -4};
  RouteToken(config, scores, correction, chosen);
  EXPECT_EQ(Chosen(chosen), (std::vector<int>{3, 1}));
  const float sum = Sigmoid(-4) + Sigmoid(3);
  EXPECT_FLOAT_EQ(chosen[0].weight, 2.5f * Sigmoid(-4) / sum);
  EXPECT_FLOAT_EQ(chosen[1].weight, 2.5f * Sigmoid(3) / sum);

  config.normalize_expert_weights = false;
  scores = {1, 3, 2, -4};
  RouteToken(config, scores, correction, chosen);
  EXPECT_FLOAT_EQ(chosen[0].weight, 2.5f * Sigmoid(-4));
}

TEST(RouteTokenBySigmoid, OnlyExpertsOfTheBestGroupsAreChosen) {
  ModelConfig config = SigmoidConfig();
  config.expert_groups = 4;
  config.expert_groups_used = 2;
  const std::array<float, 8> correction = {};
  // The best expert of all is alone in its group; groups 0 and 2 have the best pairs.
  std::array<float, 8> scores = {1, 1.5f, 4, -9, 2, 0, -1, -1};
  std::array<RoutedExpert, 3> chosen;
  RouteToken(config, scores, correction, chosen);
  EXPECT_EQ(Chosen(chosen), (std::vector<int>{4, 1, 0}));
}

TEST(RouteTokenBySigmoid, EqualGroupsAndExpertsGoByNumber) {
  ModelConfig config = SigmoidConfig();
  config.expert_groups = 3;
  config.expert_groups_used = 2;
  const std::array<float, 6> correction = {};
  std::array<float, 6> scores = {};
  std::array<RoutedExpert, 3> chosen;
  RouteToken(config, scores, correction, chosen);
  EXPECT_EQ(Chosen(chosen), (std::vector<int>{0, 1, 2}));
}

TEST(RouteTokenBySigmoid, AGroupMayBeOneExpert) {
  ModelConfig config = SigmoidConfig();
  config.expert_groups = 3;
  config.expert_groups_used = 2;
  const std::array<float, 3> correction = {};
  std::array<float, 3> scores = {1, -1, 2};
  std::array<RoutedExpert, 2> chosen;
  RouteToken(config, scores, correction, chosen);
  EXPECT_EQ(Chosen(chosen), (std::vector<int>{2, 0}));
}

TEST(RouteTokenBySigmoid, RefusesACorrectionThatIsNotFinite) {
  const std::array<float, 2> correction = {0, std::numeric_limits<float>::quiet_NaN()};
  std::array<float, 2> scores = {1, 2};
  std::array<RoutedExpert, 1> chosen;
  EXPECT_THROW(RouteToken(SigmoidConfig(), scores, correction, chosen), Error);
}

TEST(RouteTokenBySparseMixer, EachChoiceIsWeighedAmongThoseNearIt) {
  ModelConfig config;
  config.routing = RoutingKind::kSparseMixer;
  config.router_jitter = 0.1f;
  // 4 and 3.5 are within a fifth of 4; 1 is not. Without the first, 3.5 has none near it.
  std::array<float, 3> scores = {1, 4, 3.5f};
  std::array<RoutedExpert, 2> chosen;
  RouteToken(config, scores, {}, chosen);
  EXPECT_EQ(Chosen(chosen), (std::vector<int>{1, 2}));
  EXPECT_FLOAT_EQ(chosen[0].weight, 1 / (1 + std::exp(-0.5f)));
  EXPECT_FLOAT_EQ(chosen[1].weight, 1);
}

}  // namespace
}  // namespace doppler
