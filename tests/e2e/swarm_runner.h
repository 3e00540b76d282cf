// `doppler run --swarm` on a machine of its own, for tests.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "e2e/swarm.h"
#include "io/file.h"

namespace doppler {

// A machine of its own, as far as models are concerned.
class Runner {
 public:
  // Where its models are.
  fs::path Store() const { return temp_.path() / "store"; }
  // The folder of the one model that was fetched; empty if there is none yet.
  fs::path Folder() const;
  // Experts of which bytes are here, once all else is.
  std::size_t ExpertsBegun() const;
  // Runs the prompt of LocalText in a private swarm.
  ProcessResult Run(const std::string& model, const std::vector<std::string>& flags,
                    ProcessOptions options = {}) const;
  // What the last run has counted.
  nlohmann::json SwarmStats() const { return ReadJson(Stats())["swarm"]; }

 private:
  fs::path Stats() const { return temp_.path() / "stats.json"; }

  const TempFolder temp_;
};

// What a run of the demo model on a complete disk prints.
const std::string& LocalText();

// Calls `action` once, with the run's process, when some of the experts have come.
ProcessOptions InTheMiddle(const Runner& runner, const std::function<void(pid_t)>& action);

// Makes a folder with the demo model of which only these experts are here, by their shards'
// numbers. Its shards are links: not to be written to.
void LinkDemoModel(const fs::path& to, const std::function<bool(std::size_t)>& has);

// Flags of a seed that leaves time for something to happen.
inline const std::vector<std::string> kSlow = {"--upload-limit", "6M"};

}  // namespace doppler
