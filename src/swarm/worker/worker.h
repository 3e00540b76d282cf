// The swarm process: takes messages from a socket, moves bytes between peers and one folder.
#pragma once

namespace doppler {

// Runs until it is told to stop or the program at the other end of `socket` has gone. Returns the
// process's exit status.
int RunWorker(int socket);

}  // namespace doppler
