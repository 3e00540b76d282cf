// Hashes what is on disk before it is sent for the first time: a disk that fails, or a file that
// was changed, harms nobody, and who serves it is not taken for a liar.
//
// libtorrent's seed mode has the same purpose, but 2.0.8 copies a table of all the torrent's files
// for each piece (peer_connection::on_seed_mode_hashed), which for some thousand files takes longer
// than to send it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "io/file.h"
#include "swarm/torrent.h"

namespace doppler {

class PieceCheck {
 public:
  // Of the torrent's files below `folder`, where the manifest is called `manifest_file`.
  PieceCheck(const std::filesystem::path& folder, const std::string& manifest_file,
             Torrent torrent);

  // Whether the torrent has such a piece: strangers ask for any.
  bool Has(int piece) const {
    return piece >= 0 && static_cast<std::size_t>(piece) < states_.size();
  }

  // Whether the torrent's piece has its hash on disk. One that had it is not read again, and of a
  // file in which one had not, none may be sent. Where no hash is known, nothing is said against a
  // piece. Used by one thread. REQUIRES: there is the piece.
  bool MaySend(std::size_t piece);

  // Any thread. Files of the torrent of which a piece was found to be wrong, or could not be read,
  // since the last call; each once.
  std::vector<std::uint32_t> TakeDamaged();

 private:
  enum class State : std::uint8_t { kUnread, kGood, kBad };

  std::uint32_t FileOf(std::size_t piece) const;
  bool IsGood(std::uint32_t file, std::size_t piece);
  // The file, open. Throws Error.
  const File& Open(std::uint32_t file);

  const Torrent torrent_;
  std::vector<std::filesystem::path> paths_;  // [file]
  std::vector<std::size_t> first_piece_;      // [file], and the end
  std::vector<State> states_;                 // [piece]
  File open_;
  std::uint32_t open_file_ = 0;
  std::mutex mutex_;  // guards what follows
  std::vector<std::uint32_t> damaged_;
};

}  // namespace doppler
