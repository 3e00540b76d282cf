// How the BitTorrent session is set.
#pragma once

#include <libtorrent/ip_filter.hpp>
#include <libtorrent/settings_pack.hpp>

#include "swarm/messages.h"

namespace doppler {

libtorrent::settings_pack SessionSettings(const StartMessage& start);

// Lets only private networks through: connections to others are neither made nor taken.
libtorrent::ip_filter PrivateNetworks();

// Puts every peer under the session's limits. By default those of local networks are exempt.
libtorrent::ip_filter LimitsForAll();

}  // namespace doppler
