// Files: the only door to the file system's system calls.
//
// Every function throws Error with the path, what failed and why. A File may be read from several
// threads at once.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace doppler {

enum class OpenMode {
  kRead,    // through the page cache
  kDirect,  // without it: offsets, lengths and addresses are multiples of kDirectAlignment
  kCreate,  // for writing, must not exist
};

class File {
 public:
  File() = default;
  // With kDirect on a file system that has no O_DIRECT (tmpfs, some network file systems) the file
  // is opened for buffered reads, and direct() says so.
  File(const std::filesystem::path& path, OpenMode mode);
  // One that is closed, to be opened with Reopen.
  static File ClosedAt(const std::filesystem::path& path);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int descriptor() const { return descriptor_; }
  bool is_open() const { return descriptor_ >= 0; }
  bool direct() const { return direct_; }
  const std::filesystem::path& path() const { return path_; }

  void Close();
  // Opens the file at path() again, as with kDirect. Gives 0, or the errno value of the failure.
  // Does not allocate. REQUIRES: it is closed.
  int Reopen();

  Bytes Size() const;
  // Fills `out` from `offset`; a file that ends before is an error.
  void ReadAt(Bytes offset, std::span<std::byte> out) const;
  // As ReadAt, and the kernel keeps no copy, which a container's limit on memory would count.
  void ReadOnce(Bytes offset, std::span<std::byte> out) const;
  // Appends all of `bytes` at the end of what was written so far.
  void Write(std::span<const std::byte> bytes);
  // Flushes to the device.
  void Sync();
  // Tells the kernel that a range that was read or written will not be needed again.
  void DropCache(Bytes offset, Bytes size) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  bool direct_ = false;
};

// The whole file as text. A file larger than `limit` is an error: no small file of ours grows to
// the size of memory.
std::string ReadTextFile(const std::filesystem::path& path, Bytes limit = 256 * kMiB);
void WriteTextFile(const std::filesystem::path& path, std::string_view text);

// How many files this process may open. Where that is less than `wanted`, the limit is first raised
// as far as the system lets it.
std::size_t RaiseOpenFileLimit(std::size_t wanted);

// The path of a folder such that parent_path() and filename() mean that folder.
std::filesystem::path WithoutTrailingSlash(const std::filesystem::path& path);

// Makes renames inside `folder` durable.
void SyncFolder(const std::filesystem::path& folder);

// A new, empty folder beside `final_path` that vanishes with all it holds unless Commit is called.
// What was written half-way never stands under the final name.
class StagingFolder {
 public:
  // `final_path` must not exist. Throws Error if it does or if its parent cannot be written.
  explicit StagingFolder(const std::filesystem::path& final_path);
  ~StagingFolder();
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  const std::filesystem::path& path() const { return staging_; }
  // Renames the folder to its final name, durably. Throws Error if that name was taken meanwhile.
  void Commit();

 private:
  std::filesystem::path final_;
  std::filesystem::path staging_;
  bool committed_ = false;
};

// A new folder under the system's temporary folder, removed with all it holds.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace doppler
