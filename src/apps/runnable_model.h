// The model of a command that runs one: on this machine, or with experts from the swarm
// (`--swarm`).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "apps/commands.h"
#include "apps/report.h"
#include "apps/swarm_flags.h"
#include "swarm/shard_fetcher.h"

namespace doppler {

// Outlives the engines that are opened from it.
class RunnableModel {
 public:
  // Finds `model`. From the swarm: fetches what every token needs, if it is not here yet, and
  // begins to fetch experts as they are asked for. Throws Error; UsageError for flags that do not
  // belong together.
  RunnableModel(const std::string& model, const RunFromSwarm& flags);

  const std::filesystem::path& folder() const { return folder_; }
  // Null if all must be here.
  ShardSource* source() const { return fetcher_.get(); }

  // What came from the swarm; nothing and empty if nothing can.
  std::optional<OrderedJson> StatsJson() const;
  std::string SummaryLine() const;

 private:
  std::filesystem::path folder_;
  std::unique_ptr<ShardFetcher> fetcher_;
};

}  // namespace doppler
