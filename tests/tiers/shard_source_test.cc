// Experts whose shards are not on disk: they come late, damaged or not at all.
#include "store/shard_source.h"

#include <chrono>
#include <cstring>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/alloc_guard.h"
#include "base/error_testing.h"
#include "support/fake_shards.h"
#include "support/held_reader.h"
#include "support/model_case.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const ConvertedModel& Original() {
  static const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe");
  return model;
}

class ShardSourceTest : public testing::Test {
 protected:
  ShardSourceTest()
      : shards_(Artifact(Original().path()).manifest().shards),
        source_(Original().path(), folder(), shards_),
        artifact_(folder(), std::nullopt, &source_) {
    ExpertCacheOptions options;
    options.slots = {4};
    options.reserve = 2;
    cache_ = std::make_unique<ExpertCache>(
        artifact_, FindExperts(artifact_, std::vector<int>(3, 16)), budget_, options);
  }

  fs::path folder() const { return temp_.path() / "model"; }
  ShardId ShardOf(int expert) const {
    return FindExpertRecord(artifact_.manifest(), LayerId(0), ExpertId(expert)).shard;
  }
  ExpertLease Acquire(int expert) {
    const NoAllocScope no_alloc;
    ExpertLease lease;
    const ExpertId id(expert);
    EXPECT_EQ(cache_->Acquire(LayerId(0), {&id, 1}, {&lease, 1}), AcquireResult::kOk);
    return lease;
  }
  // A page-in is counted after its bytes have been told to be there.
  bool PageInsBecome(std::uint64_t count) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (cache_->stats().page_ins.total() != count) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  bool Asked(int expert, ShardUrgency urgency) const {
    const auto asked = source_.asked();
    const auto found = asked.find(ShardOf(expert).value);
    return found != asked.end() && found->second == urgency;
  }

  const TempFolder temp_;
  const std::vector<ShardEntry> shards_;
  FakeShards source_;
  const Artifact artifact_;
  MemoryBudget budget_{64 * kMiB};
  std::unique_ptr<ExpertCache> cache_;
};

TEST_F(ShardSourceTest, AShardThatComesLateHoldsUpNoOther) {
  ExpertLease late = Acquire(3);
  EXPECT_TRUE(Asked(3, ShardUrgency::kNow));
  source_.Bring(ShardOf(5));
  ExpertLease other = Acquire(5);
  other.Wait();
  EXPECT_FALSE(late.Ready(ExpertPart::kGate));
  std::thread bringer([this] { source_.Bring(ShardOf(3)); });
  late.Wait();
  bringer.join();
  EXPECT_EQ(source_.requests(), 1);
  EXPECT_TRUE(PageInsBecome(2));
}

TEST_F(ShardSourceTest, AShardThatDoesNotComeFailsAndIsAskedForAgain) {
  ExpertLease lease = Acquire(3);
  source_.Refuse(ShardOf(3), "no peer has it");
  EXPECT_EQ(MessageOf([&] { lease.Wait(); }), "no peer has it");
  lease = ExpertLease();
  EXPECT_FALSE(cache_->Resident(LayerId(0), ExpertId(3)));
  ExpertLease again = Acquire(3);
  EXPECT_EQ(source_.requests(), 2);
  source_.Bring(ShardOf(3));
  again.Wait();
}

TEST_F(ShardSourceTest, AShardThatComesDamagedIsNotUsed) {
  ExpertLease lease = Acquire(3);
  const std::string& file = shards_[ShardOf(3).index()].file;
  fs::copy_file(Original().path() / file, folder() / file);
  FlipBit(folder() / file, 100);
  source_.Announce(ShardOf(3));
  EXPECT_THAT(MessageOf([&] { lease.Wait(); }), HasSubstr("is damaged"));
  lease = ExpertLease();
  FlipBit(folder() / file, 100);
  Acquire(3).Wait();
}

// As when another expert of the same token has failed.
TEST_F(ShardSourceTest, AnAbandonedLeaseDoesNotWait) {
  { const ExpertLease abandoned = Acquire(3); }
  EXPECT_FALSE(cache_->Resident(LayerId(0), ExpertId(3)));
  // What comes then stands in no slot's way.
  source_.Bring(ShardOf(3));
  for (int expert = 4; expert < 9; ++expert) {
    source_.Bring(ShardOf(expert));
    Acquire(expert).Wait();
  }
  Acquire(3).Wait();
}

TEST_F(ShardSourceTest, TwoLeasesOfOneParkedSlot) {
  ExpertLease first = Acquire(3);
  { const ExpertLease second = Acquire(3); }
  EXPECT_TRUE(cache_->Resident(LayerId(0), ExpertId(3)));
  source_.Bring(ShardOf(3));
  first.Wait();
}

TEST_F(ShardSourceTest, GuessesAskForShardsAndTakeNoSlot) {
  const std::vector<ExpertId> guesses = {ExpertId(3), ExpertId(4)};
  cache_->Speculate(LayerId(0), guesses, 1);
  EXPECT_TRUE(Asked(3, ShardUrgency::kSoon));
  EXPECT_TRUE(cache_->ReadAhead(LayerId(0), ExpertId(5), 1, ExpertCache::Replace::kNothing));
  EXPECT_TRUE(Asked(5, ShardUrgency::kSoon));
  cache_->Expect(LayerId(0), ExpertId(6));
  EXPECT_TRUE(Asked(6, ShardUrgency::kSoon));
  EXPECT_EQ(cache_->BackgroundReads(), 0u);
  EXPECT_FALSE(cache_->Resident(LayerId(0), ExpertId(3)));
  source_.Bring(ShardOf(3));
  cache_->Speculate(LayerId(0), guesses, 1);
  EXPECT_TRUE(cache_->Resident(LayerId(0), ExpertId(3)));
  const ExpertLease lease = Acquire(4);
  EXPECT_TRUE(Asked(4, ShardUrgency::kNow));
}

TEST_F(ShardSourceTest, AShardStaysWhileItIsReadAndMayGoAfterwards) {
  ExpertLease lease = Acquire(3);
  const ShardId shard = ShardOf(3);
  source_.Bring(shard);
  lease.Wait();
  // Bytes are told to be there before the read has ended.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!source_.Remove(shard)) ASSERT_LT(std::chrono::steady_clock::now(), end);
  EXPECT_FALSE(fs::exists(folder() / shards_[shard.index()].file));
  // The record is resident, whatever the disk holds.
  lease = ExpertLease();
  Acquire(3).Wait();
  EXPECT_EQ(source_.requests(), 1);
  for (int expert = 4; expert < 9; ++expert) {
    source_.Bring(ShardOf(expert));
    Acquire(expert).Wait();
  }
  // The file that comes again is the one that is read.
  lease = Acquire(3);
  EXPECT_TRUE(Asked(3, ShardUrgency::kNow));
  source_.Bring(shard);
  lease.Wait();
}

TEST(ShardSourceLeases, AShardThatIsBeingReadIsNotRemoved) {
  const TempFolder temp;
  const std::vector<ShardEntry> shards = Artifact(Original().path()).manifest().shards;
  FakeShards source(Original().path(), temp.path() / "model", shards);
  const Artifact artifact(temp.path() / "model", std::nullopt, &source);
  HeldReader* held = nullptr;
  ExpertCacheOptions options;
  options.slots = {4};
  options.make_reader = [&held](const AsyncReaderOptions&, ReadDone on_done) {
    auto reader = std::make_unique<HeldReader>(std::move(on_done));
    held = reader.get();
    return reader;
  };
  MemoryBudget budget(64 * kMiB);
  ExpertCache cache(artifact, FindExperts(artifact, std::vector<int>(3, 16)), budget, options);
  const ExpertId id(3);
  const ShardId shard = FindExpertRecord(artifact.manifest(), LayerId(0), id).shard;
  source.Bring(shard);
  ExpertLease lease;
  ASSERT_EQ(cache.Acquire(LayerId(0), {&id, 1}, {&lease, 1}), AcquireResult::kOk);
  EXPECT_FALSE(source.Remove(shard));
  while (!held->ops().empty()) held->LetGo(1);
  lease.Wait();
  EXPECT_TRUE(source.Remove(shard));
}

TEST_F(ShardSourceTest, ShardsAreRankedByTheUsesOfTheirRecords) {
  cache_->LetShardsGo(RankByFrequency);
  for (const int expert : {5, 4, 4}) {
    source_.Bring(ShardOf(expert));
    Acquire(expert).Wait();
  }
  const std::vector<double> by_use = source_.RanksNow();
  EXPECT_LT(by_use[ShardOf(3).index()], by_use[ShardOf(5).index()]);
  EXPECT_LT(by_use[ShardOf(5).index()], by_use[ShardOf(4).index()]);
  Acquire(5).Wait();
  cache_->LetShardsGo(RankByRecency);
  const std::vector<double> by_time = source_.RanksNow();
  EXPECT_LT(by_time[ShardOf(4).index()], by_time[ShardOf(5).index()]);
}

TEST_F(ShardSourceTest, ADamagedListOfShardsIsStillRefused) {
  fs::remove(folder() / shards_[ShardOf(3).index()].file);
  EXPECT_THAT(MessageOf([&] { Artifact{folder()}; }), HasSubstr("is missing"));
}

// Brings what is asked for, from a thread of its own; or refuses it.
class Bringer {
 public:
  explicit Bringer(FakeShards& source) : source_(source), thread_([this] { Run(); }) {}
  ~Bringer() {
    stop_ = true;
    thread_.join();
  }
  std::atomic<bool> refuse{false};

 private:
  void Run() {
    while (!stop_) {
      for (const auto& [shard, urgency] : source_.asked()) {
        if (urgency != ShardUrgency::kNow) continue;
        if (refuse) {
          source_.Refuse(ShardId(shard), "no peer has it");
        } else {
          source_.Bring(ShardId(shard));
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  FakeShards& source_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// The answer is that of a model which is all there; a step that fails leaves the session usable.
TEST(ShardSourceEngine, SameBitsFromAnEmptyDiskAndAfterAFailure) {
  const fs::path original = DemoModel();
  EngineOptions options;
  options.with_tokenizer = false;
  options.context = 64;
  options.ubatch = 8;
  options.logit_rows = 8;
  options.threads = 2;
  options.most_slots = 20;
  options.speculate.reset();
  const std::vector<TokenId> tokens = {5, 81, 3, 200, 17, 44, 9, 130, 7, 99, 61, 2};
  const auto logits_of = [&](Engine& engine) { return AllLogits(engine, tokens, 4); };
  Engine local(original, options);
  const std::vector<float> expected = logits_of(local);
  const TempFolder temp;
  FakeShards source(original, temp.path() / "model", local.artifact().manifest().shards);
  Bringer bringer(source);
  bringer.refuse = true;
  options.shard_source = &source;
  Engine engine(temp.path() / "model", options);
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_EQ(MessageOf([&] { logits_of(engine); }), "no peer has it");
  }
  bringer.refuse = false;
  const std::vector<float> got = logits_of(engine);
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
}

}  // namespace
}  // namespace doppler
