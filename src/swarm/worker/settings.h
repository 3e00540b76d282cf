// How the BitTorrent session is set.
#pragma once

#include <libtorrent/ip_filter.hpp>
#include <libtorrent/settings_pack.hpp>

#include "swarm/messages.h"

namespace doppler {

libtorrent::settings_pack SessionSettings(const StartMessage& start);

// Lets only private networks through: connections to others are neither made nor taken.
libtorrent::ip_filter PrivateNetworks();

}  // namespace doppler
