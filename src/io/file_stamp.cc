#include "io/file_stamp.h"

#include <sys/stat.h>

namespace doppler {
namespace {

std::int64_t Nanoseconds(const timespec& time) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  return static_cast<std::int64_t>(time.tv_sec) * kSecond + time.tv_nsec;
}

}  // namespace

std::optional<FileStamp> StampOf(const std::filesystem::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return FileStamp{.size = static_cast<Bytes>(status.st_size),
                   .modified_ns = Nanoseconds(status.st_mtim),
                   .changed_ns = Nanoseconds(status.st_ctim),
                   .inode = status.st_ino,
                   .device = status.st_dev};
}

}  // namespace doppler
