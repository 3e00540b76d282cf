// For tests: a folder of invented /proc and /sys files that vanishes with its owner.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "io/file.h"
#include "io/machine_files.h"

namespace doppler {

class FakeTree {
 public:
  const std::filesystem::path& root() const { return folder_.path(); }

  // Where `path`, such as "/proc/meminfo", stands in this tree.
  std::filesystem::path At(std::string_view path) const { return Below(root(), path); }

  // Writes a file, making its folders.
  void Add(std::string_view path, std::string_view text) const {
    std::filesystem::create_directories(At(path).parent_path());
    std::filesystem::remove(At(path));
    WriteTextFile(At(path), text);
  }

  // A symbolic link, as /sys is full of them.
  void Link(std::string_view path, std::string_view target) const {
    std::filesystem::create_directories(At(path).parent_path());
    std::filesystem::create_directory_symlink(target, At(path));
  }

  // Adds one line of /proc/self/mountinfo.
  void Mount(std::string_view root_of_mount, std::string_view point, std::string_view file_system,
             std::string_view source, std::string_view options) {
    mounts_ += fmt::format("30 23 0:28 {} {} rw,relatime shared:4 - {} {} {}\n", root_of_mount,
                           point, file_system, source, options);
    Add("/proc/self/mountinfo", mounts_);
  }

 private:
  TempFolder folder_;
  std::string mounts_;
};

}  // namespace doppler
