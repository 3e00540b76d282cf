// Reads of an artifact's shards that run while the caller computes.
//
//   Submit(read) -> the shard is pinned -> the device reads -> the pin ends -> on_done(tag, error)
//
// An AsyncReader (io/async_reader.h) that knows shards instead of files: whoever waits for a read
// need not know whether the file was open before. A shard that cannot be opened is a read that
// fails, and is told of in the same way.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "io/async_reader.h"
#include "store/shard_files.h"

namespace doppler {

struct ShardRead {
  ShardId shard;
  Bytes offset = 0;
  std::span<std::byte> out;  // filled completely; aligned for direct reads
  std::uint64_t tag = 0;     // given back on completion
};

// MakeAsyncReader, or what a test puts in its place.
using MakeReader = std::function<std::unique_ptr<AsyncReader>(const AsyncReaderOptions&, ReadDone)>;

struct ShardReaderOptions {
  int depth = 64;                    // reads in flight
  int threads = 2;                   // as in AsyncReaderOptions
  std::span<std::byte> memory = {};  // likewise
  Bytes region = kReaderRegion;      // likewise
  MakeReader make_reader = MakeAsyncReader;
};

// `files` outlives it.
class ShardReader {
 public:
  // `on_done` runs on the reader's threads, on several at once, with an errno value or
  // kReadPastEnd if the read failed. Throws Error if the mechanism is refused.
  // REQUIRES: all readers of `files` together have less depth than expert shards may be open.
  ShardReader(ShardFiles& files, const ShardReaderOptions& options, ReadDone on_done);
  // Waits for the reads in flight.
  ~ShardReader() = default;
  ShardReader(const ShardReader&) = delete;
  ShardReader& operator=(const ShardReader&) = delete;

  // Starts one read. Any thread, and on_done, which has a place of its own to start another. Waits
  // when `depth` reads are in flight. May open a file. Does not allocate.
  void Submit(const ShardRead& read);

  // See AsyncReader.
  bool LetGoOf(std::span<std::byte> memory) { return reader_->LetGoOf(memory); }
  std::string_view name() const { return reader_->name(); }
  std::string_view registered() const { return reader_->registered(); }

 private:
  struct Place {
    ShardPin pin;
    std::uint64_t tag = 0;
  };

  void OnRead(std::size_t place, int error);

  ShardFiles& files_;
  const ReadDone on_done_;
  const File closed_;  // stands for a shard that could not be opened: reading it fails
  std::mutex mutex_;   // guards what follows
  std::condition_variable place_free_;
  std::vector<Place> places_;
  std::vector<std::size_t> free_;
  std::unique_ptr<AsyncReader> reader_;  // last: its threads use all of the above
};

}  // namespace doppler
