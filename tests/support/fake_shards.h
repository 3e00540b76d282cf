// A source of shards for tests: a folder has all of them, and another gets them when the test says.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/alloc_guard.h"
#include "format/manifest.h"
#include "store/shard_source.h"

namespace doppler {

class FakeShards : public ShardSource {
 public:
  // Copies the artifact in `from` to `to`, but for the shards of experts.
  FakeShards(const std::filesystem::path& from, const std::filesystem::path& to,
             const std::vector<ShardEntry>& shards)
      : from_(from), to_(to), shards_(shards), has_(shards.size()) {
    namespace fs = std::filesystem;
    fs::create_directories(to / "shards");
    for (const auto& entry : fs::directory_iterator(from)) {
      if (entry.is_regular_file()) fs::copy_file(entry.path(), to / entry.path().filename());
    }
    for (std::size_t i = 0; i < shards.size(); ++i) {
      has_[i] = shards[i].type != ShardType::kExpert;
      if (!has_[i]) continue;
      fs::copy_file(from / shards[i].file, to / shards[i].file);
      const fs::path leaves = fs::path(shards[i].file).replace_extension(".leaves");
      if (fs::exists(from / leaves)) fs::copy_file(from / leaves, to / leaves);
    }
  }

  bool Has(ShardId shard) const override {
    const std::lock_guard lock(mutex_);
    return has_[shard.index()];
  }
  void Request(ShardId shard, ShardUrgency urgency) override {
    const AllowAllocScope bookkeeping;
    const std::lock_guard lock(mutex_);
    ShardUrgency& asked = asked_.emplace(shard.value, urgency).first->second;
    if (urgency == ShardUrgency::kNow) asked = urgency;
    ++requests_;
  }
  bool Lease(ShardId shard) override {
    const AllowAllocScope bookkeeping;
    const std::lock_guard lock(mutex_);
    if (has_[shard.index()]) ++leases_[shard.value];
    return has_[shard.index()];
  }
  void Damaged(ShardId /*shard*/) override {}
  void EndLease(ShardId shard) override {
    const std::lock_guard lock(mutex_);
    --leases_.at(shard.value);
  }
  void SetListener(Listener listener) override {
    const std::lock_guard lock(listener_mutex_);
    listener_ = std::move(listener);
  }
  std::optional<Bytes> DiskBudget() const override { return std::nullopt; }
  void SetRanks(Ranks ranks) override {
    const std::lock_guard lock(listener_mutex_);
    ranks_ = std::move(ranks);
  }
  void SetOnGone(OnGone on_gone) override {
    const std::lock_guard lock(listener_mutex_);
    on_gone_ = std::move(on_gone);
  }

  Bytes WorkingBytes() const override { return 0; }

  // The shard's file comes.
  void Bring(ShardId shard) {
    const std::string& file = shards_[shard.index()].file;
    std::filesystem::copy_file(from_ / file, to_ / file,
                               std::filesystem::copy_options::overwrite_existing);
    Announce(shard);
  }
  // Says that it is there, whatever is.
  void Announce(ShardId shard) {
    {
      const std::lock_guard lock(mutex_);
      has_[shard.index()] = true;
      asked_.erase(shard.value);
    }
    Tell(shard, {});
  }
  void Refuse(ShardId shard, const std::string& problem) {
    {
      const std::lock_guard lock(mutex_);
      asked_.erase(shard.value);
    }
    Tell(shard, problem);
  }
  // Removes the shard, unless it is leased; says whether it did.
  bool Remove(ShardId shard) {
    const std::lock_guard listener_lock(listener_mutex_);
    const std::lock_guard lock(mutex_);
    if (leases_[shard.value] > 0) return false;
    has_[shard.index()] = false;
    if (on_gone_) on_gone_(shard);
    std::filesystem::remove(to_ / shards_[shard.index()].file);
    return true;
  }
  std::vector<double> RanksNow() {
    const std::lock_guard lock(listener_mutex_);
    std::vector<double> ranks(shards_.size());
    if (ranks_) ranks_(ranks);
    return ranks;
  }
  // What was asked for and is not there.
  std::map<int, ShardUrgency> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  int requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void Tell(ShardId shard, const std::string& problem) {
    const std::lock_guard lock(listener_mutex_);
    if (listener_) listener_(shard, problem);
  }

  const std::filesystem::path from_;
  const std::filesystem::path to_;
  const std::vector<ShardEntry> shards_;
  mutable std::mutex mutex_;
  std::vector<bool> has_;
  std::map<int, ShardUrgency> asked_;
  std::map<int, int> leases_;
  int requests_ = 0;
  std::mutex listener_mutex_;
  Listener listener_;
  Ranks ranks_;
  OnGone on_gone_;
};

}  // namespace doppler
