#include "store/shard_files.h"

#include <atomic>
#include <cerrno>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/alloc_guard.h"
#include "base/error_testing.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr Bytes kShardBytes = 4096;

ShardEntry EntryOf(std::size_t i, ShardType type) {
  ShardEntry entry;
  entry.file = std::to_string(i) + ".bin";
  entry.type = type;
  entry.size = kShardBytes;
  return entry;
}

std::vector<ShardEntry> EntriesOf(std::size_t dense, std::size_t experts) {
  std::vector<ShardEntry> shards;
  for (std::size_t i = 0; i < dense + experts; ++i) {
    shards.push_back(EntryOf(i, i < dense ? ShardType::kDense : ShardType::kExpert));
  }
  return shards;
}

TEST(MostExpertFiles, IsWhatTheLimitLeaves) {
  const std::vector<ShardEntry> shards = EntriesOf(3, 1000);
  EXPECT_EQ(MostExpertFiles(shards, 1'000'000), 1000u);
  EXPECT_EQ(MostExpertFiles(shards, 1003 + kOtherFiles), 1000u);
  EXPECT_EQ(MostExpertFiles(shards, 1002 + kOtherFiles), 999u);
  EXPECT_EQ(MostExpertFiles(shards, 3 + kOtherFiles + kLeastExpertFiles), kLeastExpertFiles);
}

TEST(MostExpertFiles, ALimitThatIsTooLowIsRefusedWithOneThatWouldDo) {
  const std::vector<ShardEntry> shards = EntriesOf(3, 1000);
  const std::size_t needed = 3 + kOtherFiles + kLeastExpertFiles;
  const std::string message = MessageOf([&] { MostExpertFiles(shards, needed - 1); });
  EXPECT_THAT(message, HasSubstr("1003 shards"));
  EXPECT_THAT(message, HasSubstr("may open " + std::to_string(needed - 1) + " files"));
  EXPECT_THAT(message, HasSubstr("'ulimit -n " + std::to_string(needed) + "'"));
  // Few experts need no more than themselves, and none nothing.
  EXPECT_EQ(MostExpertFiles(EntriesOf(3, 2), 5 + kOtherFiles), 2u);
  EXPECT_EQ(MostExpertFiles(EntriesOf(3, 0), 3 + kOtherFiles), 0u);
  EXPECT_THROW(MostExpertFiles(EntriesOf(3, 0), 2 + kOtherFiles), Error);
}

// Two dense shards, 0 and 1, and six of experts, each full of its own number.
class ShardFilesTest : public testing::Test {
 protected:
  ShardFilesTest() {
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      WriteTextFile(PathOf(i), std::string(kShardBytes, static_cast<char>('0' + i)));
    }
  }
  void Make(std::size_t most) {
    files_ = std::make_unique<ShardFiles>(folder_.path(), shards_, most);
  }
  fs::path PathOf(std::size_t i) const { return folder_.path() / shards_[i].file; }

  // Pins and lets go.
  void Touch(int shard) { EXPECT_EQ(files_->Pin(ShardId(shard)).error(), 0); }
  // How often a touch of these shards has to open one.
  std::uint64_t OpensFor(std::initializer_list<int> touched) {
    const std::uint64_t before = files_->stats().opens;
    for (const int shard : touched) Touch(shard);
    return files_->stats().opens - before;
  }
  // What the first byte of a pinned file says.
  static char Read(const ShardPin& pin) {
    alignas(kDirectAlignment) std::byte bytes[kShardBytes];
    pin.file().ReadAt(0, bytes);
    return static_cast<char>(bytes[0]);
  }
  // Whether this process has the shard open.
  bool IsOpen(int shard) const {
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      if (fs::read_symlink(entry.path(), gone) == PathOf(static_cast<std::size_t>(shard))) {
        return true;
      }
    }
    return false;
  }
  std::vector<int> OpenShards() const {
    std::vector<int> open;
    for (int i = 0; i < static_cast<int>(shards_.size()); ++i) {
      if (IsOpen(i)) open.push_back(i);
    }
    return open;
  }

  const TempFolder folder_;
  std::vector<ShardEntry> shards_ = EntriesOf(2, 6);
  std::unique_ptr<ShardFiles> files_;
};

TEST_F(ShardFilesTest, AllStayOpenWhereThereIsRoom) {
  Make(6);
  EXPECT_FALSE(files_->on_demand());
  EXPECT_EQ(files_->always_open().size(), 8u);
  EXPECT_THAT(OpenShards(), testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  const ShardPin pin = files_->Pin(ShardId(5));
  EXPECT_EQ(&pin.file(), &files_->always_open()[5]);
  EXPECT_EQ(files_->stats().opens, 0u);
}

TEST_F(ShardFilesTest, ExpertShardsAreOpenedOnDemandAndOthersStay) {
  Make(3);
  EXPECT_TRUE(files_->on_demand());
  EXPECT_EQ(files_->most_expert_files(), 3u);
  EXPECT_TRUE(files_->always_open().empty());
  EXPECT_THAT(OpenShards(), testing::ElementsAre(0, 1));
  for (int shard = 0; shard < 8; ++shard) {
    EXPECT_EQ(Read(files_->Pin(ShardId(shard))), static_cast<char>('0' + shard));
    EXPECT_LE(OpenShards().size(), 5u);
  }
  EXPECT_THAT(OpenShards(), testing::ElementsAre(0, 1, 5, 6, 7));
  EXPECT_EQ(files_->stats().opens, 6u);
  EXPECT_EQ(files_->stats().evictions, 3u);
}

TEST_F(ShardFilesTest, TheOneUnusedLongestIsClosed) {
  Make(3);
  for (const int shard : {2, 3, 4, 2}) Touch(shard);
  Touch(5);  // instead of 3
  EXPECT_THAT(OpenShards(), testing::ElementsAre(0, 1, 2, 4, 5));
  EXPECT_EQ(OpensFor({4, 2, 5}), 0u);
  EXPECT_EQ(OpensFor({3}), 1u);  // instead of 4
  EXPECT_THAT(OpenShards(), testing::ElementsAre(0, 1, 2, 3, 5));
}

TEST_F(ShardFilesTest, WhatIsPinnedIsNeverClosed) {
  Make(3);
  ShardPin held = files_->Pin(ShardId(2));
  const ShardPin again = files_->Pin(ShardId(2));
  const ShardPin other = files_->Pin(ShardId(3));
  for (const int shard : {4, 5, 6, 7, 4, 5}) Touch(shard);
  EXPECT_EQ(Read(held), '2');
  EXPECT_EQ(Read(other), '3');
  // One pin of two has ended.
  held.Release();
  for (const int shard : {4, 5, 6, 7}) Touch(shard);
  EXPECT_EQ(Read(again), '2');
}

TEST_F(ShardFilesTest, PinsMove) {
  Make(1);
  ShardPin pin = files_->Pin(ShardId(2));
  ShardPin moved = std::move(pin);
  EXPECT_EQ(Read(moved), '2');
  moved = files_->Pin(ShardId(0));
  EXPECT_EQ(Read(moved), '0');
  Touch(3);  // there is room again
  EXPECT_THAT(OpenShards(), testing::ElementsAre(0, 1, 3));
}

TEST_F(ShardFilesTest, AFileThatCannotBeOpenedIsToldAndTakesNoRoom) {
  Make(2);
  const ShardPin held = files_->Pin(ShardId(2));
  Touch(3);
  fs::rename(PathOf(4), PathOf(4).string() + "x");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(files_->Pin(ShardId(4)).error(), ENOENT);
  const std::string problem = files_->ReadProblem(ShardId(4), ENOENT);
  EXPECT_THAT(problem, HasSubstr(PathOf(4).string()));
  EXPECT_THAT(problem, HasSubstr("missing"));
  EXPECT_EQ(Read(held), '2');
  EXPECT_EQ(Read(files_->Pin(ShardId(3))), '3');
  // It may come back.
  fs::rename(PathOf(4).string() + "x", PathOf(4));
  EXPECT_EQ(Read(files_->Pin(ShardId(4))), '4');
  EXPECT_THAT(files_->ReadProblem(ShardId(4), EMFILE), HasSubstr("ulimit -n"));
}

TEST_F(ShardFilesTest, PinningDoesNotAllocate) {
  Make(2);
  const NoAllocScope no_alloc;
  for (int turn = 0; turn < 3; ++turn) {
    for (int shard = 0; shard < 8; ++shard) {
      const ShardPin pin = files_->Pin(ShardId(shard));
      if (pin.error() != 0) std::abort();
    }
  }
}

TEST_F(ShardFilesTest, MissingAndDamagedShardsAreFoundAtTheOpening) {
  for (const std::size_t most : {1, 6}) {
    fs::resize_file(PathOf(5), 2 * kShardBytes);
    EXPECT_THAT(MessageOf([&] { Make(most); }),
                testing::AllOf(HasSubstr("5.bin"), HasSubstr("8192 bytes")));
    fs::remove(PathOf(5));
    EXPECT_THAT(MessageOf([&] { Make(most); }),
                testing::AllOf(HasSubstr("5.bin"), HasSubstr("missing")));
    fs::create_directory(PathOf(5));
    EXPECT_THAT(MessageOf([&] { Make(most); }), HasSubstr("5.bin"));
    fs::remove(PathOf(5));
    WriteTextFile(PathOf(5), std::string(kShardBytes, '5'));
  }
}

// More threads than may hold a shard: each waits for its turn and reads the right file.
TEST_F(ShardFilesTest, ManyThreadsReadTheRightFiles) {
  Make(2);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int turn = 0; turn < 200; ++turn) {
        const int shard = (thread * 3 + turn * 5) % 8;
        const ShardPin pin = files_->Pin(ShardId(shard));
        if (pin.error() != 0 || Read(pin) != static_cast<char>('0' + shard)) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(OpenShards().size(), 4u);
  EXPECT_EQ(files_->stats().opens - files_->stats().evictions, 2u);
}

}  // namespace
}  // namespace doppler
