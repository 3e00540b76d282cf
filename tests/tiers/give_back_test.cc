// Memory of the expert cache that goes back to the system and is taken again: what is lost, what
// stays, and what it holds afterwards.

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/alloc_guard.h"
#include "model/expert_schedule.h"
#include "support/give_back_case.h"
#include "support/held_reader.h"

namespace doppler {
namespace {

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
    const File file(artifact_.files().path(record.shard), OpenMode::kRead);
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

// All experts of a layer, each chosen by one token.
struct AllChosen {
  AllChosen(ExpertCache& cache, ReaderKind reader)
      : prepared(SmallModel().path(), SmallRegions(reader)),
        model{.config = prepared.config,
              .weights = weights,
              .backend = *prepared.backend,
              .experts = &cache,
              .rope = {},
              .long_rope = {},
              .on_route = {},
              .on_experts = {},
              .times = times} {
    for (std::size_t i = 0; i < kExperts; ++i) {
      tasks[i].expert = ExpertId(i);
      tasks[i].tokens = 1;
    }
  }

  ExpertSchedule Schedule(int tokens) {
    return ExpertSchedule(model, LayerId(2), tokens, tasks, wanted, leases, kExperts);
  }

  static constexpr int kExperts = 16;
  const PreparedModel prepared;
  const Weights weights;
  PassTimes times;
  const Model model;
  std::vector<ExpertTask> tasks = std::vector<ExpertTask>(kExperts);
  std::vector<ExpertId> wanted = std::vector<ExpertId>(kExperts, ExpertId(0));
  std::vector<ExpertLease> leases = std::vector<ExpertLease>(kExperts);
};

// The experts of a pass fit when it begins and not when they are acquired.
TEST_P(GiveBackTest, APassGoesOnWithTheLeastSlots) {
  options_.least_slots = 4;
  Make(16, slot_);
  AllChosen chosen(*cache_, GetParam());
  ExpertSchedule schedule = chosen.Schedule(8);
  ASSERT_EQ(cache_->GiveBack(kAll), 12 * slot_);
  std::vector<int> stages(16, 0);
  for (auto batch = schedule.Next(); !batch.empty(); batch = schedule.Next()) {
    ASSERT_EQ(batch.size(), 1u);
    ExpertTask& task = *batch.front();
    if (task.next == ExpertStage::kDown) {
      EXPECT_TRUE(Shows(task.lease, 2, static_cast<int>(task.expert.index())));
    }
    ++stages[task.expert.index()];
    schedule.Done(task);
  }
  EXPECT_EQ(stages, std::vector<int>(16, 2));
}

// What is there is computed in one go, stage by stage.
TEST_P(GiveBackTest, ExpertsThatAreThereComeTogether) {
  Make(16, slot_);
  AllChosen chosen(*cache_, GetParam());
  std::vector<ExpertId> all;
  for (const ExpertTask& task : chosen.tasks) all.push_back(task.expert);
  ASSERT_EQ(cache_->Acquire(LayerId(2), all, chosen.leases, UseKind::kKeep), AcquireResult::kOk);
  for (ExpertLease& lease : chosen.leases) lease.Wait();
  chosen.leases = std::vector<ExpertLease>(all.size());

  ExpertSchedule schedule = chosen.Schedule(1);
  for (const ExpertStage stage : {ExpertStage::kGateAndUp, ExpertStage::kDown}) {
    const auto batch = schedule.Next();
    EXPECT_EQ(batch.size(), all.size());
    for (ExpertTask* task : batch) {
      EXPECT_EQ(task->next, stage);
      schedule.Done(*task);
    }
  }
  EXPECT_TRUE(schedule.Next().empty());
}

}  // namespace
}  // namespace doppler
