// The hashes of parts that stand beside shards (docs/format.md): made here for a model that came
// without them.
#pragma once

#include <filesystem>
#include <span>

#include "format/manifest.h"
#include "swarm/torrent.h"

namespace doppler {

// Writes the leaf hashes of a shard that is read in parts. Throws Error.
void WriteLeaves(const std::filesystem::path& folder, const ShardEntry& shard,
                 std::span<const Digest> leaves);

// Writes the file of nodes, if the piece layers of all large expert shards are known: nodes stand
// above them in the same trees. Throws Error.
void WriteNodes(const std::filesystem::path& folder, const Manifest& manifest,
                const Torrent& torrent);

}  // namespace doppler
