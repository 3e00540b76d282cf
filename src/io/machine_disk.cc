#include <algorithm>
#include <memory>

#include <sys/statvfs.h>

#include "base/error.h"
#include "io/file.h"
#include "io/machine.h"
#include "io/machine_files.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

bool IsAtOrBelow(const fs::path& path, const fs::path& point) {
  return std::mismatch(point.begin(), point.end(), path.begin(), path.end()).first == point.end();
}

// The mount that holds `path`. Of those that hold it the longest counts, and of equal ones the
// last, which hides the others.
std::optional<Mount> MountOf(const fs::path& path, const fs::path& root) {
  std::optional<Mount> best;
  for (Mount& mount : ReadMounts(root)) {
    if (!IsAtOrBelow(path, mount.point)) continue;
    if (!best || mount.point.size() >= best->point.size()) best = std::move(mount);
  }
  return best;
}

// The folder that /sys has for the block device `source`, such as "/dev/mapper/home"; empty if it
// is none. A partition's folder stands inside the folder of its disk.
fs::path BlockFolder(const std::string& source, const fs::path& root) {
  if (!source.starts_with("/dev/")) return {};
  std::error_code error;
  const fs::path node = fs::canonical(Below(root, source), error);
  const fs::path name = error ? fs::path(source).filename() : node.filename();
  const fs::path folder = fs::canonical(Below(root, "/sys/class/block") / name, error);
  return error ? fs::path() : folder;
}

void ReadBlockDevice(const fs::path& folder, DiskInfo& disk) {
  disk.device = folder.filename().string();
  const fs::path whole = fs::exists(folder / "queue") ? folder : folder.parent_path();
  const std::optional<std::uint64_t> rotational = ReadKernelNumber(whole / "queue/rotational");
  if (rotational) disk.rotational = *rotational != 0;
  disk.model = ReadKernelLine(whole / "device/model").value_or("");
}

// A file to try reads on: `path` itself or the first in its folder that is not empty.
std::optional<fs::path> SampleFile(const fs::path& path) {
  std::error_code error;
  const auto usable = [&](const fs::path& file) {
    return fs::is_regular_file(file, error) && fs::file_size(file, error) >= kDirectAlignment;
  };
  if (usable(path)) return path;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    if (usable(entry->path())) return entry->path();
  }
  return std::nullopt;
}

std::optional<bool> TryDirectRead(const fs::path& path) {
  const std::optional<fs::path> sample = SampleFile(path);
  if (!sample) return std::nullopt;
  struct alignas(kDirectAlignment) Block {
    std::byte bytes[kDirectAlignment];
  };
  const auto block = std::make_unique<Block>();
  try {
    // Some file systems let such a file be opened and then refuse to read it.
    const File file(*sample, OpenMode::kDirect);
    file.ReadAt(0, block->bytes);
    return file.direct();
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

DiskInfo DetectMountedDisk(const fs::path& path, const fs::path& root) {
  DiskInfo disk;
  const std::optional<Mount> mount = MountOf(path, root);
  if (!mount) return disk;
  disk.file_system = mount->file_system;
  const fs::path folder = BlockFolder(mount->source, root);
  if (!folder.empty()) ReadBlockDevice(folder, disk);
  return disk;
}

DiskInfo DetectDisk(const fs::path& path, const fs::path& root) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) Throw("cannot look at '{}': {}", path.string(), error.message());
  DiskInfo disk = DetectMountedDisk(real, root);
  struct statvfs space {};
  if (::statvfs(real.c_str(), &space) == 0) {
    disk.total = Bytes{space.f_frsize} * space.f_blocks;
    disk.free = Bytes{space.f_frsize} * space.f_bavail;
  }
  disk.direct_reads = TryDirectRead(real);
  return disk;
}

}  // namespace doppler
