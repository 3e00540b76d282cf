// Which files of a model's folder were hashed before, so that a start need not hash them again.
//
// `checked.cache` in the folder, of lines:
//
//   doppler checked files 1
//   <root> <size> <modified ns> <changed ns> <inode> <device> <path>      for each file
//   <SHA-256 of all lines before>
//
// It saves time and vouches for nothing: bytes are verified when they are used, whatever it says. A
// file that has another stamp than in the record (io/file_stamp.h) is hashed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "format/sha256.h"
#include "io/file_stamp.h"

namespace doppler {

inline constexpr std::string_view kCheckedCache = "checked.cache";

// A file that had this root when it had this stamp.
struct CheckedFile {
  std::string path;  // below the folder, as a torrent has it
  Digest root{};
  FileStamp stamp;

  bool operator==(const CheckedFile&) const = default;
};

// REQUIRES: paths are those of a torrent.
std::string FormatChecked(const std::vector<CheckedFile>& files);
// Throws Error for anything that FormatChecked does not write.
std::vector<CheckedFile> ParseChecked(std::string_view text);

// What the folder's record says; nothing if there is none or it is damaged.
std::vector<CheckedFile> ReadChecked(const std::filesystem::path& folder);
// Replaces the record at once or not at all. Throws Error.
void WriteChecked(const std::filesystem::path& folder, const std::vector<CheckedFile>& files);

}  // namespace doppler
