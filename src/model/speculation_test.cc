#include "model/speculation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "model/layer.h"

namespace doppler {
namespace {

constexpr int kDim = 16;
constexpr int kChoices = 8;

// Four layers, the first and the third without experts.
ModelConfig SmallConfig(RoutingKind routing) {
  ModelConfig config;
  config.num_layers = 4;
  config.model_dim = kDim;
  config.num_heads = config.num_kv_heads = 1;
  config.head_dim = kDim;
  config.vocab_size = 4;
  config.ffn_dim = kDim;
  config.num_experts = kChoices;
  config.experts_per_token = 2;
  config.expert_ffn_dim = kDim;
  config.dense_layers = {0, 2};
  config.routing = routing;
  config.norm_epsilon = 1e-5f;
  if (routing == RoutingKind::kSigmoid) {
    config.expert_groups = 4;
    config.expert_groups_used = 2;
  }
  return config;
}

class PredictionTest : public testing::TestWithParam<RoutingKind> {
 protected:
  PredictionTest() {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (std::vector<float>* values : {&norm_, &router_, &bias_, &correction_, &hidden_}) {
      for (float& value : *values) value = normal(random);
    }
    weights_.layers.resize(4);
    LayerWeights& layer = weights_.layers[3];
    layer.ffn_norm.weight = norm_;
    layer.router = {.weight = {.data = std::as_bytes(std::span(router_)).data(),
                               .dtype = DType::kF32,
                               .rows = kChoices,
                               .cols = kDim},
                    .bias = bias_};
    if (GetParam() == RoutingKind::kSigmoid) layer.router_correction = correction_;
    std::copy(hidden_.begin(), hidden_.end(), activations_.hidden.Row(0));
  }

  // By the definition: the choice among W * (h / rms(h) * norm) + b.
  std::vector<RoutedExpert> Expected(std::size_t count) const {
    float squares = 0;
    for (const float value : hidden_) squares += value * value;
    const float scale = 1 / std::sqrt(squares / kDim + config_.norm_epsilon);
    std::vector<float> scores(bias_);
    for (std::size_t e = 0; e < kChoices; ++e) {
      for (std::size_t i = 0; i < kDim; ++i) {
        scores[e] += router_[e * kDim + i] * hidden_[i] * scale * norm_[i];
      }
    }
    std::vector<RoutedExpert> chosen(count);
    RouteToken(config_, scores, weights_.layers[3].router_correction, chosen);
    return chosen;
  }

  const ModelConfig config_ = SmallConfig(GetParam());
  std::vector<float> norm_ = std::vector<float>(kDim);
  std::vector<float> router_ = std::vector<float>(kChoices * kDim);
  std::vector<float> bias_ = std::vector<float>(kChoices);
  std::vector<float> correction_ = std::vector<float>(kChoices);
  std::vector<float> hidden_ = std::vector<float>(kDim);
  Weights weights_;
  ThreadPool pool_{1};
  std::unique_ptr<Backend> backend_ = MakeReferenceBackend(pool_);
  MemoryBudget budget_{kMiB};
  Activations activations_{config_, {.ubatch = 1, .logit_rows = 1}, budget_};
  PassTimes times_;
  Model model_{.config = config_,
               .weights = weights_,
               .backend = *backend_,
               .rope = {},
               .long_rope = {},
               .on_route = {},
               .on_experts = {},
               .times = times_};
};

TEST_P(PredictionTest, IsTheRoutersChoiceForTheNormedResidual) {
  for (const std::size_t count : {1u, 2u, 4u}) {
    std::vector<RoutedExpert> predicted(count);
    ASSERT_TRUE(PredictExperts(model_, LayerId(3), activations_, predicted));
    const std::vector<RoutedExpert> expected = Expected(count);
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(predicted[i].expert, expected[i].expert);
  }
  EXPECT_TRUE(std::equal(hidden_.begin(), hidden_.end(), activations_.hidden.Row(0)));
}

TEST_P(PredictionTest, ScoresThatAreNotFiniteAreNoError) {
  activations_.hidden.Row(0)[3] = std::numeric_limits<float>::infinity();
  std::vector<RoutedExpert> predicted(2);
  EXPECT_FALSE(PredictExperts(model_, LayerId(3), activations_, predicted));
}

TEST_P(PredictionTest, NoMoreThanTheRouterCanChoose) {
  const int most = GetParam() == RoutingKind::kSigmoid ? 4 : kChoices;
  EXPECT_EQ(Speculation(config_, 100).predictions(), most);
  EXPECT_EQ(Speculation(config_, 3).predictions(), 3);
  std::vector<RoutedExpert> predicted(static_cast<std::size_t>(most));
  ASSERT_TRUE(PredictExperts(model_, LayerId(3), activations_, predicted));
  std::vector<int> experts;
  for (const RoutedExpert& choice : predicted) experts.push_back(choice.expert.value);
  std::sort(experts.begin(), experts.end());
  EXPECT_EQ(std::adjacent_find(experts.begin(), experts.end()), experts.end());
}

INSTANTIATE_TEST_SUITE_P(Routers, PredictionTest,
                         testing::Values(RoutingKind::kSoftmax, RoutingKind::kSparseMixer,
                                         RoutingKind::kSigmoid),
                         [](const auto& tested) {
                           switch (tested.param) {
                             case RoutingKind::kSoftmax:
                               return "Softmax";
                             case RoutingKind::kSparseMixer:
                               return "SparseMixer";
                             case RoutingKind::kSigmoid:
                               return "Sigmoid";
                           }
                           return "";
                         });

TEST(NextMoeLayer, PassesOverDenseLayers) {
  const ModelConfig config = SmallConfig(RoutingKind::kSoftmax);
  EXPECT_EQ(NextMoeLayer(config, LayerId(0)), LayerId(1));
  EXPECT_EQ(NextMoeLayer(config, LayerId(1)), LayerId(3));
  EXPECT_EQ(NextMoeLayer(config, LayerId(3)), std::nullopt);
}

}  // namespace
}  // namespace doppler
