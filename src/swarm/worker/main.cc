// `doppler-swarm`: speaks to peers for `doppler`, which starts it.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <sys/socket.h>
#include <sys/stat.h>

#include "io/child_process.h"
#include "swarm/worker/worker.h"

int main() {
  struct stat status {};
  if (::fstat(doppler::kHelperSocket, &status) != 0 || !S_ISSOCK(status.st_mode)) {
    std::fputs("doppler-swarm: this program is started by 'doppler share' and 'doppler pull'\n",
               stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // a peer that has gone is an answer
  // Nothing is left to be written, and what a library does at the end is not allowed any more.
  std::_Exit(doppler::RunWorker(doppler::kHelperSocket));
}
