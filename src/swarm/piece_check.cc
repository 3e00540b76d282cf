#include "swarm/piece_check.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "format/artifact_files.h"

namespace doppler {

PieceCheck::PieceCheck(const std::filesystem::path& folder, const std::string& manifest_file,
                       Torrent torrent)
    : torrent_(std::move(torrent)) {
  first_piece_ = FirstPieces(torrent_);
  for (const TorrentFile& file : torrent_.files) {
    paths_.push_back(folder / (file.path == kManifestFile ? manifest_file : file.path));
  }
  states_.resize(first_piece_.back());
}

std::uint32_t PieceCheck::FileOf(std::size_t piece) const {
  const auto after = std::upper_bound(first_piece_.begin(), first_piece_.end(), piece);
  return static_cast<std::uint32_t>(after - first_piece_.begin() - 1);
}

bool PieceCheck::MaySend(std::size_t piece) {
  DOPPLER_CHECK(piece < states_.size());
  State& state = states_[piece];
  if (state != State::kUnread) return state == State::kGood;
  const std::uint32_t file = FileOf(piece);
  if (IsGood(file, piece - first_piece_[file])) {
    state = State::kGood;
    return true;
  }
  std::fill(states_.begin() + static_cast<std::ptrdiff_t>(first_piece_[file]),
            states_.begin() + static_cast<std::ptrdiff_t>(first_piece_[file + 1]), State::kBad);
  const std::lock_guard lock(mutex_);
  damaged_.push_back(file);
  return false;
}

bool PieceCheck::IsGood(std::uint32_t index, std::size_t piece) {
  const TorrentFile& file = torrent_.files[index];
  if (!HasPieceHashes(file)) return true;
  std::array<std::byte, kPieceBytes> buffer;
  const Bytes offset = piece * kPieceBytes;
  const std::span bytes(buffer.data(), std::min(kPieceBytes, file.size - offset));
  try {
    Open(index).ReadAt(offset, bytes);
  } catch (const Error&) {
    return false;
  }
  return HashPiece(file, bytes) == PieceHash(file, piece);
}

const File& PieceCheck::Open(std::uint32_t file) {
  if (!open_.is_open() || open_file_ != file) {
    open_ = File(paths_[file], OpenMode::kRead);
    open_file_ = file;
  }
  return open_;
}

std::vector<std::uint32_t> PieceCheck::TakeDamaged() {
  const std::lock_guard lock(mutex_);
  return std::exchange(damaged_, {});
}

}  // namespace doppler
