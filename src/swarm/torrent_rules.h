// What may stand in a torrent of a model: for those who read one and those who make one.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace doppler {

// Of a .torrent file.
inline constexpr std::string_view kSignatureKey = "doppler signature";
// Of an info dictionary, as libtorrent names it.
inline constexpr std::string_view kAuthorityKey = "ssl-cert";
inline constexpr std::string_view kShardsFolder = "shards/";

// The largest file that is text, as its readers take it.
inline constexpr Bytes kMostTextBytes = 256 * kMiB;
inline constexpr Bytes kMostShardBytes = Bytes{1} << 40;
// 2 TiB of pieces: a bitfield of 4 MiB.
inline constexpr std::size_t kMostPieces = std::size_t{1} << 25;
// Of a model of 600 GB with its ten million pieces it has some MiB.
inline constexpr std::int64_t kMostInfoBytes = 64 << 20;
inline constexpr std::size_t kMostUrls = 64;
inline constexpr std::size_t kMostUrlBytes = 2048;

// "shards/00012.bin".
bool IsShardPath(std::string_view path);
// manifest.json and the tokenizer's files.
bool IsTextPath(std::string_view path);
// As the manifest has it.
bool IsModelName(std::string_view name);

}  // namespace doppler
