#include "tier/expert_cache.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/held_reader.h"
#include "support/model_case.h"

namespace doppler {
namespace {

using testing::HasSubstr;

constexpr int kLayers = 3;
constexpr int kExperts = 16;

const Artifact& TestArtifact() {
  static const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe");
  static const Artifact artifact(model.path());
  return artifact;
}

ExpertTable TestTable() {
  const std::vector<int> experts(kLayers, kExperts);
  return FindExperts(TestArtifact(), experts);
}

class ExpertCacheTest : public testing::Test {
 protected:
  void Make(std::size_t slots) {
    options_.slots = {slots};
    cache_ = std::make_unique<ExpertCache>(TestArtifact(), TestTable(), budget_, options_);
  }

  AcquireResult Acquire(int layer, std::initializer_list<int> experts) {
    std::vector<ExpertId> ids;
    for (const int expert : experts) ids.push_back(ExpertId(expert));
    leases_.clear();
    leases_.resize(ids.size());
    return cache_->Acquire(LayerId(layer), ids, leases_);
  }

  // Acquires, waits and lets go.
  void Touch(int layer, std::initializer_list<int> experts) {
    ASSERT_EQ(Acquire(layer, experts), AcquireResult::kOk);
    for (ExpertLease& lease : leases_) lease.Wait();
    leases_.clear();
  }

  MemoryBudget budget_{64 * kMiB};
  ExpertCacheOptions options_;
  std::unique_ptr<ExpertCache> cache_;
  std::vector<ExpertLease> leases_;
};

// Whether a view shows the bytes of that expert's record on disk.
bool ShowsExpert(const ExpertView& view, int layer, int expert) {
  const ExpertRecord record =
      FindExpertRecord(TestArtifact().manifest(), LayerId(layer), ExpertId(expert));
  const File file(TestArtifact().files().path(record.shard), OpenMode::kRead);
  const auto same = [&](const TensorEntry& tensor, const WeightMatrix& matrix) {
    std::vector<std::byte> bytes(tensor.size);
    file.ReadAt(tensor.offset, bytes);
    return std::memcmp(bytes.data(), matrix.data, bytes.size()) == 0 &&
           matrix.rows == tensor.shape[0] && matrix.cols == tensor.shape[1];
  };
  return same(record.gate, view.gate) && same(record.up, view.up) && same(record.down, view.down);
}

TEST_F(ExpertCacheTest, PagesInAndKeeps) {
  Make(4);
  ASSERT_EQ(Acquire(1, {3, 9}), AcquireResult::kOk);
  for (ExpertLease& lease : leases_) lease.Wait();
  EXPECT_TRUE(ShowsExpert(leases_[0].view(), 1, 3));
  EXPECT_TRUE(ShowsExpert(leases_[1].view(), 1, 9));
  Touch(1, {9, 3});
  const ExpertCacheStats stats = cache_->stats();
  EXPECT_EQ(stats.misses, 2u);
  EXPECT_EQ(stats.hits, 2u);
  EXPECT_EQ(stats.evictions, 0u);
  EXPECT_EQ(stats.bytes_read, 2 * cache_->SlotBytes(LayerId(1)));
}

TEST_F(ExpertCacheTest, EvictsByRecencyAcrossLayers) {
  Make(3);
  Touch(0, {0});
  Touch(1, {0});
  Touch(2, {0});
  Touch(0, {0});  // layer 1's expert is now the oldest
  Touch(2, {5});
  EXPECT_EQ(cache_->stats().evictions, 1u);
  Touch(0, {0});
  Touch(2, {0});
  EXPECT_EQ(cache_->stats().misses, 4u);
  Touch(1, {0});
  EXPECT_EQ(cache_->stats().misses, 5u);
}

TEST_F(ExpertCacheTest, NeverEvictsWhatIsPinned) {
  Make(3);
  ASSERT_EQ(Acquire(0, {1, 2}), AcquireResult::kOk);
  std::vector<ExpertLease> held = std::move(leases_);
  for (ExpertLease& lease : held) lease.Wait();
  for (int expert = 3; expert < 12; ++expert) Touch(0, {expert});
  EXPECT_TRUE(ShowsExpert(held[0].view(), 0, 1));
  EXPECT_TRUE(ShowsExpert(held[1].view(), 0, 2));
}

TEST_F(ExpertCacheTest, AFullCacheIsAnAnswer) {
  Make(3);
  ASSERT_EQ(Acquire(0, {1, 2}), AcquireResult::kOk);
  std::vector<ExpertLease> held = std::move(leases_);
  EXPECT_EQ(Acquire(1, {1, 2}), AcquireResult::kExhausted);
  for (const ExpertLease& lease : leases_) EXPECT_FALSE(lease.held());
  EXPECT_EQ(Acquire(0, {2, 1, 5}), AcquireResult::kOk);
  leases_.clear();
  held.clear();
  EXPECT_EQ(Acquire(1, {1, 2, 3}), AcquireResult::kOk);
}

TEST_F(ExpertCacheTest, ReportsADeviceErrorAndTriesAgain) {
  auto failures = std::make_shared<std::atomic<int>>(1);
  options_.make_reader = [failures](const AsyncReaderOptions& options, ReadDone on_done) {
    return MakeAsyncReader(options, [failures, on_done](std::uint64_t tag, int error) {
      on_done(tag, failures->fetch_sub(1) > 0 ? EIO : error);
    });
  };
  Make(2);
  ASSERT_EQ(Acquire(2, {7}), AcquireResult::kOk);
  try {
    leases_[0].Wait();
    FAIL() << "a failed read went unnoticed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("Input/output error"));
    EXPECT_THAT(error.what(), HasSubstr(TestArtifact().Shard(ShardId(0)).file.substr(0, 7)));
  }
  leases_.clear();
  ASSERT_EQ(Acquire(2, {7}), AcquireResult::kOk);
  leases_[0].Wait();
  EXPECT_TRUE(ShowsExpert(leases_[0].view(), 2, 7));
}

TEST_F(ExpertCacheTest, RefusesABudgetThatIsTooSmall) {
  MemoryBudget little(kMiB);
  options_.slots = {1000};
  EXPECT_THROW(ExpertCache(TestArtifact(), TestTable(), little, options_), Error);
}

TEST_F(ExpertCacheTest, ManyThreadsSeeTheRightExperts) {
  Make(5);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int turn = 0; turn < 60; ++turn) {
        const int layer = static_cast<int>(random() % kLayers);
        const int expert = static_cast<int>(random() % kExperts);
        ExpertLease lease;
        const ExpertId id(expert);
        // Each thread holds one lease at most, so five slots are enough for four of them.
        while (cache_->Acquire(LayerId(layer), {&id, 1}, {&lease, 1}) != AcquireResult::kOk) {
          std::this_thread::yield();
        }
        lease.Wait();
        if (!ShowsExpert(lease.view(), layer, expert)) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(cache_->stats().hits + cache_->stats().misses, 240u);
}

// Records read in steps of one leaf, from a model whose shards hold whole layers.
class StepTest : public testing::Test {
 protected:
  StepTest()
      : model_(DataFolder() / "golden" / "qwen3-moe", ShardingStrategy::kLayer),
        artifact_(model_.path()) {
    options_.make_reader = [this](const AsyncReaderOptions&, ReadDone on_done) {
      auto reader = std::make_unique<HeldReader>(std::move(on_done));
      reader_ = reader.get();
      return reader;
    };
    const std::vector<int> experts(kLayers, kExperts);
    ExpertTable table = FindExperts(artifact_, experts, kLeafBytes);
    // All slots have the largest size and hold any record.
    options_.slots.assign(SlotClassesOf(table).size(), 0);
    options_.slots[0] = 8;
    cache_ = std::make_unique<ExpertCache>(artifact_, std::move(table), budget_, options_);
  }

  AcquireResult Acquire(int layer, std::vector<ExpertId> experts) {
    leases_.resize(experts.size());
    return cache_->Acquire(LayerId(layer), experts, leases_);
  }
  // Whether a read holds bytes of the down projection only.
  bool OnlyDown(const ReadOp& op, int layer, int expert) const {
    const ExpertRecord record =
        FindExpertRecord(artifact_.manifest(), LayerId(layer), ExpertId(expert));
    return op.offset >= record.down.offset && op.offset < record.offset + record.size;
  }

  MemoryBudget budget_{64 * kMiB};
  ConvertedModel model_;
  Artifact artifact_;
  ExpertCacheOptions options_;
  HeldReader* reader_ = nullptr;
  std::unique_ptr<ExpertCache> cache_;
  std::vector<ExpertLease> leases_;
};

TEST_F(StepTest, GateAndUpOfAllMissesComeBeforeAnyDown) {
  ASSERT_EQ(Acquire(1, {ExpertId(2), ExpertId(5)}), AcquireResult::kOk);
  const std::vector<ReadOp> ops = reader_->ops();
  std::vector<bool> down;
  for (const ReadOp& op : ops) down.push_back(OnlyDown(op, 1, 2) || OnlyDown(op, 1, 5));
  EXPECT_TRUE(std::is_sorted(down.begin(), down.end()));
  EXPECT_FALSE(down.front());
  EXPECT_TRUE(down.back());
  reader_->LetGo(ops.size());
}

TEST_F(StepTest, EachProjectionIsReadyWhenItsBytesAre) {
  ASSERT_EQ(Acquire(0, {ExpertId(3)}), AcquireResult::kOk);
  std::string order;
  const auto note = [&](ExpertPart part, char name) {
    if (leases_[0].Ready(part) && order.find(name) == std::string::npos) order += name;
  };
  while (!reader_->ops().empty()) {
    reader_->LetGo(1);
    const std::uint32_t before = cache_->progress();
    note(ExpertPart::kGate, 'g');
    note(ExpertPart::kUp, 'u');
    note(ExpertPart::kDown, 'd');
    order += '.';
    EXPECT_EQ(cache_->progress(), before);
  }
  order.erase(std::remove(order.begin(), order.end(), '.'), order.end());
  EXPECT_EQ(order, "gud");
  leases_[0].Wait();
}

TEST_F(StepTest, AFailedStepFailsTheRecordAndNoOther) {
  ASSERT_EQ(Acquire(0, {ExpertId(3), ExpertId(4)}), AcquireResult::kOk);
  reader_->LetGo(1, EIO);
  EXPECT_TRUE(leases_[0].Ready(ExpertPart::kDown));
  EXPECT_THROW(leases_[0].Wait(ExpertPart::kDown), Error);
  EXPECT_FALSE(leases_[1].Ready(ExpertPart::kDown));
  reader_->LetGo(reader_->ops().size());
  leases_[1].Wait();
}

TEST_F(StepTest, ReadAheadTakesOnlyEmptyAndPassingSlots) {
  constexpr auto kPassing = ExpertCache::Replace::kPassing;
  const auto finish = [this] {
    while (!reader_->ops().empty()) reader_->LetGo(1);
  };
  const auto touch = [&](int expert, UseKind use) {
    const ExpertId id(expert);
    ExpertLease lease;
    ASSERT_EQ(cache_->Acquire(LayerId(0), {&id, 1}, {&lease, 1}, use), AcquireResult::kOk);
    finish();
  };
  for (int expert = 0; expert < 6; ++expert) touch(expert, UseKind::kKeep);
  EXPECT_TRUE(cache_->ReadAhead(LayerId(1), ExpertId(0), 1, kPassing));
  EXPECT_EQ(cache_->BackgroundReads(), 1u);
  finish();
  EXPECT_EQ(cache_->BackgroundReads(), 0u);
  touch(6, UseKind::kPassing);
  // All slots are taken; the one that was passing may go, but not what was read ahead.
  EXPECT_FALSE(cache_->ReadAhead(LayerId(1), ExpertId(1), 0, ExpertCache::Replace::kNothing));
  EXPECT_TRUE(cache_->ReadAhead(LayerId(1), ExpertId(1), 0, kPassing));
  finish();
  EXPECT_FALSE(cache_->ReadAhead(LayerId(1), ExpertId(2), 0, kPassing));
  EXPECT_TRUE(cache_->Resident(LayerId(1), ExpertId(0)));
  EXPECT_TRUE(cache_->Resident(LayerId(1), ExpertId(1)));
  for (int expert = 0; expert < 6; ++expert) {
    EXPECT_TRUE(cache_->Resident(LayerId(0), ExpertId(expert))) << expert;
  }
  const ExpertId id(1);
  ExpertLease lease;
  ASSERT_EQ(cache_->Acquire(LayerId(1), {&id, 1}, {&lease, 1}), AcquireResult::kOk);
  EXPECT_TRUE(lease.Ready(ExpertPart::kGate));
  EXPECT_EQ(cache_->stats().read_ahead, 2u);
  EXPECT_EQ(cache_->stats().read_ahead_used, 1u);
}

TEST_F(StepTest, PassingUsesLeaveTheWorkingSet) {
  const auto touch = [&](int layer, int expert, UseKind use) {
    const ExpertId id(expert);
    ExpertLease lease;
    ASSERT_EQ(cache_->Acquire(LayerId(layer), {&id, 1}, {&lease, 1}, use), AcquireResult::kOk);
    while (!reader_->ops().empty()) reader_->LetGo(1);
  };
  for (int expert = 0; expert < 7; ++expert) touch(0, expert, UseKind::kKeep);
  for (int expert = 0; expert < kExperts; ++expert) touch(1, expert, UseKind::kPassing);
  for (int expert = 0; expert < 7; ++expert) {
    EXPECT_TRUE(cache_->Resident(LayerId(0), ExpertId(expert))) << expert;
  }
}

// An expert shard without nodes can only be checked when all of it is there.
TEST_F(ExpertCacheTest, StepsOfARecordThatIsCheckedWhole) {
  options_.slots = {4};
  const std::vector<int> experts(kLayers, kExperts);
  cache_ = std::make_unique<ExpertCache>(
      TestArtifact(), FindExperts(TestArtifact(), experts, kDirectAlignment), budget_, options_);
  ASSERT_EQ(Acquire(2, {1, 6}), AcquireResult::kOk);
  for (ExpertLease& lease : leases_) lease.Wait();
  EXPECT_TRUE(ShowsExpert(leases_[0].view(), 2, 1));
  EXPECT_TRUE(ShowsExpert(leases_[1].view(), 2, 6));
}

// Promise 3: no byte is used before its hash was checked, on every arrival.
TEST(ExpertCacheDamage, IsFoundOnEveryArrival) {
  const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe");
  const Artifact artifact(model.path());
  const std::vector<int> experts(kLayers, kExperts);
  MemoryBudget budget(64 * kMiB);
  ExpertCacheOptions options;
  options.slots = {1};
  ExpertCache cache(artifact, FindExperts(artifact, experts), budget, options);
  const auto touch = [&cache](int expert) {
    ExpertLease lease;
    const ExpertId id(expert);
    ASSERT_EQ(cache.Acquire(LayerId(0), {&id, 1}, {&lease, 1}), AcquireResult::kOk);
    lease.Wait();
  };
  touch(4);
  touch(5);  // evicts 4
  const ExpertRecord record = FindExpertRecord(artifact.manifest(), LayerId(0), ExpertId(4));
  FlipBit(artifact.files().path(record.shard), record.offset + record.gate.size / 2);
  EXPECT_THROW(touch(4), Error);
  touch(5);
}

}  // namespace
}  // namespace doppler
