// Memory of the expert cache that goes back to the system and is taken again: what is lost, what
// stays, and that no answer depends on it.

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/alloc_guard.h"
#include "base/error.h"
#include "io/machine_fake_tree.h"
#include "model/expert_schedule.h"
#include "support/held_reader.h"
#include "support/model_case.h"

namespace doppler {
namespace {

constexpr Bytes kAll = ~Bytes{0} / 2;

enum class ReaderKind { kUring, kThreads };
constexpr std::array kReaderKinds = {ReaderKind::kUring, ReaderKind::kThreads};

std::string ReaderKindName(const testing::TestParamInfo<ReaderKind>& tested) {
  return tested.param == ReaderKind::kUring ? "Uring" : "Threads";
}

void UseReader(ReaderKind kind, ExpertCacheOptions& options) {
  options.make_reader = kind == ReaderKind::kUring ? MakeUringReader : MakeThreadReader;
}

const ConvertedModel& SmallModel() {
  static const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe");
  return model;
}

constexpr std::size_t kDecodedTokens = 12;

std::vector<TokenId> TwoDozenTokens() {
  std::mt19937 random(11);
  std::vector<TokenId> tokens(24);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 320);
  return tokens;
}

EngineOptions SmallRegions(ReaderKind kind) {
  EngineOptions options;
  options.with_tokenizer = false;
  options.context = 64;
  options.ubatch = 8;
  options.logit_rows = 16;
  options.threads = 2;
  UseReader(kind, options.cache);
  options.cache.region = 16 * kDirectAlignment;
  return options;
}

// A cache of a model with 16 experts in each of 3 layers, whose regions are a few slots long.
class GiveBackTest : public testing::TestWithParam<ReaderKind> {
 protected:
  GiveBackTest() : artifact_(SmallModel().path()) {
    const std::vector<int> experts(3, 16);
    table_ = FindExperts(artifact_, experts);
    slot_ = SlotClassesOf(table_)[0].bytes;
  }

  void SetUp() override {
    if (GetParam() == ReaderKind::kUring && !UringPermitted()) GTEST_SKIP();
    UseReader(GetParam(), options_);
  }

  void Make(std::size_t slots, Bytes region) {
    options_.slots = {slots};
    options_.region = AlignDown(region, kDirectAlignment);
    cache_ = std::make_unique<ExpertCache>(artifact_, table_, budget_, options_);
  }

  std::vector<ExpertLease> Hold(int layer, const std::vector<int>& experts) {
    std::vector<ExpertId> ids;
    for (const int expert : experts) ids.push_back(ExpertId(expert));
    std::vector<ExpertLease> leases(ids.size());
    result_ = cache_->Acquire(LayerId(layer), ids, leases);
    return leases;
  }
  void Touch(int layer, int expert) {
    const std::vector<ExpertLease> leases = Hold(layer, {expert});
    ASSERT_EQ(result_, AcquireResult::kOk);
    EXPECT_TRUE(Shows(leases[0], layer, expert));
  }
  std::vector<int> Resident(int layer) const {
    std::vector<int> experts;
    for (int expert = 0; expert < 16; ++expert) {
      if (cache_->Resident(LayerId(layer), ExpertId(expert))) experts.push_back(expert);
    }
    return experts;
  }

  // Whether the lease's gate and down projections are those on disk.
  bool Shows(const ExpertLease& held, int layer, int expert) const {
    auto& lease = const_cast<ExpertLease&>(held);
    lease.Wait();
    const ExpertRecord record =
        FindExpertRecord(artifact_.manifest(), LayerId(layer), ExpertId(expert));
    const File file(artifact_.ShardFile(record.shard).path(), OpenMode::kRead);
    const auto same = [&file](const TensorEntry& tensor, const WeightMatrix& matrix) {
      std::vector<std::byte> bytes(tensor.size);
      file.ReadAt(tensor.offset, bytes);
      return std::memcmp(bytes.data(), matrix.data, bytes.size()) == 0;
    };
    return same(record.gate, lease.view().gate) && same(record.down, lease.view().down);
  }

  Artifact artifact_;
  ExpertTable table_;
  Bytes slot_ = 0;
  MemoryBudget budget_{64 * kMiB};
  ExpertCacheOptions options_;
  std::unique_ptr<ExpertCache> cache_;
  AcquireResult result_ = AcquireResult::kOk;
};

INSTANTIATE_TEST_SUITE_P(Readers, GiveBackTest, testing::ValuesIn(kReaderKinds), ReaderKindName);

TEST_P(GiveBackTest, TheRegionsGoWhoseRecordsWouldBeEvictedFirst) {
  Make(12, 2 * slot_);
  for (int expert = 0; expert < 12; ++expert) Touch(0, expert);
  for (const int expert : {0, 1, 4, 5, 6, 7, 10, 11}) Touch(0, expert);
  EXPECT_EQ(cache_->GiveBack(2 * slot_), 2 * slot_);
  EXPECT_EQ(Resident(0), (std::vector<int>{0, 1, 4, 5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(cache_->GiveBack(2 * slot_ + 1), 4 * slot_);
  EXPECT_EQ(Resident(0), (std::vector<int>{4, 5, 6, 7, 10, 11}));
  EXPECT_EQ(cache_->slots(), 6u);
  EXPECT_EQ(cache_->MostPinned(LayerId(0)), 6u);
  EXPECT_EQ(cache_->present(), 6 * slot_);
  EXPECT_EQ(cache_->size(), 12 * slot_);
  EXPECT_EQ(cache_->stats().given_back, 6 * slot_);
  EXPECT_EQ(cache_->stats().evictions, 0u);
}

TEST_P(GiveBackTest, EmptySlotsGoBeforeAnyRecord) {
  Make(6, 2 * slot_);
  const std::vector<ExpertLease> held = Hold(0, {0, 1, 2});
  ASSERT_EQ(result_, AcquireResult::kOk);
  EXPECT_EQ(cache_->GiveBack(1), 2 * slot_);
  EXPECT_EQ(Resident(0), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(cache_->slots(), 4u);
}

TEST_P(GiveBackTest, PhysicalMemoryFallsAndIsUsedAgain) {
  Make(12, 2 * slot_);
  for (int expert = 0; expert < 12; ++expert) Touch(1, expert);
  const Bytes before = ResidentBytes(cache_->memory());
  EXPECT_EQ(before, cache_->size());
  EXPECT_EQ(cache_->GiveBack(6 * slot_), 6 * slot_);
  EXPECT_EQ(ResidentBytes(cache_->memory()), 6 * slot_);
  EXPECT_EQ(cache_->TakeAgain(kAll), 6 * slot_);
  EXPECT_EQ(ResidentBytes(cache_->memory()), 6 * slot_);
  EXPECT_EQ(Resident(1).size(), 6u);
  EXPECT_EQ(cache_->slots(), 12u);
  for (int expert = 0; expert < 12; ++expert) Touch(1, expert);
  EXPECT_EQ(ResidentBytes(cache_->memory()), cache_->size());
  EXPECT_EQ(cache_->stats().misses, 18u);
  EXPECT_EQ(cache_->stats().taken_again, 6 * slot_);
}

TEST_P(GiveBackTest, ASlotInTwoRegionsGoesWithEither) {
  // Slots 1 and 4 stand in two regions each.
  Make(6, 2 * slot_ - slot_ / 2);
  for (int expert = 0; expert < 6; ++expert) Touch(0, expert);
  for (const int expert : {0, 3, 4, 5}) Touch(0, expert);
  // Slots 1 and 2.
  EXPECT_EQ(cache_->GiveBack(1), options_.region);
  EXPECT_EQ(Resident(0), (std::vector<int>{0, 3, 4, 5}));
  EXPECT_EQ(cache_->slots(), 4u);
  // Slot 0, and what is left of slot 1.
  EXPECT_EQ(cache_->GiveBack(1), options_.region);
  EXPECT_EQ(Resident(0), (std::vector<int>{3, 4, 5}));
  EXPECT_EQ(cache_->TakeAgain(options_.region), options_.region);
  EXPECT_EQ(cache_->slots(), 4u);
  EXPECT_EQ(cache_->TakeAgain(options_.region), options_.region);
  EXPECT_EQ(cache_->slots(), 6u);
  for (int expert = 0; expert < 6; ++expert) Touch(2, expert);
  EXPECT_EQ(Resident(2).size(), 6u);
}

TEST_P(GiveBackTest, ASlotOfManyRegionsGoesWhole) {
  Make(3, slot_ / 3);
  const Bytes region = options_.region;
  for (int expert = 0; expert < 3; ++expert) Touch(0, expert);
  const Bytes given = cache_->GiveBack(1);
  EXPECT_EQ(Resident(0).size(), 2u);
  EXPECT_EQ(cache_->slots(), 2u);
  EXPECT_GT(given, slot_ - 2 * region);
  EXPECT_EQ(ResidentBytes(cache_->memory()), cache_->present());
  // A slot comes back with the last of its regions.
  EXPECT_EQ(cache_->TakeAgain(region), region);
  EXPECT_EQ(cache_->slots(), 2u);
  EXPECT_EQ(cache_->TakeAgain(kAll), given - region);
  EXPECT_EQ(cache_->slots(), 3u);
}

TEST_P(GiveBackTest, LeasesStayValid) {
  Make(12, 2 * slot_);
  for (int expert = 0; expert < 12; ++expert) Touch(0, expert);
  const std::vector<ExpertLease> held = Hold(0, {3, 8});
  EXPECT_EQ(cache_->GiveBack(kAll), 8 * slot_);
  // Their neighbours stay too.
  EXPECT_EQ(Resident(0), (std::vector<int>{2, 3, 8, 9}));
  EXPECT_TRUE(Shows(held[0], 0, 3));
  EXPECT_TRUE(Shows(held[1], 0, 8));
  for (int expert = 0; expert < 8; ++expert) Touch(2, expert);
  EXPECT_TRUE(Shows(held[0], 0, 3));
  EXPECT_TRUE(Shows(held[1], 0, 8));
  EXPECT_EQ(cache_->TakeAgain(kAll), 8 * slot_);
  for (int expert = 0; expert < 8; ++expert) Touch(1, expert);
  EXPECT_TRUE(Shows(held[0], 0, 3));
  EXPECT_TRUE(Shows(held[1], 0, 8));
}

TEST_P(GiveBackTest, TheLeastSlotsStay) {
  options_.least_slots = 4;
  Make(4, slot_);
  EXPECT_EQ(cache_->least(), 4 * slot_);
  EXPECT_EQ(cache_->GiveBack(kAll), 0u);
  EXPECT_EQ(cache_->slots(), 4u);
  Make(9, 2 * slot_);
  EXPECT_EQ(cache_->GiveBack(kAll), 5 * slot_);
  EXPECT_EQ(cache_->GiveBack(kAll), 0u);
  EXPECT_EQ(cache_->slots(), 4u);
  EXPECT_EQ(Hold(1, {2, 3, 5, 7}).size(), 4u);
  EXPECT_EQ(result_, AcquireResult::kOk);
}

TEST_P(GiveBackTest, ACacheThatIsTooFullSaysSoUntilItsSlotsAreBack) {
  Make(6, 2 * slot_);
  cache_->GiveBack(4 * slot_);
  Hold(0, {1, 2, 3});
  EXPECT_EQ(result_, AcquireResult::kExhausted);
  Hold(0, {1, 2});
  EXPECT_EQ(result_, AcquireResult::kOk);
  const std::uint32_t seen = cache_->progress();
  EXPECT_EQ(cache_->TakeAgain(2 * slot_ - 1), 0u);
  EXPECT_EQ(cache_->TakeAgain(2 * slot_), 2 * slot_);
  // Who found too few is told.
  EXPECT_NE(cache_->progress(), seen);
  const std::vector<ExpertLease> held = Hold(0, {1, 2, 3, 4});
  EXPECT_EQ(result_, AcquireResult::kOk);
  EXPECT_TRUE(Shows(held[3], 0, 4));
}

TEST_P(GiveBackTest, NothingIsAllocated) {
  Make(12, slot_ + slot_ / 4);
  for (int expert = 0; expert < 12; ++expert) Touch(0, expert);
  const NoAllocScope no_alloc;
  EXPECT_GE(cache_->GiveBack(6 * slot_), 6 * slot_);
  EXPECT_GT(cache_->TakeAgain(kAll), 0u);
}

TEST_P(GiveBackTest, ReadAheadFindsNoSlotThatIsAway) {
  Make(4, slot_);
  cache_->GiveBack(2 * slot_);
  constexpr auto kPassing = ExpertCache::Replace::kPassing;
  EXPECT_TRUE(cache_->ReadAhead(LayerId(0), ExpertId(0), 1, kPassing));
  EXPECT_FALSE(cache_->ReadAhead(LayerId(0), ExpertId(1), 1, kPassing));
}

TEST_P(GiveBackTest, ManyThreadsSeeTheRightExpertsMeanwhile) {
  options_.least_slots = 4;
  Make(14, slot_ + slot_ / 4);
  std::atomic<int> wrong{0};
  std::atomic<bool> done{false};
  std::thread resizer([&] {
    std::mt19937 random(5);
    while (!done) {
      const Bytes bytes = random() % cache_->size();
      random() % 2 == 0 ? cache_->GiveBack(bytes) : cache_->TakeAgain(bytes);
    }
  });
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 3; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int turn = 0; turn < 60; ++turn) {
        const auto layer = static_cast<int>(random() % 3);
        const auto expert = static_cast<int>(random() % 16);
        const ExpertId id(expert);
        ExpertLease lease;
        while (cache_->Acquire(LayerId(layer), {&id, 1}, {&lease, 1}) != AcquireResult::kOk) {
          std::this_thread::yield();
        }
        if (!Shows(lease, layer, expert)) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  resizer.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_LE(cache_->stats().taken_again, cache_->stats().given_back);
  EXPECT_EQ(cache_->size() - cache_->present(),
            cache_->stats().given_back - cache_->stats().taken_again);
}

// A reader that keeps reads back and whose memory cannot be let go of while `refuse` is set.
class StubbornReader final : public AsyncReader {
 public:
  StubbornReader(ReadDone on_done, const bool& refuse)
      : held_(std::move(on_done)), refuse_(refuse) {}
  std::string_view name() const override { return "stubborn"; }
  void Submit(const ReadOp& op) override { held_.Submit(op); }
  bool LetGoOf(std::span<std::byte> /*memory*/) override { return !refuse_; }
  HeldReader& held() { return held_; }

 private:
  HeldReader held_;
  const bool& refuse_;
};

class StubbornGiveBackTest : public GiveBackTest {
 protected:
  void SetUp() override {
    options_.make_reader = [this](const AsyncReaderOptions&, ReadDone on_done) {
      auto reader = std::make_unique<StubbornReader>(std::move(on_done), refuse_);
      reader_ = &reader->held();
      return reader;
    };
  }

  bool refuse_ = false;
  HeldReader* reader_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Reader, StubbornGiveBackTest, testing::Values(ReaderKind::kThreads),
                         ReaderKindName);

TEST_P(StubbornGiveBackTest, NoSlotGoesThatIsBeingReadInto) {
  Make(4, slot_);
  ASSERT_TRUE(cache_->ReadAhead(LayerId(0), ExpertId(7), 0, ExpertCache::Replace::kNothing));
  const std::vector<ExpertLease> held = Hold(0, {3});
  EXPECT_EQ(cache_->GiveBack(kAll), 2 * slot_);
  reader_->LetGo(reader_->ops().size());
  EXPECT_TRUE(Shows(held[0], 0, 3));
  EXPECT_EQ(Resident(0), (std::vector<int>{3, 7}));
  EXPECT_EQ(cache_->GiveBack(kAll), slot_);
  EXPECT_EQ(Resident(0), (std::vector<int>{3}));
}

TEST_P(StubbornGiveBackTest, WhatTheKernelKeepsIsNotCountedAndComesBack) {
  Make(4, slot_);
  refuse_ = true;
  EXPECT_EQ(cache_->GiveBack(kAll), 0u);
  EXPECT_EQ(cache_->stats().given_back, 0u);
  EXPECT_EQ(cache_->present(), cache_->size());
  EXPECT_EQ(cache_->slots(), 4u);
  refuse_ = false;
  EXPECT_EQ(cache_->GiveBack(slot_), slot_);
}

// Records of two sizes.
TEST(GiveBackClasses, TheLeastSlotsAreOfTheLargestSize) {
  const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe", ShardingStrategy::kLayer);
  const Artifact artifact(model.path());
  const std::vector<int> experts(3, 16);
  ExpertTable table = FindExperts(artifact, experts, kLeafBytes);
  const std::vector<SlotClass> classes = SlotClassesOf(table);
  ASSERT_GE(classes.size(), 2u);
  MemoryBudget budget(64 * kMiB);
  ExpertCacheOptions options;
  options.slots.assign(classes.size(), 5);
  options.least_slots = 3;
  options.region = kDirectAlignment;
  ExpertCache cache(artifact, std::move(table), budget, options);
  cache.GiveBack(kAll);
  EXPECT_EQ(cache.slots(), 3u);
  EXPECT_EQ(cache.present(), 3 * classes[0].bytes);
  for (int layer = 0; layer < 3; ++layer) EXPECT_EQ(cache.MostPinned(LayerId(layer)), 3u);
  cache.TakeAgain(kAll);
  EXPECT_EQ(cache.slots(), 5 * classes.size());
  EXPECT_EQ(cache.present(), cache.size());
}

void ExpectTheSameBits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  ASSERT_FALSE(a.empty());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

// Promise 1.
class GiveBackAnswerTest : public testing::TestWithParam<ReaderKind> {
 protected:
  void SetUp() override {
    if (GetParam() == ReaderKind::kUring && !UringPermitted()) GTEST_SKIP();
  }
  static const std::vector<float>& Expected() {
    static const std::vector<float> expected = [] {
      Engine engine(SmallModel().path(), SmallRegions(ReaderKind::kThreads));
      return AllLogits(engine, TwoDozenTokens(), kDecodedTokens);
    }();
    return expected;
  }
};

INSTANTIATE_TEST_SUITE_P(Readers, GiveBackAnswerTest, testing::ValuesIn(kReaderKinds),
                         ReaderKindName);

// After a router has spoken, and before its experts are acquired, in prefill and in decode.
TEST_P(GiveBackAnswerTest, DoesNotDependOnWhatGoesWithinAToken) {
  EngineOptions options = SmallRegions(GetParam());
  ExpertCache* cache = nullptr;
  std::mt19937 random(2);
  options.on_route = [&](LayerId, int, std::span<const RoutedExpert>) {
    const Bytes bytes = random() % (cache->size() / 2);
    random() % 2 == 0 ? cache->GiveBack(bytes) : cache->TakeAgain(bytes);
  };
  Engine engine(SmallModel().path(), options);
  cache = engine.experts();
  ExpectTheSameBits(AllLogits(engine, TwoDozenTokens(), kDecodedTokens), Expected());
  EXPECT_GT(cache->stats().given_back, cache->size());
  EXPECT_GT(cache->stats().taken_again, cache->size());
}

TEST_P(GiveBackAnswerTest, DoesNotDependOnWhatAnotherThreadGivesBack) {
  Engine engine(SmallModel().path(), SmallRegions(GetParam()));
  std::atomic<bool> done{false};
  std::thread resizer([&] {
    ExpertCache& cache = *engine.experts();
    for (std::mt19937 random(3); !done;) {
      const Bytes bytes = random() % cache.size();
      random() % 2 == 0 ? cache.GiveBack(bytes) : cache.TakeAgain(bytes);
    }
  });
  const std::vector<float> logits = AllLogits(engine, TwoDozenTokens(), kDecodedTokens);
  done = true;
  resizer.join();
  ExpectTheSameBits(logits, Expected());
}

// The experts of a pass fit when it begins and not when they are acquired.
TEST_P(GiveBackTest, APassGoesOnWithTheLeastSlots) {
  options_.least_slots = 4;
  Make(16, slot_);
  const PreparedModel prepared(SmallModel().path(), SmallRegions(GetParam()));
  const Weights weights;
  PassTimes times;
  const Model model{.config = prepared.config,
                    .weights = weights,
                    .backend = *prepared.backend,
                    .experts = cache_.get(),
                    .rope = {},
                    .long_rope = {},
                    .on_route = {},
                    .on_experts = {},
                    .times = times};
  std::vector<ExpertTask> tasks(16);
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    tasks[i].expert = ExpertId(i);
    tasks[i].tokens = 1;
  }
  std::vector<ExpertId> wanted(tasks.size(), ExpertId(0));
  std::vector<ExpertLease> leases(tasks.size());
  ExpertSchedule schedule(model, LayerId(2), 8, tasks, wanted, leases, 16);
  ASSERT_EQ(cache_->GiveBack(kAll), 12 * slot_);
  std::vector<int> parts(16, 0);
  while (ExpertTask* task = schedule.Next()) {
    if (task->next == ExpertPart::kDown) {
      EXPECT_TRUE(Shows(task->lease, 2, static_cast<int>(task->expert.index())));
    }
    ++parts[task->expert.index()];
    schedule.Done(*task);
  }
  EXPECT_EQ(parts, std::vector<int>(16, 3));
}

// Samples of a system that is short of memory for some seconds, and then is not; a second passes
// between two of them.
class MadeUpPressure {
 public:
  // Pressure in the seconds [from, to).
  MadeUpPressure(int from, int to) : from_(from), to_(to) {}

  PressureSource Source() {
    return {.name = "made up",
            .sample = [this] { return Sample(); },
            .period = std::chrono::milliseconds(0)};
  }
  // Waits until that many samples were taken and what followed from them is done.
  void WaitFor(int samples) {
    for (int seen = samples_; seen <= samples; seen = samples_) samples_.wait(seen);
  }
  // No second begins after this one, until it is set anew.
  void StopAt(int second) {
    last_ = second;
    last_.notify_all();
  }

 private:
  PressureSample Sample() {
    const int second = samples_.fetch_add(1);
    samples_.notify_all();
    for (int last = last_; second > last; last = last_) last_.wait(last);
    if (second >= from_ && second < to_) stalled_us_ += 500'000;
    return {.seconds = static_cast<double>(second), .stalled_us = stalled_us_, .available = kGiB};
  }

  const int from_;
  const int to_;
  std::uint64_t stalled_us_ = 0;
  std::atomic<int> samples_ = 0;
  std::atomic<int> last_ = std::numeric_limits<int>::max();
};

EngineOptions Watching(MadeUpPressure& pressure) {
  EngineOptions options = SmallRegions(ReaderKind::kThreads);
  options.give_back = true;
  options.pressure = pressure.Source();
  return options;
}

TEST(MemoryWatch, GivesBackUnderPressureAndTakesAgainAfterQuiet) {
  MadeUpPressure pressure(3, 6);
  pressure.StopAt(6);
  Engine engine(SmallModel().path(), Watching(pressure));
  const ExpertCache& cache = *engine.experts();
  const Bytes step = GiveBackOptionsFor(cache.size(), cache.least(), cache.region()).step;
  const std::vector<float> expected = AllLogits(engine, TwoDozenTokens(), kDecodedTokens);
  pressure.WaitFor(6);
  EXPECT_EQ(engine.expert_stats().given_back, 3 * step);
  EXPECT_EQ(cache.present(), cache.size() - 3 * step);
  ExpectTheSameBits(AllLogits(engine, TwoDozenTokens(), kDecodedTokens), expected);
  pressure.StopAt(1000);
  pressure.WaitFor(200);
  EXPECT_EQ(engine.expert_stats().given_back, 3 * step);
  EXPECT_EQ(engine.expert_stats().taken_again, 3 * step);
  EXPECT_EQ(cache.present(), cache.size());
  ExpectTheSameBits(AllLogits(engine, TwoDozenTokens(), kDecodedTokens), expected);
  pressure.StopAt(std::numeric_limits<int>::max());
  ASSERT_NE(engine.memory_watch(), nullptr);
  EXPECT_EQ(engine.memory_watch()->source(), "made up");
  EXPECT_EQ(engine.memory_watch()->problem(), "");
}

TEST(MemoryWatch, LeavesTheLeastUnderPressureForEver) {
  MadeUpPressure pressure(1, std::numeric_limits<int>::max());
  Engine engine(SmallModel().path(), Watching(pressure));
  pressure.WaitFor(100);
  const auto least = static_cast<std::size_t>(engine.config().experts_per_token);
  EXPECT_GE(engine.experts()->slots(), least);
  EXPECT_LT(engine.experts()->slots(), 2 * least);
  EXPECT_EQ(AllLogits(engine, TwoDozenTokens(), kDecodedTokens).size(), 24u * 320);
}

TEST(MemoryWatch, OfASourceThatFailsSaysWhyAndTheRunGoesOn) {
  EngineOptions options = SmallRegions(ReaderKind::kThreads);
  options.give_back = true;
  options.pressure = PressureSource{
      .name = "broken", .sample = []() -> PressureSample { throw Error("no pressure here"); }};
  Engine engine(SmallModel().path(), options);
  while (engine.memory_watch()->problem().empty()) std::this_thread::yield();
  EXPECT_EQ(engine.memory_watch()->problem(), "no pressure here");
  EXPECT_EQ(AllLogits(engine, TwoDozenTokens(), kDecodedTokens).size(), 24u * 320);
}

TEST(MemoryWatch, IsThereOnlyIfAskedForAndIfThereAreExperts) {
  MadeUpPressure pressure(0, 0);
  EngineOptions options = Watching(pressure);
  options.give_back = false;
  EXPECT_EQ(Engine(SmallModel().path(), options).memory_watch(), nullptr);
  options.give_back = true;
  const ConvertedModel dense(DataFolder() / "golden" / "llama3");
  EXPECT_EQ(Engine(dense.path(), options).memory_watch(), nullptr);
}

// From the kernel's files to the slots.
TEST(MemoryWatch, ReadsTheFilesOfTheSystem) {
  const FakeTree tree;
  tree.Add("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
  tree.Add("/proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
  PressureSource source = *SystemPressure(tree.root());
  std::atomic<int> second = 0;
  source.period = std::chrono::milliseconds(0);
  source.sample = [&, read = source.sample] {
    // A third of the time is stalled in the second that follows the first sample.
    if (second == 1) {
      tree.Add("/proc/pressure/memory", "some avg10=3.00 avg60=0.30 avg300=0.06 total=333333\n");
    }
    PressureSample sample = read();
    sample.seconds = second.fetch_add(1);
    second.notify_all();
    return sample;
  };
  EngineOptions options = SmallRegions(ReaderKind::kThreads);
  options.give_back = true;
  options.pressure = source;
  Engine engine(SmallModel().path(), options);
  for (int seen = second; seen < 60; seen = second) second.wait(seen);
  const ExpertCache& cache = *engine.experts();
  const Bytes step = GiveBackOptionsFor(cache.size(), cache.least(), cache.region()).step;
  EXPECT_EQ(engine.expert_stats().given_back, step);
  EXPECT_EQ(engine.expert_stats().taken_again, step);
}

}  // namespace
}  // namespace doppler
