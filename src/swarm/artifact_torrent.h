// The torrent of an artifact on this machine.
#pragma once

#include <filesystem>
#include <functional>

#include "swarm/torrent.h"

namespace doppler {

// Where an artifact keeps its torrent with the piece layers: a cache, checked whenever it is read.
inline constexpr std::string_view kTorrentCache = "swarm.torrent";

// What the manifest and the tokenizer's files say: enough for the info-hash. Shards are not read,
// and the only piece layers are those of small files. `authority`: as Torrent has it. Throws Error,
// also for shards whose names do not follow convert's.
Torrent DescribeArtifact(const std::filesystem::path& folder, const std::string& authority = {});
// The same, and the manifest that is read for it.
Torrent DescribeArtifact(const std::filesystem::path& folder, const std::string& authority,
                         Manifest& manifest);

// Fills the piece layers that are missing: from the cache, from `.leaves` files, and else by
// hashing the shard. A shard that is not in the folder is left without. `on_progress` gets the
// bytes that were hashed since the last call. Throws Error for a damaged shard, InterruptedError on
// Ctrl-C.
void FillLayers(const std::filesystem::path& folder, Torrent& torrent,
                const std::function<void(Bytes)>& on_progress);

// Reads the cache; nothing if it is not there, is damaged or is another torrent's.
std::optional<Torrent> ReadTorrentCache(const std::filesystem::path& folder,
                                        const Digest& info_hash);
// Takes the piece layers of `known`, a torrent of the same files.
void TakeLayers(Torrent& torrent, const Torrent& known);
// Takes those of the cache, if that is of the same files, whoever's torrent it is.
void TakeCachedLayers(const std::filesystem::path& folder, Torrent& torrent);
// Takes a file's piece layer, of which a swarm process has told. Says whether it was new, and
// right.
bool TakeLayer(Torrent& torrent, std::size_t file, const std::vector<Digest>& layer);
// Replaces the cache. Throws Error.
void WriteTorrentCache(const std::filesystem::path& folder, const Torrent& torrent);

}  // namespace doppler
