#include "tier/weight_stream.h"

#include <algorithm>
#include <utility>

#include "base/alloc_guard.h"
#include "base/error.h"
#include "base/stopwatch.h"
#include "tier/read_queue.h"

namespace doppler {
namespace {

// A read's name on its way through the reader: its turn, and its number in that.
constexpr int kReadBits = 24;

}  // namespace

WeightStreamStats operator-(const WeightStreamStats& after, const WeightStreamStats& before) {
  return {.bytes_read = after.bytes_read - before.bytes_read,
          .stall_seconds = after.stall_seconds - before.stall_seconds};
}

StreamLease::StreamLease(StreamLease&& other) noexcept
    : stream_(std::exchange(other.stream_, nullptr)), data_(other.data_) {}

StreamLease::~StreamLease() {
  if (stream_ != nullptr) stream_->Release();
}

WeightStream::WeightStream(const Artifact& artifact,
                           std::span<const std::vector<std::string>> layers, MemoryBudget& budget,
                           const WeightStreamOptions& options)
    : artifact_(artifact), buffers_(options.buffers), unread_(options.buffers) {
  DOPPLER_CHECK(!layers.empty() && buffers_ > 0);
  for (const std::vector<std::string>& names : layers) AddLayer(names, options.step);
  reservation_ = budget.ReserveOrThrow(buffers_ * buffer_bytes_, "the buffers of streamed weights",
                                       "raise --host-memory");
  memory_ = MappedMemory(buffers_ * buffer_bytes_);
  reader_ =
      std::make_unique<ShardReader>(artifact_.files(),
                                    ShardReaderOptions{.depth = kDeviceDepth,
                                                       .threads = kReaderThreads,
                                                       .memory = memory_.span(),
                                                       .make_reader = options.make_reader},
                                    [this](std::uint64_t tag, int error) { OnRead(tag, error); });
  const std::lock_guard lock(mutex_);
  StartReads();
}

WeightStream::~WeightStream() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

void WeightStream::AddLayer(const std::vector<std::string>& names, Bytes step) {
  const std::vector<Extent> extents = CoverTensors(artifact_, names);
  reads_.push_back(CutIntoReads(artifact_, extents, step));
  DOPPLER_CHECK(!reads_.back().empty() && reads_.back().size() < std::size_t{1} << kReadBits);
  places_.merge(PlaceTensors(artifact_, extents, names));
  buffer_bytes_ = std::max(buffer_bytes_, AlignUp(TotalSize(extents), kDirectAlignment));
}

std::size_t WeightStream::LayerOf(std::uint64_t turn) const {
  return static_cast<std::size_t>(turn % reads_.size());
}

std::byte* WeightStream::BufferOf(std::uint64_t turn) const {
  return memory_.data() + turn % buffers_ * buffer_bytes_;
}

StreamLease WeightStream::Acquire(std::size_t layer) {
  DOPPLER_CHECK(layer < reads_.size());
  std::unique_lock lock(mutex_);
  const Stopwatch watch(stats_.stall_seconds);
  DOPPLER_CHECK(!held_);
  if (stopped_ || LayerOf(turn_) != layer) Restart(lock, layer);
  const auto failed = [this] { return failure_ && failure_->turn == turn_; };
  changed_.wait(lock, [&] {
    const bool complete = reading_turn_ > turn_ && unread_[turn_ % buffers_] == 0;
    return complete || failed();
  });
  if (failed()) {
    stopped_ = true;
    WaitForReads(lock);
    const AllowAllocScope message;
    throw Error(failure_->problem);
  }
  held_ = true;
  return {this, BufferOf(turn_)};
}

void WeightStream::Release() {
  const std::lock_guard lock(mutex_);
  held_ = false;
  ++turn_;
  StartReads();
}

void WeightStream::WaitForReads(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return pending_ == 0; });
}

void WeightStream::Restart(std::unique_lock<std::mutex>& lock, std::size_t layer) {
  stopped_ = true;
  WaitForReads(lock);
  failure_.reset();
  turn_ = layer;
  reading_turn_ = layer;
  next_read_ = 0;
  stopped_ = false;
  StartReads();
}

// Keeps the device busy as long as there are buffers to read into. After a failure nobody will want
// what comes next. REQUIRES: mutex_ is held.
void WeightStream::StartReads() {
  while (!stopped_ && !failure_ && on_device_ < kDeviceDepth && reading_turn_ < turn_ + buffers_) {
    const std::vector<PlacedExtent>& reads = reads_[LayerOf(reading_turn_)];
    if (next_read_ == 0) unread_[reading_turn_ % buffers_] = reads.size();
    const PlacedExtent& read = reads[next_read_];
    ++on_device_;
    ++pending_;
    stats_.bytes_read += read.extent.size;
    reader_->Submit({.shard = read.extent.shard,
                     .offset = read.extent.offset,
                     .out = {BufferOf(reading_turn_) + read.place, read.extent.size},
                     .tag = reading_turn_ << kReadBits | next_read_});
    if (++next_read_ == reads.size()) {
      ++reading_turn_;
      next_read_ = 0;
    }
  }
}

// Runs on a thread of the reader.
void WeightStream::OnRead(std::uint64_t tag, int error) {
  const std::uint64_t turn = tag >> kReadBits;
  const PlacedExtent& read = reads_[LayerOf(turn)][tag & ((1u << kReadBits) - 1)];
  {
    // First the next read, then the work: the device is not to wait for a hash.
    const std::lock_guard lock(mutex_);
    --on_device_;
    StartReads();
  }
  std::string problem = Check(turn, read, error);
  const std::lock_guard lock(mutex_);
  --pending_;
  --unread_[turn % buffers_];
  const bool failed = !problem.empty();
  if (failed && (!failure_ || turn < failure_->turn)) {
    failure_ = Failure{.turn = turn, .problem = std::move(problem)};
  }
  if (failed || pending_ == 0 || unread_[turn % buffers_] == 0) changed_.notify_all();
}

// What is wrong with the bytes that were read; empty if nothing is.
std::string WeightStream::Check(std::uint64_t turn, const PlacedExtent& read, int error) const {
  const std::span<const std::byte> bytes(BufferOf(turn) + read.place, read.extent.size);
  if (error == 0 && artifact_.Verify(read.extent, bytes)) return {};
  const AllowAllocScope message;
  if (error == 0) return artifact_.DamageMessage(read.extent);
  return artifact_.files().ReadProblem(read.extent.shard, error);
}

WeightMatrix WeightStream::Matrix(const std::string& name) const {
  const auto found = places_.find(name);
  DOPPLER_CHECK(found != places_.end());
  return MatrixOf(artifact_.manifest().Tensor(name), first_buffer() + found->second);
}

WeightStreamStats WeightStream::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace doppler
