// A port for all of the machine's addresses.
#pragma once

#include <cstdint>

namespace doppler {

// One on which nothing listens at any address, TCP or UDP, at this moment; 0 if none was found.
// libtorrent itself would take another for each address, and a link can name only one.
std::uint16_t FreePort();

}  // namespace doppler
