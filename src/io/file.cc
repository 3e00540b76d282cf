#include "io/file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void ThrowErrno(const char* action, const fs::path& path, int error) {
  const char* advice = "";
  if (error == ENOSPC || error == EDQUOT) advice = "; free some space or choose another disk";
  if (error == EACCES || error == EPERM) advice = "; check its permissions";
  if (error == EROFS) advice = "; choose a folder that can be written";
  Throw("cannot {} '{}': {}{}", action, path.string(), std::strerror(error), advice);
}

int OpenOrThrow(const fs::path& path, int flags, const char* action) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (descriptor < 0) ThrowErrno(action, path, errno);
  return descriptor;
}

void SyncDescriptor(int descriptor, const fs::path& path) {
  // Some file systems have nothing to flush and say EINVAL.
  if (::fsync(descriptor) != 0 && errno != EINVAL) ThrowErrno("flush", path, errno);
}

fs::path ParentOf(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

fs::path MakeUniqueFolder(std::string pattern) {
  pattern += "XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) ThrowErrno("create a folder like", pattern, errno);
  return pattern;
}

}  // namespace

File::File(const fs::path& path, OpenMode mode) : path_(path) {
  switch (mode) {
    case OpenMode::kRead:
      descriptor_ = OpenOrThrow(path, O_RDONLY, "open");
      break;
    case OpenMode::kDirect:
      if (const int error = Reopen(); error != 0) ThrowErrno("open", path, error);
      break;
    case OpenMode::kCreate:
      descriptor_ = OpenOrThrow(path, O_WRONLY | O_CREAT | O_EXCL, "create");
      break;
  }
}

File File::ClosedAt(const fs::path& path) {
  File file;
  file.path_ = path;
  return file;
}

File::~File() { Close(); }

File::File(File&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      direct_(other.direct_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(direct_, other.direct_);
  return *this;
}

void File::Close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

int File::Reopen() {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  direct_ = descriptor_ >= 0;
  if (!direct_ && errno == EINVAL) descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  return descriptor_ >= 0 ? 0 : errno;
}

Bytes File::Size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) ThrowErrno("read the size of", path_, errno);
  if (!S_ISREG(status.st_mode)) Throw("'{}' is not a regular file", path_.string());
  return static_cast<Bytes>(status.st_size);
}

void File::ReadAt(Bytes offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) ThrowErrno("read", path_, errno);
    if (got == 0) {
      Throw("'{}' ends at byte {}, {} bytes too early; it is truncated, fetch it again",
            path_.string(), offset, out.size());
    }
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<Bytes>(got);
  }
}

void File::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(descriptor_, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) ThrowErrno("write", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
}

void File::Sync() { SyncDescriptor(descriptor_, path_); }

void File::DropCache(Bytes offset, Bytes size) const {
  ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(size),
                  POSIX_FADV_DONTNEED);
}

void File::ReadOnce(Bytes offset, std::span<std::byte> out) const {
  ReadAt(offset, out);
  DropCache(offset, out.size());
}

std::string ReadTextFile(const fs::path& path, Bytes limit) {
  const File file(path, OpenMode::kRead);
  const Bytes size = file.Size();
  if (size > limit) {
    Throw("'{}' is {}, more than the {} that such a file may have", path.string(), FormatSize(size),
          FormatSize(limit));
  }
  std::string text(size, '\0');
  file.ReadOnce(0, std::as_writable_bytes(std::span(text)));
  return text;
}

void WriteTextFile(const fs::path& path, std::string_view text) {
  File file(path, OpenMode::kCreate);
  file.Write(std::as_bytes(std::span(text)));
  file.Sync();
}

std::size_t RaiseOpenFileLimit(std::size_t wanted) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  if (limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
    const struct rlimit raised { limit.rlim_max, limit.rlim_max };
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return static_cast<std::size_t>(limit.rlim_cur);
}

fs::path WithoutTrailingSlash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

void SyncFolder(const fs::path& folder) {
  const int descriptor = OpenOrThrow(folder, O_RDONLY | O_DIRECTORY, "open");
  SyncDescriptor(descriptor, folder);
  ::close(descriptor);
}

StagingFolder::StagingFolder(const fs::path& final_path)
    : final_(WithoutTrailingSlash(final_path)) {
  if (fs::exists(fs::symlink_status(final_))) {
    Throw("'{}' exists already and is not overwritten; remove it or choose another name",
          final_.string());
  }
  const fs::path parent = ParentOf(final_);
  if (!fs::is_directory(parent)) {
    Throw("the folder '{}' does not exist; create it or choose another place", parent.string());
  }
  staging_ = MakeUniqueFolder((parent / ("." + final_.filename().string() + ".partial-")).string());
  ::chmod(staging_.c_str(), 0755);
}

StagingFolder::~StagingFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(staging_, ignored);
}

void StagingFolder::Commit() {
  SyncFolder(staging_);
  // RENAME_NOREPLACE: a name taken since the constructor looked is not replaced.
  if (::syscall(SYS_renameat2, AT_FDCWD, staging_.c_str(), AT_FDCWD, final_.c_str(),
                RENAME_NOREPLACE) != 0) {
    ThrowErrno("create", final_, errno);
  }
  committed_ = true;
  SyncFolder(ParentOf(final_));
}

TempFolder::TempFolder()
    : path_(MakeUniqueFolder((fs::temp_directory_path() / "doppler-").string())) {}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace doppler
