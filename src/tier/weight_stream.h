// Dense weights of layers that do not stay resident: read anew for every pass, ahead of it.
//
//   device --reads of 512 KiB, verified as they arrive--> a ring of buffers, a layer in each
//   -> Acquire(layer) -> kernels use the buffer -> the lease ends -> the buffer takes a later layer
//
// Layers are read in the order in which a pass uses them, and after the last comes the first again,
// for the next pass: the device works as long as a buffer is free. Reads go past the page cache.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "base/bytes.h"
#include "io/mapped_memory.h"
#include "store/artifact.h"
#include "store/shard_reader.h"
#include "tier/budget.h"
#include "tier/dense_weights.h"
#include "tier/expert_source.h"

namespace doppler {

struct WeightStreamStats {
  Bytes bytes_read = 0;      // of the reads that were started
  double stall_seconds = 0;  // spent waiting for bytes
};

// What was added between two readings.
WeightStreamStats operator-(const WeightStreamStats& after, const WeightStreamStats& before);

class WeightStream;

// Keeps a layer in its buffer. Move-only; ends when it is destroyed.
class StreamLease {
 public:
  StreamLease() = default;
  ~StreamLease();
  StreamLease(StreamLease&& other) noexcept;
  StreamLease& operator=(StreamLease&&) = delete;
  StreamLease(const StreamLease&) = delete;
  StreamLease& operator=(const StreamLease&) = delete;

  // The layer's buffer.
  const std::byte* data() const { return data_; }

 private:
  friend class WeightStream;
  StreamLease(WeightStream* stream, const std::byte* data) : stream_(stream), data_(data) {}

  WeightStream* stream_ = nullptr;
  const std::byte* data_ = nullptr;
};

struct WeightStreamOptions {
  std::size_t buffers = 2;
  Bytes step = kStepBytes;  // of one read; a multiple of a leaf
  // Makes the reader; tests inject delays and failures here.
  MakeReader make_reader = MakeAsyncReader;
};

// One thread at a time acquires and releases. `artifact` outlives the stream, the stream its
// leases.
class WeightStream {
 public:
  // Reserves the buffers' bytes in `budget` and begins to read the first of `layers`, each of which
  // gives the names of a layer's tensors. Throws Error for a missing tensor or a budget that is too
  // small. REQUIRES: there are layers, all have tensors, there is a buffer.
  WeightStream(const Artifact& artifact, std::span<const std::vector<std::string>> layers,
               MemoryBudget& budget, const WeightStreamOptions& options);
  ~WeightStream();
  WeightStream(const WeightStream&) = delete;
  WeightStream& operator=(const WeightStream&) = delete;

  // Waits until all of a layer, counted as in `layers`, is there and verified. A layer that is not
  // the next in order is read from its beginning, and what was read ahead is dropped. Throws Error
  // if the layer could not be read or has the wrong hash; the next call then tries again. Does not
  // allocate, unless it throws. REQUIRES: no lease is held.
  StreamLease Acquire(std::size_t layer);

  // A tensor as it stands when its layer is in the first buffer.
  WeightMatrix Matrix(const std::string& name) const;
  const std::byte* first_buffer() const { return memory_.data(); }

  // Bytes of all buffers.
  Bytes size() const { return memory_.size(); }
  std::size_t layers() const { return reads_.size(); }
  std::string_view reader_name() const { return reader_->name(); }
  // See AsyncReader::registered.
  std::string_view registered() const { return reader_->registered(); }
  WeightStreamStats stats() const;

 private:
  friend class StreamLease;

  // Layers are acquired turn by turn: turn t is layer t % layers() in buffer t % buffers.
  struct Failure {
    std::uint64_t turn = 0;
    std::string problem;
  };

  void AddLayer(const std::vector<std::string>& names, Bytes step);
  void Release();
  void StartReads();
  void Restart(std::unique_lock<std::mutex>& lock, std::size_t layer);
  void WaitForReads(std::unique_lock<std::mutex>& lock);
  void OnRead(std::uint64_t tag, int error);
  std::string Check(std::uint64_t turn, const PlacedExtent& read, int error) const;
  std::byte* BufferOf(std::uint64_t turn) const;
  std::size_t LayerOf(std::uint64_t turn) const;

  const Artifact& artifact_;
  const std::size_t buffers_;
  std::vector<std::vector<PlacedExtent>> reads_;   // [layer], places in a buffer
  std::unordered_map<std::string, Bytes> places_;  // of tensors in their layer's buffer
  Bytes buffer_bytes_ = 0;
  Reservation reservation_;
  MappedMemory memory_;  // the buffers

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool held_ = false;
  bool stopped_ = false;             // starts no reads
  std::uint64_t turn_ = 0;           // held, or the next to be acquired
  std::uint64_t reading_turn_ = 0;   // of the next read
  std::size_t next_read_ = 0;        // of that turn
  int on_device_ = 0;                // reads
  int pending_ = 0;                  // reads on the device or being verified
  std::vector<std::size_t> unread_;  // [buffer], reads that have not arrived
  std::optional<Failure> failure_;   // the one of the earliest turn
  WeightStreamStats stats_;

  std::unique_ptr<ShardReader> reader_;  // last: its threads use all of the above
};

}  // namespace doppler
