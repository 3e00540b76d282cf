// Which of a torrent's files are asked of peers now: a part of those that are wanted.
//
// libtorrent 2.0 numbers the pieces that are on their way with 16 bits and does not look whether
// they suffice (piece_picker::downloading_piece::info_idx). With more, blocks count as asked for
// that nobody was asked for, and the download never ends. Pieces that have come are among them
// until their hashes have come too, so that a model of some GiB is enough. Besides, files that are
// asked for together are complete together: few at a time are complete one after the other.
#pragma once

#include <cstdint>
#include <set>
#include <tuple>
#include <vector>

namespace doppler {

// Used by one thread.
class WantedFiles {
 public:
  // Of files that are on their way. Those with priority 1, which nobody waits for, leave room for
  // others. One file is asked for however long it is.
  static constexpr int kMostPieces = 49152;
  static constexpr int kMostUnhurriedPieces = 4096;

  // `pieces`: [file].
  explicit WantedFiles(std::vector<int> pieces);

  // 1 to 7, the more the sooner; 0: not any more. Files of one priority come in the order of these
  // calls.
  void Want(std::uint32_t file, std::uint8_t priority);
  // All of the file is here. Whether that is new.
  bool Came(std::uint32_t file);
  // The file is not here any more, and not wanted.
  void Forget(std::uint32_t file);

  struct Change {
    std::uint32_t file = 0;
    std::uint8_t priority = 0;
  };
  // What is to be asked for with other priorities than until now.
  std::vector<Change> TakeChanges();

  // Whether nothing is wanted that is not here.
  bool IsIdle() const { return pieces_ == 0 && waiting_.empty(); }

  // As TakeChanges said last.
  std::uint8_t PriorityOf(std::uint32_t file) const { return files_[file].asked; }

 private:
  struct File {
    int pieces = 0;
    std::uint8_t wanted = 0;
    std::uint8_t asked = 0;
    bool is_here = false;
    std::uint64_t turn = 0;  // in which it was wanted with this priority
  };
  using Waiting = std::tuple<int, std::uint64_t, std::uint32_t>;  // -priority, turn, file

  Waiting PlaceOf(std::uint32_t file) const {
    return {-files_[file].wanted, files_[file].turn, file};
  }
  bool IsWaiting(const File& file) const {
    return file.wanted > 0 && file.asked == 0 && !file.is_here;
  }
  bool Fits(const File& file) const;

  std::vector<File> files_;
  std::set<Waiting> waiting_;
  std::vector<std::uint32_t> changed_;  // files that were asked for with other priorities
  std::uint64_t turns_ = 0;
  int pieces_ = 0;  // of files that are asked for and are not here
};

}  // namespace doppler
