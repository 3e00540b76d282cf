#include "store/shard_reader.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include <gtest/gtest.h>

#include "base/alloc_guard.h"
#include "io/mapped_memory.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShards = 12;
constexpr int kDepth = 3;

// Shards of experts, each full of its own letter, of which `kDepth` may be open.
class ShardReaderTest : public testing::Test {
 protected:
  ShardReaderTest() : shards_(kShards), errors_(kShards) {
    for (std::size_t i = 0; i < kShards; ++i) {
      shards_[i].file = std::to_string(i) + ".bin";
      shards_[i].type = ShardType::kExpert;
      shards_[i].size = kDirectAlignment;
      WriteTextFile(folder_.path() / shards_[i].file,
                    std::string(kDirectAlignment, static_cast<char>('a' + i)));
    }
    files_ = std::make_unique<ShardFiles>(folder_.path(), shards_, kDepth);
    reader_ = std::make_unique<ShardReader>(
        *files_, ShardReaderOptions{.depth = kDepth, .memory = memory_.span()},
        [this](std::uint64_t tag, int error) {
          errors_[tag] = error;
          done_.fetch_add(1);
          if (follow_) Submit(static_cast<std::size_t>(tag) + kDepth);
        });
  }

  void Submit(std::size_t i) {
    if (i >= kShards) return;
    reader_->Submit({.shard = ShardId(i), .offset = 0, .out = Part(i), .tag = i});
  }

  void ReadAll() {
    {
      const NoAllocScope no_alloc;
      for (std::size_t i = 0; i < kShards; ++i) Submit(i);
    }
    reader_.reset();
  }
  std::span<std::byte> Part(std::size_t i) {
    return memory_.span().subspan(i * kDirectAlignment, kDirectAlignment);
  }
  bool ShowsShard(std::size_t i) {
    const auto part = Part(i);
    return std::all_of(part.begin(), part.end(), [i](std::byte byte) {
      return static_cast<char>(byte) == static_cast<char>('a' + i);
    });
  }

  const TempFolder folder_;
  std::vector<ShardEntry> shards_;
  MappedMemory memory_{kShards * kDirectAlignment};
  std::vector<int> errors_;  // [tag], of the read
  std::atomic<std::size_t> done_{0};
  bool follow_ = false;  // each read that is done starts another
  std::unique_ptr<ShardFiles> files_;
  std::unique_ptr<ShardReader> reader_;
};

TEST_F(ShardReaderTest, ReadsMoreShardsThanMayBeOpen) {
  EXPECT_TRUE(reader_->registered() == "nothing" || reader_->registered() == "buffers");
  ReadAll();
  for (std::size_t i = 0; i < kShards; ++i) {
    EXPECT_EQ(errors_[i], 0);
    EXPECT_TRUE(ShowsShard(i)) << i;
  }
  EXPECT_EQ(files_->stats().opens, kShards);
  EXPECT_EQ(files_->stats().evictions, kShards - kDepth);
}

TEST_F(ShardReaderTest, AShardThatCannotBeOpenedIsAReadThatFails) {
  fs::remove(folder_.path() / shards_[4].file);
  ReadAll();
  for (std::size_t i = 0; i < kShards; ++i) {
    EXPECT_EQ(errors_[i], i == 4 ? ENOENT : 0) << i;
    EXPECT_EQ(ShowsShard(i), i != 4) << i;
  }
}

// As the tier does it. All files that may be open are pinned then, but for the one whose read is
// done: if that were too, this would wait for ever.
TEST_F(ShardReaderTest, AReadThatIsDoneLeavesRoomForTheNext) {
  follow_ = true;
  for (std::size_t i = 0; i < kDepth; ++i) Submit(i);
  while (done_.load() < kShards) std::this_thread::yield();
  reader_.reset();
  for (std::size_t i = 0; i < kShards; ++i) EXPECT_TRUE(ShowsShard(i)) << i;
}

TEST_F(ShardReaderTest, PinsEndWithTheirReads) {
  ReadAll();
  for (std::size_t i = 0; i < kShards; ++i) {
    EXPECT_EQ(files_->Pin(ShardId(i)).error(), 0);  // would wait if all were pinned
  }
}

}  // namespace
}  // namespace doppler
