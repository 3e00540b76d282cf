#include "store/shard_files.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "io/async_reader.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

std::string MissingMessage(const fs::path& path) {
  return fmt::format(
      "the shard '{}' is missing; fetch it with 'doppler pull', copy it from where the model came "
      "from, or convert again",
      path.string());
}

}  // namespace

std::size_t MostExpertFiles(std::span<const ShardEntry> shards, std::size_t limit) {
  const auto experts = static_cast<std::size_t>(
      std::count_if(shards.begin(), shards.end(),
                    [](const ShardEntry& shard) { return shard.type == ShardType::kExpert; }));
  const std::size_t others = shards.size() - experts + kOtherFiles;
  const std::size_t needed = others + std::min(experts, kLeastExpertFiles);
  if (limit < needed) {
    Throw(
        "the model has {} shards and this process may open {} files; raise the limit to at least "
        "{} with 'ulimit -n {}', or convert with --sharding layer",
        shards.size(), limit, needed, needed);
  }
  return std::min(experts, limit - others);
}

ShardPin::ShardPin(ShardPin&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      shard_(other.shard_),
      file_(std::exchange(other.file_, nullptr)),
      error_(std::exchange(other.error_, 0)) {}

ShardPin& ShardPin::operator=(ShardPin&& other) noexcept {
  if (this == &other) return *this;
  Release();
  pool_ = std::exchange(other.pool_, nullptr);
  shard_ = other.shard_;
  file_ = std::exchange(other.file_, nullptr);
  error_ = std::exchange(other.error_, 0);
  return *this;
}

void ShardPin::Release() {
  if (pool_ != nullptr) pool_->Unpin(shard_);
  pool_ = nullptr;
  file_ = nullptr;
}

ShardFiles::ShardFiles(const fs::path& folder, std::span<const ShardEntry> shards,
                       std::size_t most_expert_files, ShardSource* source)
    : most_expert_files_(most_expert_files), source_(source) {
  for (const ShardEntry& shard : shards) {
    is_expert_.push_back(shard.type == ShardType::kExpert);
    expert_shards_ += is_expert_.back() ? 1 : 0;
  }
  DOPPLER_CHECK(most_expert_files_ > 0 || expert_shards_ == 0);
  files_.reserve(shards.size());
  if (on_demand()) places_.resize(shards.size());
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const fs::path path = folder / shards[i].file;
    if (ToCome(ShardId(i))) {
      files_.push_back(File::ClosedAt(path));
    } else {
      if (!fs::exists(path)) throw Error(MissingMessage(path));
      files_.emplace_back(path, OpenMode::kDirect);
      Check(shards[i]);
      if (IsPooled(ShardId(i))) files_.back().Close();
    }
    if (!IsPooled(ShardId(i))) continue;
    places_[i].node = elsewhere_.insert(elsewhere_.end(), static_cast<std::uint32_t>(i));
  }
  if (source_ != nullptr) source_->SetOnGone([this](ShardId shard) { Forget(shard); });
}

ShardFiles::~ShardFiles() {
  if (source_ != nullptr) source_->SetOnGone({});
}

// The file is about to be removed. While it is open its bytes stay on the disk, and one that comes
// again would not be seen.
void ShardFiles::Forget(ShardId shard) {
  const std::lock_guard lock(mutex_);
  File& file = files_[shard.index()];
  if (!file.is_open()) return;
  DOPPLER_CHECK(places_[shard.index()].pins == 0);
  file.Close();
  elsewhere_.splice(elsewhere_.end(), idle_, places_[shard.index()].node);
  --open_;
  room_.notify_all();
}

bool ShardFiles::ToCome(ShardId shard) const {
  return source_ != nullptr && is_expert_[shard.index()] && !source_->Has(shard);
}

// The shard that was opened last.
void ShardFiles::Check(const ShardEntry& shard) {
  const Bytes size = files_.back().Size();
  if (size == shard.size) return;
  Throw(
      "the shard '{}' has {} bytes and the manifest says {}; it is damaged, copy it again or "
      "convert again",
      files_.back().path().string(), size, shard.size);
}

ShardPin ShardFiles::Pin(ShardId shard) {
  ShardPin pin;
  File& file = files_[shard.index()];
  pin.file_ = &file;
  if (!IsPooled(shard)) return pin;
  std::unique_lock lock(mutex_);
  MakeRoom(lock, file);
  Place& place = places_[shard.index()];
  if (!file.is_open()) {
    ++stats_.opens;
    pin.error_ = file.Reopen();
    if (pin.error_ != 0) {
      pin.file_ = nullptr;
      room_.notify_all();
      return pin;
    }
    ++open_;
  } else if (place.pins == 0) {
    elsewhere_.splice(elsewhere_.end(), idle_, place.node);
  }
  ++place.pins;
  pin.pool_ = this;
  pin.shard_ = shard;
  return pin;
}

// Returns when `wanted` is open or may be opened. REQUIRES: `lock` holds mutex_.
void ShardFiles::MakeRoom(std::unique_lock<std::mutex>& lock, const File& wanted) {
  room_.wait(lock,
             [&] { return wanted.is_open() || open_ < most_expert_files_ || !idle_.empty(); });
  if (wanted.is_open() || open_ < most_expert_files_) return;
  files_[idle_.front()].Close();
  elsewhere_.splice(elsewhere_.end(), idle_, idle_.begin());
  --open_;
  ++stats_.evictions;
}

void ShardFiles::Unpin(ShardId shard) {
  const std::lock_guard lock(mutex_);
  Place& place = places_[shard.index()];
  if (--place.pins > 0) return;
  idle_.splice(idle_.end(), elsewhere_, place.node);
  room_.notify_all();
}

std::string ShardFiles::ReadProblem(ShardId shard, int error) const {
  if (error == ENOENT) return MissingMessage(path(shard));
  return fmt::format("cannot read the shard '{}': {}{}", path(shard).string(),
                     DescribeReadError(error), error == EMFILE ? "; raise 'ulimit -n'" : "");
}

std::span<const File> ShardFiles::always_open() const {
  return on_demand() ? std::span<const File>() : files_;
}

ShardFileStats ShardFiles::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace doppler
