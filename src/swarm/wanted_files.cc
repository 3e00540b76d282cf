#include "swarm/wanted_files.h"

#include <utility>

namespace doppler {

WantedFiles::WantedFiles(std::vector<int> pieces) : files_(pieces.size()) {
  for (std::size_t i = 0; i < pieces.size(); ++i) files_[i].pieces = pieces[i];
}

void WantedFiles::Want(std::uint32_t index, std::uint8_t priority) {
  File& file = files_[index];
  if (file.wanted == priority) return;
  if (IsWaiting(file)) waiting_.erase(PlaceOf(index));
  file.wanted = priority;
  file.turn = turns_++;
  if (IsWaiting(file)) waiting_.insert(PlaceOf(index));
  if (file.asked > 0) changed_.push_back(index);
}

bool WantedFiles::Came(std::uint32_t index) {
  File& file = files_[index];
  if (file.is_here) return false;
  if (IsWaiting(file)) waiting_.erase(PlaceOf(index));
  if (file.asked > 0) pieces_ -= file.pieces;
  file.is_here = true;
  return true;
}

void WantedFiles::Forget(std::uint32_t index) {
  File& file = files_[index];
  if (IsWaiting(file)) waiting_.erase(PlaceOf(index));
  if (file.asked > 0 && !file.is_here) pieces_ -= file.pieces;
  file = {.pieces = file.pieces};
}

bool WantedFiles::Fits(const File& file) const {
  const int most = file.wanted > 1 ? kMostPieces : kMostUnhurriedPieces;
  return pieces_ == 0 || pieces_ + file.pieces <= most;
}

std::vector<WantedFiles::Change> WantedFiles::TakeChanges() {
  std::vector<Change> changes;
  for (const std::uint32_t index : std::exchange(changed_, {})) {
    File& file = files_[index];
    if (file.asked == file.wanted || file.asked == 0) continue;
    file.asked = file.wanted;
    if (file.asked == 0 && !file.is_here) pieces_ -= file.pieces;
    changes.push_back({index, file.asked});
  }
  while (!waiting_.empty()) {
    const std::uint32_t index = std::get<std::uint32_t>(*waiting_.begin());
    File& file = files_[index];
    if (!Fits(file)) break;
    waiting_.erase(waiting_.begin());
    file.asked = file.wanted;
    pieces_ += file.pieces;
    changes.push_back({index, file.asked});
  }
  return changes;
}

}  // namespace doppler
