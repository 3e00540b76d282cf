// The info dictionary of a team's torrent, from its members (BEP 9, over TLS).
//
// libtorrent cannot ask for it: that a torrent is a team's, and whose, it learns from the info
// dictionary itself.
#pragma once

#include "swarm/messages.h"

namespace doppler {

// Asks the peers of `start` one after the other, again and again, until one has given it. Blocks;
// the caller ends the process to end it. Throws Error if there is no peer to ask.
DescriptionMessage DescribeFromTeam(const StartMessage& start);

}  // namespace doppler
