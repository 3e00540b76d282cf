// Whether a model's folder was filled from the swarm, so that peers have, or had, what is in it.
//
// `swarm.fetched` in the folder: the info-hash in hexadecimal and a line feed. Only that it is
// there matters; it vouches for nothing.
#pragma once

#include <filesystem>

#include "format/sha256.h"

namespace doppler {

// Throws Error.
void MarkFetched(const std::filesystem::path& folder, const Digest& info_hash);
bool WasFetched(const std::filesystem::path& folder);

}  // namespace doppler
