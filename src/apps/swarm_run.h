// A model that runs from the swarm: `run --swarm`.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "apps/commands.h"
#include "apps/report.h"
#include "apps/swarm_flags.h"
#include "swarm/shard_fetcher.h"

namespace doppler {

class SwarmRun {
 public:
  // Fetches what every token needs, if it is not here yet, and begins to fetch experts as they are
  // asked for. Throws Error.
  explicit SwarmRun(const RunCommand& command);

  const std::filesystem::path& folder() const { return folder_; }
  ShardSource* source() const { return fetcher_.get(); }

  OrderedJson StatsJson() const;
  std::string SummaryLine() const;

 private:
  void Pull(const SwarmSource& source, const RunCommand& command, const SwarmReach& reach) const;

  std::filesystem::path folder_;
  std::unique_ptr<ShardFetcher> fetcher_;
};

}  // namespace doppler
