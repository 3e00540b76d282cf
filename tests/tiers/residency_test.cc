// Promise 1: residency never changes the answer. Whatever fits, is evicted, arrives late or is
// computed by how many threads, every logit has the same bits.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/interrupt.h"
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
  std::size_t resident_layers = ~std::size_t{0};
};

EngineOptions OptionsOf(const Variant& variant) {
  EngineOptions options;
  options.with_tokenizer = false;
  options.context = 64;
  options.ubatch = variant.ubatch;
  options.logit_rows = 16;
  options.threads = variant.threads;
  options.most_slots = variant.slots;
  options.most_resident_layers = variant.resident_layers;
  if (variant.shuffled) options.cache.policy = ShuffledPolicy(3);
  if (variant.delayed) {
    options.cache.make_reader = MakeDelayedReader;
    options.stream.make_reader = MakeDelayedReader;
  }
  return options;
}

std::vector<float> Logits(const std::filesystem::path& model, const Variant& variant) {
  Engine engine(model, OptionsOf(variant));
  EXPECT_EQ(engine.plan().slots, std::min(variant.slots, engine.plan().records));
  const auto layers = static_cast<std::size_t>(engine.config().num_layers);
  EXPECT_EQ(engine.plan().streamed.size(), layers - std::min(layers, variant.resident_layers));
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
         (variant.ubatch == 16 ? "" : "Ubatch" + std::to_string(variant.ubatch)) +
         (variant.resident_layers == ~std::size_t{0}
              ? ""
              : std::to_string(variant.resident_layers) + "Layers");
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
                    Variant{.threads = 3, .ubatch = 32}, Variant{.slots = 7, .ubatch = 5},
                    Variant{.threads = 2, .resident_layers = 0},
                    Variant{.slots = 9, .threads = 2, .delayed = true, .resident_layers = 2},
                    Variant{.slots = 4, .threads = 3, .ubatch = 5, .resident_layers = 5}),
    VariantName);

// A model in groups of rows, whatever is paged and streamed, against the same row after row.
TEST(GroupsResidency, GiveTheSameBitsAsRows) {
  const ConvertedModel model(DemoCheckpoint(), ShardingStrategy::kExpert, std::nullopt,
                             WeightLayout::kRows16);
  ASSERT_GT(GroupedTensors(model.path()), 400U);  // 144 experts of three each, and projections
  const ConvertedModel rows(DemoCheckpoint(), ShardingStrategy::kExpert, std::nullopt,
                            WeightLayout::kRow);
  const std::vector<float> expected = Logits(rows.path(), {});
  for (const Variant& variant :
       {Variant{.threads = 2}, Variant{.slots = 9, .threads = 2, .shuffled = true},
        Variant{.threads = 2, .resident_layers = 0},
        Variant{.slots = 4, .threads = 3, .ubatch = 5, .resident_layers = 2}}) {
    ExpectSameBits(Logits(model.path(), variant), expected);
  }
}

// A dense model, and one of latent attention, some of whose matrices stay row after row.
TEST(GroupsResidency, GiveTheSameBitsInOtherFamilies) {
  for (const char* name : {"llama3", "deepseek-v3"}) {
    SCOPED_TRACE(name);
    const auto in = [&](WeightLayout layout) {
      return ConvertedModel(DataFolder() / "golden" / name, ShardingStrategy::kExpert, DType::kQ8_0,
                            layout);
    };
    const ConvertedModel rows = in(WeightLayout::kRow);
    const ConvertedModel groups = in(WeightLayout::kRows16);
    ASSERT_GT(GroupedTensors(groups.path()), 0U);
    const std::vector<float> expected = Logits(rows.path(), {});
    ExpectSameBits(Logits(groups.path(), {}), expected);
    ExpectSameBits(Logits(groups.path(), {.threads = 2, .delayed = true, .resident_layers = 0}),
                   expected);
  }
}

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

class StreamedLayersTest : public testing::TestWithParam<const char*> {};

TEST_P(StreamedLayersTest, AnyNumberOfResidentLayersGivesTheSameBits) {
  const ConvertedModel model(DataFolder() / "golden" / GetParam());
  const std::vector<float> expected = Logits(model.path(), {});
  for (const std::size_t layers : {0, 1, 2}) {
    SCOPED_TRACE(layers);
    ExpectSameBits(Logits(model.path(), {.threads = 2, .resident_layers = layers}), expected);
    ExpectSameBits(Logits(model.path(), {.delayed = true, .ubatch = 5, .resident_layers = layers}),
                   expected);
    ExpectSameBits(Logits(model.path(), {.threads = 3, .ubatch = 1, .resident_layers = layers}),
                   expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, StreamedLayersTest,
                         testing::Values("llama3", "qwen3", "gpt-oss", "phimoe", "deepseek-v3"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class StreamFaultTest : public testing::Test {
 protected:
  StreamFaultTest() : model_(DataFolder() / "golden" / "llama3") {}

  // Fails the reads while `fail` is set.
  EngineOptions Options() {
    EngineOptions options = OptionsOf({.threads = 2, .resident_layers = 1});
    options.stream.make_reader = [this](const AsyncReaderOptions& reader, ReadDone on_done) {
      return MakeAsyncReader(reader, [this, on_done](std::uint64_t tag, int error) {
        on_done(tag, fail_ ? EIO : error);
      });
    };
    return options;
  }
  std::vector<float> Append(Session& session, std::span<const TokenId> tokens) {
    const std::span<const float> logits = session.Append(tokens);
    return {logits.begin(), logits.end()};
  }

  ConvertedModel model_;
  std::atomic<bool> fail_ = false;
};

TEST_F(StreamFaultTest, AFailedReadEndsTheStepAndTheNextOneWorks) {
  Engine engine(model_.path(), Options());
  const std::vector<TokenId> tokens = SomeTokens(engine.config().vocab_size);
  Session session(engine);
  const std::vector<float> expected = Append(session, tokens);
  session.Truncate(20);
  for (int turn = 0; turn < 3; ++turn) {
    fail_ = true;
    // The first step may still use what was read before.
    const std::span<const TokenId> one = std::span(tokens).subspan(20, 1);
    EXPECT_THROW(for (int i = 0; i < 2; ++i) Append(session, one), Error);
    EXPECT_LE(session.length(), 21);
    session.Truncate(20);
    fail_ = false;
    ExpectSameBits(Append(session, std::span(tokens).subspan(20)), expected);
    session.Truncate(20);
  }
}

TEST_F(StreamFaultTest, AnInterruptedPassLeavesTheSessionAsItWas) {
  const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe");
  EngineOptions options = OptionsOf({.threads = 2, .resident_layers = 0});
  bool interrupt = false;
  options.on_route = [&interrupt](LayerId layer, int, std::span<const RoutedExpert>) {
    if (layer == LayerId(1)) SetInterruptedForTest(interrupt);
  };
  Engine engine(model.path(), options);
  const std::vector<TokenId> tokens = SomeTokens(engine.config().vocab_size);
  Session session(engine);
  const std::vector<float> expected = Append(session, tokens);
  session.Truncate(20);
  interrupt = true;
  EXPECT_THROW(Append(session, std::span(tokens).subspan(20)), InterruptedError);
  interrupt = false;
  SetInterruptedForTest(false);
  EXPECT_EQ(session.length(), 20);
  ExpectSameBits(Append(session, std::span(tokens).subspan(20)), expected);
}

TEST_F(StreamFaultTest, EachPassReadsWhatIsNotResident) {
  Engine engine(model_.path(), Options());
  Session session(engine);
  ASSERT_EQ(engine.plan().streamed.size(), 2u);
  EXPECT_EQ(engine.plan().stream, engine.stream()->size());
  const auto read = [&] { return engine.stream()->stats().bytes_read; };
  // All that there are buffers for is under way between passes.
  Append(session, std::vector<TokenId>{1, 2, 3});
  const Bytes before = read();
  for (const TokenId token : {4, 5, 6, 7, 8}) Append(session, {&token, 1});
  EXPECT_EQ(read() - before, 5 * engine.plan().streamed_per_pass);
}

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
