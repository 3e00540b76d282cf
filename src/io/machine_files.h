// Reads what the kernel says about itself under /proc and /sys.
//
// Those files claim a size of 0, may be missing on any given machine and may hold words where a
// number is expected, so every function answers "nothing" instead of failing. Paths are joined
// with `root`, which tests point at a tree of their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace doppler {

// The start of a kernel file, at most 1 MiB; nothing if it cannot be read.
std::optional<std::string> ReadKernelFile(const std::filesystem::path& path);

// Its first line without surrounding spaces; nothing if there is none.
std::optional<std::string> ReadKernelLine(const std::filesystem::path& path);

// A decimal number that makes up all of `text`, with spaces around it allowed.
std::optional<std::uint64_t> ParseNumber(std::string_view text);

// The number in a file that holds just one.
std::optional<std::uint64_t> ReadKernelNumber(const std::filesystem::path& path);

std::string_view TrimSpaces(std::string_view text);
std::vector<std::string_view> SplitWords(std::string_view text);
std::vector<std::string_view> SplitLines(std::string_view text);

// What follows "name:" or "name " on the line that begins with it, trimmed.
std::optional<std::string_view> FieldOf(std::string_view text, std::string_view name);

// A field such as "VmRSS:  1672 kB", in bytes. Does not allocate.
std::optional<Bytes> KilobyteField(std::string_view text, std::string_view name);

// `path` below `root`: "/proc/x" below "/" is "/proc/x", below "/tree" it is "/tree/proc/x".
std::filesystem::path Below(const std::filesystem::path& root, const std::filesystem::path& path);

// One line of /proc/self/mountinfo (described in proc_pid_mountinfo(5)).
struct Mount {
  std::string root;         // the part of the file system that is mounted
  std::string point;        // where
  std::string file_system;  // "ext4"
  std::string source;       // "/dev/vda1"
  std::string options;      // of the file system: for cgroup v1 its controllers
};

// Every line that is well formed, in the order of mounting.
std::vector<Mount> ReadMounts(const std::filesystem::path& root);

}  // namespace doppler
