#include "io/folder_lock.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {

FolderLock::FolderLock(const std::filesystem::path& folder) {
  descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0) Throw("cannot open '{}': {}", folder.string(), std::strerror(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  const int problem = errno;
  ::close(descriptor_);
  if (problem == EWOULDBLOCK) {
    Throw("another process is writing to '{}'; wait until it has ended", folder.string());
  }
  Throw("cannot lock '{}': {}", folder.string(), std::strerror(problem));
}

FolderLock::~FolderLock() { ::close(descriptor_); }

}  // namespace doppler
