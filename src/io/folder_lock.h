// One process at a time in a folder.
#pragma once

#include <filesystem>

namespace doppler {

// Held as long as it exists, and at most as long as its process; leaves nothing behind.
class FolderLock {
 public:
  // Throws Error, which says that another process is at it, or why the folder cannot be opened.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace doppler
