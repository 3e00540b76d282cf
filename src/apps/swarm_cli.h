// The command line of `share` and `pull`.
#pragma once

namespace CLI {
class App;
}

namespace doppler {

void AddShareCommand(CLI::App& parent);
void AddPullCommand(CLI::App& parent);

}  // namespace doppler
