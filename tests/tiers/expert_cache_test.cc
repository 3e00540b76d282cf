#include "tier/expert_cache.h"

#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
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
  const File file(TestArtifact().ShardFile(record.shard).path(), OpenMode::kRead);
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
  FlipBit(artifact.ShardFile(record.shard).path(), record.offset + record.gate.size / 2);
  EXPECT_THROW(touch(4), Error);
  touch(5);
}

}  // namespace
}  // namespace doppler
