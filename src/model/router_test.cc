#include "model/router.h"

#include <array>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

TEST(RouteToken, TakesTheMostProbableInOrder) {
  ModelConfig config;
  config.normalize_expert_weights = true;
  std::array<float, 4> scores = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};
  std::array<RoutedExpert, 2> chosen;
  RouteToken(config, scores, chosen);
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
  RouteToken(config, scores, chosen);
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
      EXPECT_THROW(RouteToken(config, scores, chosen), Error);
    }
  }
}

}  // namespace
}  // namespace doppler
