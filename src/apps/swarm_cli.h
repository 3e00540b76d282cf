// The command line of `share`, `pull`, `peers`, `team` and `--swarm`.
#pragma once

namespace CLI {
class App;
}

namespace doppler {

struct RunFromSwarm;

void AddShareCommand(CLI::App& parent);
void AddPullCommand(CLI::App& parent);
void AddPeersCommand(CLI::App& parent);
void AddTeamCommand(CLI::App& parent);
// --swarm and the flags that go with it, of a command that runs a model.
void AddRunFromSwarm(CLI::App& app, RunFromSwarm& flags);

}  // namespace doppler
