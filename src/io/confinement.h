// A process gives up what it does not need, for good: before it speaks to strangers.
#pragma once

#include <filesystem>
#include <vector>

namespace doppler {

struct ConfinementOptions {
  std::vector<std::filesystem::path> writable;  // folders in which files may be made and changed
  std::vector<std::filesystem::path> readable;  // files and folders; what does not exist is skipped
};

struct Confinement {
  bool files = false;         // the kernel refuses every other file (landlock)
  bool system_calls = false;  // and to start programs or to look into other processes (seccomp)
};

// Drops all capabilities, the right to gain any, and as much of the rest as this kernel can take
// away. What is open stays usable. Threads that run already are not confined, so it is called
// before there are any. Throws Error where a path that exists cannot be opened.
Confinement ConfineProcess(const ConfinementOptions& options);

}  // namespace doppler
