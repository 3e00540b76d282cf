// Experts that are guessed and read before a router has asked: into which slots, what becomes of
// them, and that no bit of the answer depends on it.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "support/held_reader.h"
#include "support/model_case.h"

namespace doppler {
namespace {

// 32 slots, of which two are the reserve, for the 48 records of a small model. Each record is one
// read, and the test says when it ends.
class ReserveTest : public testing::Test {
 protected:
  static constexpr std::size_t kSlots = 32;
  static constexpr std::size_t kReserve = 2;

  ReserveTest() : model_(DataFolder() / "golden" / "qwen3-moe"), artifact_(model_.path()) {}

  void Make(std::size_t reserve = kReserve) {
    ExpertCacheOptions options;
    options.slots = {kSlots};
    options.reserve = reserve;
    options.make_reader = [this](const AsyncReaderOptions&, ReadDone on_done) {
      auto reader = std::make_unique<HeldReader>(std::move(on_done));
      reader_ = reader.get();
      return reader;
    };
    const std::vector<int> experts(3, 16);
    cache_ =
        std::make_unique<ExpertCache>(artifact_, FindExperts(artifact_, experts), budget_, options);
    record_ = cache_->SlotBytes(LayerId(0));
  }

  void Finish() {
    while (!reader_->ops().empty()) reader_->LetGo(1);
  }
  std::vector<ExpertLease> Acquire(int layer, std::vector<int> experts,
                                   UseKind use = UseKind::kKeep) {
    std::vector<ExpertId> ids;
    for (const int expert : experts) ids.push_back(ExpertId(expert));
    std::vector<ExpertLease> leases(ids.size());
    EXPECT_EQ(cache_->Acquire(LayerId(layer), ids, leases, use), AcquireResult::kOk);
    return leases;
  }
  void Touch(int layer, std::vector<int> experts, UseKind use = UseKind::kKeep) {
    const std::vector<ExpertLease> leases = Acquire(layer, std::move(experts), use);
    Finish();
  }
  void Speculate(int layer, std::vector<int> experts) {
    std::vector<ExpertId> ids;
    for (const int expert : experts) ids.push_back(ExpertId(expert));
    cache_->Speculate(LayerId(layer), ids, 0);
  }
  bool Resident(int layer, int expert) const {
    return cache_->Resident(LayerId(layer), ExpertId(expert));
  }
  // Uses as many records as there are slots, of layers 0 and 1, one after the other.
  void FillAll() {
    for (int i = 0; i < static_cast<int>(kSlots); ++i) Touch(i / 16, {i % 16});
  }
  int ResidentOfFill() const {
    int count = 0;
    for (int i = 0; i < static_cast<int>(kSlots); ++i) count += Resident(i / 16, i % 16) ? 1 : 0;
    return count;
  }

  MemoryBudget budget_{64 * kMiB};
  ConvertedModel model_;
  Artifact artifact_;
  HeldReader* reader_ = nullptr;
  std::unique_ptr<ExpertCache> cache_;
  Bytes record_ = 0;
};

TEST_F(ReserveTest, OnlyWhatDecodeDoesNotKeepMakesRoom) {
  Make();
  FillAll();
  Speculate(2, {0, 1, 2, 3});
  Finish();
  EXPECT_EQ(ResidentOfFill(), 30);
  // The two that were used longest ago had been set aside.
  EXPECT_FALSE(Resident(0, 0));
  EXPECT_FALSE(Resident(0, 1));
  EXPECT_TRUE(Resident(2, 0));
  EXPECT_TRUE(Resident(2, 1));
  EXPECT_FALSE(Resident(2, 2));
  // The next guesses take the place of those whose layer has passed.
  Touch(1, {15});
  Speculate(2, {6, 7});
  Finish();
  EXPECT_EQ(ResidentOfFill(), 30);
  EXPECT_FALSE(Resident(2, 0));
  EXPECT_TRUE(Resident(2, 7));
}

TEST_F(ReserveTest, WithoutAReserveAFullCacheHasNoRoom) {
  Make(0);
  FillAll();
  Speculate(2, {0, 1});
  EXPECT_TRUE(reader_->ops().empty());
  EXPECT_EQ(ResidentOfFill(), 32);
}

TEST_F(ReserveTest, EmptyAndPassingSlotsAreTaken) {
  Make();
  for (int expert = 0; expert < 16; ++expert) Touch(0, {expert});
  for (int expert = 0; expert < 15; ++expert) Touch(1, {expert}, UseKind::kPassing);
  Speculate(2, {0, 1, 2, 3});
  Finish();
  for (int expert = 0; expert < 16; ++expert) EXPECT_TRUE(Resident(0, expert)) << expert;
  for (int expert = 0; expert < 4; ++expert) EXPECT_TRUE(Resident(2, expert)) << expert;
}

TEST_F(ReserveTest, AUsedGuessIsKeptAndAnotherIsSetAside) {
  Make();
  FillAll();
  Speculate(2, {0, 1});
  Finish();
  Touch(2, {0});
  EXPECT_EQ(cache_->stats().speculated_used, 1u);
  EXPECT_EQ(cache_->stats().misses, 32u);
  // (2, 1), which nobody wanted, and (0, 2), which was set aside for (2, 0), are the reserve now.
  Speculate(2, {4, 5, 6});
  Finish();
  EXPECT_FALSE(Resident(2, 1));
  EXPECT_FALSE(Resident(0, 2));
  EXPECT_TRUE(Resident(0, 3));
  EXPECT_TRUE(Resident(2, 0));
  EXPECT_FALSE(Resident(2, 6));
  Touch(2, {15});
  const ExpertCacheStats stats = cache_->stats();
  EXPECT_EQ(stats.speculated, 4u);
  EXPECT_EQ(stats.bytes_speculated, 4 * record_);
  // (2, 15) took the place of (2, 4).
  EXPECT_EQ(stats.bytes_wasted, 2 * record_);
  EXPECT_EQ(stats.bytes_read, (33 + 4) * record_);
}

TEST_F(ReserveTest, WhatWasSetAsideIsKeptAgainWhenItIsUsed) {
  Make();
  FillAll();
  Touch(0, {0});
  Speculate(2, {0, 1, 2});
  Finish();
  EXPECT_TRUE(Resident(0, 0));
  EXPECT_FALSE(Resident(0, 1));
  EXPECT_FALSE(Resident(0, 2));
  EXPECT_TRUE(Resident(0, 3));
}

TEST_F(ReserveTest, GuessesOfOneLayerDoNotPutOutEachOther) {
  Make();
  FillAll();
  Speculate(2, {0, 1});
  Finish();
  // One is there already, and must not make room for the other two.
  Speculate(2, {2, 0, 3});
  Finish();
  EXPECT_TRUE(Resident(2, 0));
  EXPECT_TRUE(Resident(2, 2));
  EXPECT_FALSE(Resident(2, 3));
  Touch(1, {15});
  EXPECT_EQ(cache_->stats().speculated, 3u);
  EXPECT_EQ(cache_->stats().bytes_wasted, record_);
}

TEST_F(ReserveTest, ReadsWaitForDemandAndAreWithdrawnWhenTheLayerHasChosen) {
  Make();
  {
    const std::vector<ExpertLease> first = Acquire(0, {1});
    ASSERT_EQ(reader_->ops().size(), 1u);
    Speculate(1, {5, 6});
    EXPECT_EQ(reader_->ops().size(), 1u);
    EXPECT_EQ(cache_->BackgroundReads(), 2u);
    // The layer wants one of them before the device was idle: an ordinary miss.
    const std::vector<ExpertLease> second = Acquire(1, {5});
    EXPECT_EQ(reader_->ops().size(), 2u);
    EXPECT_EQ(cache_->BackgroundReads(), 0u);
    EXPECT_FALSE(Resident(1, 6));
    Finish();
  }
  const ExpertCacheStats stats = cache_->stats();
  EXPECT_EQ(stats.misses, 2u);
  EXPECT_EQ(stats.speculated, 0u);
  EXPECT_EQ(stats.bytes_wasted, 0u);
  EXPECT_EQ(stats.bytes_read, 2 * record_);
}

TEST_F(ReserveTest, AGuessOnItsWayIsAHit) {
  Make();
  Speculate(1, {5});
  ASSERT_EQ(reader_->ops().size(), 1u);
  {
    std::vector<ExpertLease> leases = Acquire(1, {5});
    EXPECT_FALSE(leases[0].Ready(ExpertPart::kGate));
    Finish();
    leases[0].Wait();
  }
  const ExpertCacheStats stats = cache_->stats();
  EXPECT_EQ(stats.hits, 1u);
  EXPECT_EQ(stats.speculated, 1u);
  EXPECT_EQ(stats.speculated_used, 1u);
  EXPECT_EQ(cache_->BackgroundReads(), 0u);
}

TEST_F(ReserveTest, AGuessThatCannotBeReadIsForgotten) {
  Make();
  Speculate(1, {5});
  reader_->LetGo(1, EIO);
  EXPECT_FALSE(Resident(1, 5));
  EXPECT_EQ(cache_->BackgroundReads(), 0u);
  std::vector<ExpertLease> leases = Acquire(1, {5});
  Finish();
  leases[0].Wait();
  EXPECT_EQ(cache_->stats().misses, 1u);
}

struct Outcome {
  std::vector<float> logits;
  ExpertCacheStats experts;
  SpeculationStats guesses;
  int predictions = 0;
};

using MakeReader = std::unique_ptr<AsyncReader> (*)(const AsyncReaderOptions&, ReadDone);

constexpr std::size_t kPrompt = 8;
constexpr std::size_t kSteps = 40;

Outcome Decode(const std::filesystem::path& model, std::size_t slots, int speculate,
               MakeReader make_reader = MakeAsyncReader,
               std::size_t resident_layers = ~std::size_t{0}) {
  EngineOptions options;
  options.with_tokenizer = false;
  options.context = 64;
  options.ubatch = 8;
  options.logit_rows = 8;
  options.threads = 2;
  options.most_slots = slots;
  options.most_resident_layers = resident_layers;
  options.speculate = speculate;
  options.cache.make_reader = make_reader;
  Engine engine(model, options);
  std::mt19937 random(11);
  std::vector<TokenId> tokens(kPrompt + kSteps);
  for (TokenId& token : tokens) {
    token = static_cast<TokenId>(random() % static_cast<unsigned>(engine.config().vocab_size));
  }
  Outcome outcome;
  outcome.logits = AllLogits(engine, tokens, kSteps);
  outcome.experts = engine.expert_stats();
  outcome.guesses = engine.speculation_stats();
  outcome.predictions = engine.speculates();
  return outcome;
}

void ExpectBitsOf(const Outcome& outcome, const Outcome& expected) {
  ASSERT_EQ(outcome.logits.size(), expected.logits.size());
  ASSERT_FALSE(outcome.logits.empty());
  EXPECT_EQ(std::memcmp(outcome.logits.data(), expected.logits.data(),
                        expected.logits.size() * sizeof(float)),
            0);
}

class SpeculationTest : public testing::TestWithParam<const char*> {
 protected:
  SpeculationTest() : model_(DataFolder() / "golden" / GetParam()) {}
  const ConvertedModel model_;
};

TEST_P(SpeculationTest, NoBitDependsOnIt) {
  const Outcome expected = Decode(model_.path(), ~std::size_t{0}, 0);
  for (const auto make_reader : {&MakeAsyncReader, &MakeThreadReader}) {
    for (const std::size_t slots : {4u, 18u, 1000u}) {
      for (const int speculate : {1, 2, 1000}) {
        SCOPED_TRACE(testing::Message() << slots << " slots, " << speculate << " guesses");
        ExpectBitsOf(Decode(model_.path(), slots, speculate, make_reader), expected);
      }
    }
  }
}

TEST_P(SpeculationTest, ARouterThatDoesNotStayPredictsNothing) {
  const Outcome expected = Decode(model_.path(), 18, 0);
  const Outcome outcome = Decode(model_.path(), 18, 2, MakeAsyncReader, 0);
  ExpectBitsOf(outcome, expected);
  EXPECT_EQ(outcome.guesses.predictions, 0u);
  EXPECT_EQ(outcome.experts.speculated, 0u);
}

INSTANTIATE_TEST_SUITE_P(Families, SpeculationTest,
                         testing::Values("qwen3-moe", "mixtral", "gpt-oss", "phimoe",
                                         "deepseek-v3"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Speculation, IsOffByDefault) {
  const Outcome outcome = Decode(DemoModel(), 40, EngineOptions().speculate.value());
  EXPECT_EQ(outcome.predictions, 0);
  EXPECT_EQ(outcome.guesses.predictions, 0u);
  EXPECT_EQ(outcome.experts.speculated, 0u);
  EXPECT_EQ(outcome.experts.bytes_speculated, 0u);
}

TEST(Speculation, NothingIsGuessedOfALayerThatIsThere) {
  // Of three layers with eight experts the first is not predicted.
  const ConvertedModel model(DataFolder() / "golden" / "mixtral");
  const Outcome roomy = Decode(model.path(), 3 * 8, 2);
  EXPECT_LT(roomy.guesses.predictions, kSteps * 2 * 2);
  const Outcome tight = Decode(model.path(), 3 * 4, 2);
  EXPECT_EQ(tight.guesses.predictions, kSteps * 2 * 2);
  ExpectBitsOf(roomy, tight);
}

TEST(Speculation, CountersAddUp) {
  const Outcome off = Decode(DemoModel(), 100, 0);
  const Outcome on = Decode(DemoModel(), 100, 4);
  ExpectBitsOf(on, off);
  // Of six layers the first is not predicted.
  EXPECT_EQ(on.guesses.predictions, kSteps * 5 * 4);
  // By chance a sixth would be right.
  EXPECT_GT(on.guesses.right, on.guesses.predictions / 3);
  EXPECT_LT(on.guesses.right, on.guesses.predictions);
  EXPECT_GT(on.guesses.seconds, 0);
  EXPECT_EQ(on.experts.hits + on.experts.misses, off.experts.hits + off.experts.misses);
  EXPECT_GT(on.experts.speculated, 0u);
  EXPECT_GT(on.experts.speculated_used, 0u);
  EXPECT_GE(on.experts.speculated, on.experts.speculated_used);
  EXPECT_GE(on.experts.bytes_read, on.experts.bytes_speculated);
  EXPECT_GE(on.experts.bytes_speculated, on.experts.bytes_wasted);
  EXPECT_EQ(on.experts.read_ahead, off.experts.read_ahead);
}

}  // namespace
}  // namespace doppler
