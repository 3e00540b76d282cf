// Promise 1: residency never changes the answer. Whatever fits, is evicted, arrives late or is
// computed by how many threads, every logit has the same bits.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/model_case.h"

namespace doppler {
namespace {

constexpr std::size_t kPrefilled = 24;
constexpr std::size_t kDecoded = 8;

std::vector<TokenId> SomeTokens(int vocab_size) {
  std::mt19937 random(7);
  std::vector<TokenId> tokens(kPrefilled + kDecoded);
  for (TokenId& token : tokens) {
    token = static_cast<TokenId>(random() % static_cast<unsigned>(vocab_size));
  }
  return tokens;
}

// Evicts any slot that may go.
EvictionPolicy ShuffledPolicy(unsigned seed) {
  return [random = std::mt19937(seed)](const ExpertUse&) mutable {
    return static_cast<double>(random() % 1000);
  };
}

// Finishes every read late, by up to a millisecond, so that reads overtake each other.
std::unique_ptr<AsyncReader> MakeDelayedReader(const AsyncReaderOptions& options,
                                               ReadDone on_done) {
  const auto counter = std::make_shared<std::atomic<unsigned>>(0);
  return MakeAsyncReader(
      options, [counter, on_done = std::move(on_done)](std::uint64_t tag, int error) {
        const unsigned turn = counter->fetch_add(1);
        std::this_thread::sleep_for(std::chrono::microseconds(turn * 7919 % 1000));
        on_done(tag, error);
      });
}

struct Variant {
  std::size_t slots = ~std::size_t{0};
  int threads = 1;
  bool shuffled = false;
  bool delayed = false;
  int ubatch = 16;
};

std::vector<float> Logits(const std::filesystem::path& model, const Variant& variant) {
  EngineOptions options;
  options.with_tokenizer = false;
  options.context = 64;
  options.ubatch = variant.ubatch;
  options.logit_rows = 16;
  options.threads = variant.threads;
  options.most_slots = variant.slots;
  if (variant.shuffled) options.cache.policy = ShuffledPolicy(3);
  if (variant.delayed) options.cache.make_reader = MakeDelayedReader;
  Engine engine(model, options);
  EXPECT_EQ(engine.plan().slots, std::min(variant.slots, engine.plan().records));
  return AllLogits(engine, SomeTokens(engine.config().vocab_size), kDecoded);
}

void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  ASSERT_FALSE(a.empty());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

class ResidencyTest : public testing::TestWithParam<Variant> {};

TEST_P(ResidencyTest, DemoModelGivesTheSameBits) {
  static const std::vector<float> expected = Logits(DemoModel(), {});
  ExpectSameBits(Logits(DemoModel(), GetParam()), expected);
}

std::string VariantName(const testing::TestParamInfo<Variant>& tested) {
  const Variant& variant = tested.param;
  std::string slots = variant.slots == ~std::size_t{0} ? "All" : std::to_string(variant.slots);
  return slots + "Slots" + std::to_string(variant.threads) + "Threads" +
         (variant.shuffled ? "Shuffled" : "") + (variant.delayed ? "Delayed" : "") +
         (variant.ubatch == 16 ? "" : "Ubatch" + std::to_string(variant.ubatch));
}

INSTANTIATE_TEST_SUITE_P(
    Budgets, ResidencyTest,
    testing::Values(Variant{.threads = 2}, Variant{.slots = 60, .threads = 1},
                    Variant{.slots = 60, .threads = 2, .shuffled = true},
                    Variant{.slots = 24, .threads = 2, .delayed = true},
                    Variant{.slots = 9, .threads = 1, .shuffled = true, .delayed = true},
                    Variant{.slots = 4, .threads = 1}, Variant{.slots = 4, .threads = 2},
                    Variant{.slots = 4, .threads = 2, .shuffled = true, .delayed = true},
                    Variant{.slots = 5, .threads = 2, .ubatch = 1},
                    Variant{.threads = 3, .ubatch = 32}, Variant{.slots = 7, .ubatch = 5}),
    VariantName);

class ShardingResidencyTest : public testing::TestWithParam<ShardingStrategy> {};

TEST_P(ShardingResidencyTest, EverySharding) {
  const std::filesystem::path checkpoint = DataFolder() / "golden" / "qwen3-moe";
  static const ConvertedModel expert(checkpoint);
  static const std::vector<float> expected = Logits(expert.path(), {});
  const ConvertedModel model(checkpoint, GetParam());
  ExpectSameBits(Logits(model.path(), {.slots = 4, .threads = 2, .delayed = true}), expected);
}

INSTANTIATE_TEST_SUITE_P(Strategies, ShardingResidencyTest,
                         testing::Values(ShardingStrategy::kExpert, ShardingStrategy::kLayer,
                                         ShardingStrategy::kFixed),
                         [](const auto& tested) {
                           return std::string(StrategyName(tested.param));
                         });

class FamilyResidencyTest : public testing::TestWithParam<const char*> {};

TEST_P(FamilyResidencyTest, BudgetsUbatchesAndDecodingGiveTheSameBits) {
  const ConvertedModel model(DataFolder() / "golden" / GetParam());
  const std::vector<float> expected = Logits(model.path(), {});
  ExpectSameBits(Logits(model.path(), {.slots = 4, .threads = 2, .shuffled = true}), expected);
  ExpectSameBits(Logits(model.path(), {.slots = 5, .ubatch = 5}), expected);
  ExpectSameBits(Logits(model.path(), {.threads = 3, .ubatch = 1}), expected);
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyResidencyTest,
                         testing::Values("mixtral", "gpt-oss", "phimoe"), [](const auto& tested) {
                           std::string name = tested.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Budget, TooSmallIsRefusedWithTheSmallestThatWouldDo) {
  EngineOptions options;
  options.with_tokenizer = false;
  options.host_memory = kMiB;
  const PreparedModel prepared(DemoModel(), options);
  const PlanResult refused = prepared.Plan(options);
  ASSERT_FALSE(refused.plan);
  EXPECT_THROW(Engine(DemoModel(), options), Error);
  // Generous, since this test process allocates in between; tests/e2e runs the exact size.
  options.host_memory = 2 * refused.smallest;
  Engine engine(DemoModel(), options);
  EXPECT_GE(engine.plan().slots, 4u);
  EXPECT_LE(engine.plan().Total(), *options.host_memory);
}

}  // namespace
}  // namespace doppler
