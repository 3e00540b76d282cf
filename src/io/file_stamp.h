// By what a file is known to be the one that was looked at before, without reading it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/bytes.h"

namespace doppler {

// As stat(2) gives it. Whoever writes to a file changes both times, and can set back only the
// first; a disk that loses bytes changes nothing.
struct FileStamp {
  Bytes size = 0;
  std::int64_t modified_ns = 0;  // since 1970
  std::int64_t changed_ns = 0;   // likewise, bytes or what is known about the file
  std::uint64_t inode = 0;
  std::uint64_t device = 0;

  bool operator==(const FileStamp&) const = default;
};

// Nothing if there is no plain file: a link is none.
std::optional<FileStamp> StampOf(const std::filesystem::path& path);

}  // namespace doppler
