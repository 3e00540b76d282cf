#include "store/shard_reader.h"

#include <utility>

#include "base/error.h"

namespace doppler {

ShardReader::ShardReader(ShardFiles& files, const ShardReaderOptions& options, ReadDone on_done)
    : files_(files),
      on_done_(std::move(on_done)),
      places_(static_cast<std::size_t>(options.depth)) {
  DOPPLER_CHECK(!files.on_demand() || files.most_expert_files() >= places_.size() ||
                files.most_expert_files() == files.expert_shards());
  free_.reserve(places_.size());
  for (std::size_t i = 0; i < places_.size(); ++i) free_.push_back(i);
  reader_ = options.make_reader(
      // A read keeps its place there while on_done runs, which may start the next one.
      {.depth = options.depth + options.threads,
       .threads = options.threads,
       .files = files.always_open(),
       .memory = options.memory,
       .region = options.region},
      [this](std::uint64_t place, int error) { OnRead(static_cast<std::size_t>(place), error); });
}

void ShardReader::Submit(const ShardRead& read) {
  std::size_t place = 0;
  {
    std::unique_lock lock(mutex_);
    place_free_.wait(lock, [this] { return !free_.empty(); });
    place = free_.back();
    free_.pop_back();
  }
  // Without the lock: reads that complete meanwhile give their pins back.
  ShardPin pin = files_.Pin(read.shard);
  const File& file = pin.error() == 0 ? pin.file() : closed_;
  {
    const std::lock_guard lock(mutex_);
    places_[place] = {.pin = std::move(pin), .tag = read.tag};
  }
  reader_->Submit({.file = &file, .offset = read.offset, .out = read.out, .tag = place});
}

void ShardReader::OnRead(std::size_t index, int error) {
  Place place;
  {
    const std::lock_guard lock(mutex_);
    place = std::move(places_[index]);
    free_.push_back(index);
  }
  place_free_.notify_one();
  if (place.pin.error() != 0) error = place.pin.error();
  // Before on_done, which may start the next read: that one must find room.
  place.pin.Release();
  on_done_(place.tag, error);
}

}  // namespace doppler
