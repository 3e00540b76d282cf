// An artifact as a BitTorrent v2 torrent (BEP 52): its manifest, its shards and its tokenizer's
// files, each with the root of its hash tree.
//
// The same artifact gives the same info dictionary, bit for bit, and so the same info-hash on every
// machine: names, order and piece size are fixed and nothing else stands in it. What is read from
// outside must be exactly such a torrent.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "format/manifest.h"
#include "format/merkle.h"
#include "swarm/signature.h"

namespace doppler {

// Small enough that a wrong byte is traced to the peer that sent it.
inline constexpr Bytes kPieceBytes = 64 * kKiB;
// A piece's hash is a node so far above its leaves.
inline constexpr int kPieceLevel = 2;
inline constexpr std::size_t kPieceLeaves = std::size_t{1} << kPieceLevel;
static_assert(kPieceBytes == kLeafBytes * kPieceLeaves);

struct TorrentFile {
  std::string path;  // below the artifact's folder
  Bytes size = 0;
  Digest root{};
  // The piece layer: of each kPieceBytes the node above its leaves. Empty while it is not known,
  // and for a file of one piece, whose node is the root.
  std::vector<Digest> layer;
};

struct Torrent {
  std::string name;                // the model's
  std::vector<TorrentFile> files;  // by path, ascending
  // PEM text of the certificate that signs those of peers, who speak TLS (swarm/certificate.h);
  // empty: anybody can be a peer.
  std::string authority;
  std::vector<std::string> trackers;
  std::vector<std::string> web_seeds;
  std::optional<ModelSignature> signature;  // as it was told, true or not

  const TorrentFile* Find(std::string_view path) const;
  // REQUIRES: there is such a file.
  std::size_t IndexOf(std::string_view path) const;
};

// How many pieces a file has; no piece belongs to two files.
std::size_t PieceCount(const TorrentFile& file);
std::size_t PieceCount(const Torrent& torrent);
// Each file's first piece, and the end.
std::vector<std::size_t> FirstPieces(const Torrent& torrent);
// Whether the node of each piece is known.
bool HasPieceHashes(const TorrentFile& file);
// The hash that piece `piece` of a file must have. REQUIRES: HasPieceHashes.
const Digest& PieceHash(const TorrentFile& file, std::size_t piece);
// The hash of one piece that is at hand. REQUIRES: it is that piece of the file.
Digest HashPiece(const TorrentFile& file, std::span<const std::byte> bytes);

// The piece layer over leaf hashes; empty for one piece.
std::vector<Digest> PieceLayer(std::span<const Digest> leaves);
// Whether the layer is that of a file of this size and root.
bool LayerFits(const TorrentFile& file, std::span<const Digest> layer);

std::string InfoDict(const Torrent& torrent);
// SHA-256 of the info dictionary: the torrent's name in the swarm.
Digest InfoHash(const Torrent& torrent);

// A .torrent file, with the piece layers that are known.
std::string WriteTorrent(const Torrent& torrent);

// Reads a .torrent file, or an info dictionary alone as peers send it. Every layer was checked
// against its file's root. Throws Error, which names `where`.
Torrent ParseTorrent(std::string_view text, const std::string& where);
Torrent ParseInfoDict(std::string_view text, const std::string& where);

// Trackers and web seeds as they may stand in a torrent or a link: throws Error.
void RequireTracker(std::string_view url);
void RequireWebSeed(std::string_view url);

// Throws Error unless the torrent's shards are those of the manifest: names, sizes, hashes.
void RequireSameShards(const Torrent& torrent, const Manifest& manifest);

}  // namespace doppler
