// The command line of `share`, `pull` and `run --swarm`.
#pragma once

namespace CLI {
class App;
}

namespace doppler {

struct RunCommand;

void AddShareCommand(CLI::App& parent);
void AddPullCommand(CLI::App& parent);
// The flags of `run` that begin with --swarm, and what they make of a link.
void AddRunFromSwarm(CLI::App& run, RunCommand& command);

}  // namespace doppler
