#include "io/replace_file.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include <unistd.h>

#include "base/error.h"
#include "io/file.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// A name beside `path` that no other thread or process uses, and no file of that name at the end.
class TempName {
 public:
  explicit TempName(const fs::path& path) {
    static std::atomic<unsigned> count{0};
    path_ = path;
    path_ += ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(count.fetch_add(1));
  }
  ~TempName() { ::unlink(path_.c_str()); }
  TempName(const TempName&) = delete;
  TempName& operator=(const TempName&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

void ReplaceFile(const fs::path& path, std::span<const std::byte> bytes) {
  if (const fs::path parent = path.parent_path(); !parent.empty() && !fs::is_directory(parent)) {
    Throw("the folder '{}' does not exist; create it or choose another place", parent.string());
  }
  const TempName name(path);
  {
    File file(name.path(), OpenMode::kCreate);
    file.Write(bytes);
    file.Sync();
  }
  if (::rename(name.path().c_str(), path.c_str()) != 0) {
    Throw("cannot replace '{}': {}", path.string(), std::strerror(errno));
  }
}

}  // namespace doppler
