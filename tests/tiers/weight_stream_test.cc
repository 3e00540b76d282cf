#include "tier/weight_stream.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/alloc_guard.h"
#include "base/error.h"
#include "model/weights.h"
#include "support/held_reader.h"
#include "support/model_case.h"

namespace doppler {
namespace {

constexpr std::size_t kStreamed = 3;

class WeightStreamTest : public testing::Test {
 protected:
  WeightStreamTest() : model_(DataFolder() / "golden" / "llama3"), artifact_(model_.path()) {
    options_.step = kLeafBytes;
    for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      for (std::size_t i = 0; i < kStreamed; ++i) {
        layers_[i].push_back(fmt::format("layers.{}.self_attn.{}.weight", i, part));
      }
    }
  }

  void Make() { stream_ = std::make_unique<WeightStream>(artifact_, layers_, budget_, options_); }
  // With a reader that waits for the test.
  void MakeHeld() {
    options_.make_reader = [this](const AsyncReaderOptions&, ReadDone on_done) {
      auto reader = std::make_unique<HeldReader>(std::move(on_done));
      reader_ = reader.get();
      return reader;
    };
    Make();
  }

  // Whether a layer's buffer shows the bytes that its tensors have on disk.
  bool Shows(const StreamLease& lease, std::size_t layer) const {
    return std::all_of(layers_[layer].begin(), layers_[layer].end(), [&](const std::string& name) {
      const TensorEntry& tensor = artifact_.manifest().Tensor(name);
      std::vector<std::byte> bytes(tensor.size);
      File(artifact_.files().path(tensor.shard), OpenMode::kRead).ReadAt(tensor.offset, bytes);
      const WeightMatrix matrix = stream_->Matrix(name);
      const std::byte* data = lease.data() + (matrix.data - stream_->first_buffer());
      return std::memcmp(data, bytes.data(), bytes.size()) == 0 && matrix.rows == tensor.shape[0];
    });
  }
  void ExpectShows(std::size_t layer) {
    const StreamLease lease = stream_->Acquire(layer);
    EXPECT_TRUE(Shows(lease, layer)) << layer;
  }
  // The layers of the reads that are held, in their order, each once.
  std::vector<std::size_t> LayersBeingRead() const {
    std::vector<std::size_t> layers;
    for (const ReadOp& op : reader_->ops()) {
      for (std::size_t i = 0; i < kStreamed; ++i) {
        const TensorEntry& first = artifact_.manifest().Tensor(layers_[i].front());
        const TensorEntry& last = artifact_.manifest().Tensor(layers_[i].back());
        const bool inside =
            op.offset >= AlignDown(first.offset, kLeafBytes) && op.offset < last.offset + last.size;
        if (inside && (layers.empty() || layers.back() != i)) layers.push_back(i);
        if (inside) break;
      }
    }
    return layers;
  }
  void FinishReads() { reader_->LetGo(reader_->ops().size()); }

  ConvertedModel model_;
  Artifact artifact_;
  MemoryBudget budget_{64 * kMiB};
  WeightStreamOptions options_;
  std::array<std::vector<std::string>, kStreamed> layers_;
  HeldReader* reader_ = nullptr;
  std::unique_ptr<WeightStream> stream_;
};

TEST_F(WeightStreamTest, ShowsEveryLayerOfEveryPass) {
  for (const std::size_t buffers : {1, 2, 3, 5}) {
    options_.buffers = buffers;
    Make();
    for (std::size_t turn = 0; turn < 4 * kStreamed; ++turn) ExpectShows(turn % kStreamed);
  }
}

TEST_F(WeightStreamTest, ReadsEachLayerOncePerPassAndDoesNotAllocate) {
  MakeHeld();
  Bytes pass = 0;
  for (const auto& names : layers_) pass += TotalSize(CoverTensors(artifact_, names));
  const NoAllocScope no_alloc;
  for (std::size_t turn = 0; turn < 2 * kStreamed; ++turn) {
    {
      const AllowAllocScope of_the_test;
      FinishReads();
    }
    const StreamLease lease = stream_->Acquire(turn % kStreamed);
  }
  // The last leases set the reads of the next pass's first two layers going.
  const AllowAllocScope of_the_test;
  EXPECT_GT(stream_->stats().bytes_read, 2 * pass);
  EXPECT_LT(stream_->stats().bytes_read, 3 * pass);
}

TEST_F(WeightStreamTest, ReadsAheadAcrossLayersAndPasses) {
  MakeHeld();
  EXPECT_THAT(LayersBeingRead(), testing::ElementsAre(0, 1));
  FinishReads();
  EXPECT_THAT(LayersBeingRead(), testing::IsEmpty());
  { const StreamLease lease = stream_->Acquire(0); }
  EXPECT_THAT(LayersBeingRead(), testing::ElementsAre(2));
  { const StreamLease lease = stream_->Acquire(1); }
  EXPECT_THAT(LayersBeingRead(), testing::ElementsAre(2, 0));
  FinishReads();
  { const StreamLease lease = stream_->Acquire(2); }
  EXPECT_THAT(LayersBeingRead(), testing::ElementsAre(1));
  FinishReads();
}

TEST_F(WeightStreamTest, NothingIsReadIntoABufferThatIsHeld) {
  MakeHeld();
  FinishReads();
  ExpectShows(0);
  FinishReads();
  const StreamLease lease = stream_->Acquire(1);
  FinishReads();
  EXPECT_THAT(LayersBeingRead(), testing::IsEmpty());
  EXPECT_TRUE(Shows(lease, 1));
}

TEST_F(WeightStreamTest, ALayerOutOfOrderIsReadFromItsBeginning) {
  Make();
  for (const std::size_t layer : {0, 0, 1, 0, 1, 2, 1, 2, 0, 2}) ExpectShows(layer);
}

TEST_F(WeightStreamTest, ReadsThatOvertakeEachOther) {
  for (const auto make : {MakeUringReader, MakeThreadReader}) {
    if (make == MakeUringReader && !UringPermitted()) continue;
    options_.make_reader = [make](const AsyncReaderOptions& options, ReadDone on_done) {
      const auto turn = std::make_shared<std::atomic<unsigned>>(0);
      return make(options, [turn, on_done = std::move(on_done)](std::uint64_t tag, int error) {
        std::this_thread::sleep_for(std::chrono::microseconds(turn->fetch_add(1) * 7919 % 1000));
        on_done(tag, error);
      });
    };
    Make();
    for (std::size_t turn = 0; turn < 3 * kStreamed; ++turn) ExpectShows(turn % kStreamed);
    ExpectShows(1);  // drops what was read ahead
  }
}

TEST_F(WeightStreamTest, AFailedReadFailsItsLayerAndIsTriedAgain) {
  MakeHeld();
  FinishReads();
  ExpectShows(0);
  ExpectShows(1);
  reader_->LetGo(1, EIO);  // of layer 2, ahead of its turn
  std::thread device([this] {
    while (!reader_->ops().empty()) reader_->LetGo(1);
  });
  try {
    stream_->Acquire(2);
    FAIL() << "a failed read went unnoticed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("Input/output error"));
    EXPECT_THAT(error.what(), testing::HasSubstr("cannot read the shard"));
  }
  device.join();
  std::thread again([this] {
    while (reader_->ops().empty()) std::this_thread::yield();
    while (!reader_->ops().empty()) reader_->LetGo(1);
  });
  ExpectShows(2);
  again.join();
  FinishReads();
}

// Promise 3: no byte is used before its hash was checked, on every arrival.
TEST_F(WeightStreamTest, DamageIsFoundOnEveryArrival) {
  Make();
  for (std::size_t layer = 0; layer < kStreamed; ++layer) ExpectShows(layer);
  const TensorEntry& tensor = artifact_.manifest().Tensor(layers_[2].front());
  const auto flip = [&] {
    FlipBit(artifact_.files().path(tensor.shard), tensor.offset + tensor.size / 2);
  };
  flip();
  ExpectShows(0);  // starts to read layer 2
  EXPECT_THROW(stream_->Acquire(2), Error);
  EXPECT_THROW(stream_->Acquire(2), Error);
  flip();
  ExpectShows(2);
  ExpectShows(0);
}

TEST_F(WeightStreamTest, RefusesABudgetThatIsTooSmall) {
  MemoryBudget little(kLeafBytes);
  EXPECT_THROW(WeightStream(artifact_, layers_, little, options_), Error);
}

}  // namespace
}  // namespace doppler
