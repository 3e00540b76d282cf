#include "swarm/check_files.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/thread_pool.h"
#include "format/artifact_files.h"
#include "io/file.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// Small, so that threads that share a file end at about the same time.
constexpr Bytes kPortion = 256 * kKiB;
static_assert(kPortion % kLeafBytes == 0);

// The length of a plain file; 0 if there is none.
Bytes PlainFileSize(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found) return 0;
  if (error) {
    Throw("cannot look at '{}': {}; check the permissions of its folder", path.string(),
          error.message());
  }
  if (status.type() != fs::file_type::regular) {
    Throw("'{}' is not a plain file; remove it", path.string());
  }
  const Bytes size = fs::file_size(path, error);
  return error ? 0 : size;
}

// On all threads of a pool; `on_progress` gets the bytes of a portion, one call at a time. Throws
// what the first that failed has thrown.
std::vector<Digest> HashLeaves(const fs::path& path, Bytes size,
                               const std::function<void(Bytes)>& on_progress, ThreadPool& pool) {
  const File file(path, OpenMode::kRead);
  std::vector<Digest> leaves((size + kLeafBytes - 1) / kLeafBytes);
  std::mutex mutex;
  std::exception_ptr problem;
  std::atomic<bool> failed{false};
  pool.ParallelFor((size + kPortion - 1) / kPortion, 1, [&](std::size_t begin, std::size_t end) {
    if (failed) return;
    try {
      const auto buffer = std::make_unique_for_overwrite<std::byte[]>(kPortion);
      for (std::size_t i = begin; i < end; ++i) {
        ThrowIfInterrupted();
        const std::span portion(buffer.get(), std::min(kPortion, size - i * kPortion));
        file.ReadOnce(i * kPortion, portion);
        auto leaf = leaves.begin() + static_cast<std::ptrdiff_t>(i * (kPortion / kLeafBytes));
        Sha256OfParts(portion, kLeafBytes, [&leaf](const Digest& digest) { *leaf++ = digest; });
        const std::lock_guard lock(mutex);
        on_progress(portion.size());
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failed.exchange(true)) problem = std::current_exception();
    }
  });
  if (problem) std::rethrow_exception(problem);
  return leaves;
}

// Whether piece `piece` has its hash, from leaves that may be fewer than the file's.
bool PieceIsThere(const TorrentFile& file, std::size_t piece, std::span<const Digest> leaves) {
  const std::size_t begin = piece * kPieceLeaves;
  if (begin >= leaves.size()) return false;
  MerkleFolder folder;
  for (const Digest& leaf : leaves.subspan(begin, std::min(kPieceLeaves, leaves.size() - begin))) {
    folder.Add(leaf);
  }
  return folder.RootOfHeight(kPieceLevel) == PieceHash(file, piece);
}

FileCheck CheckOn(ThreadPool& pool, const fs::path& path, TorrentFile& file,
                  const std::function<void(Bytes)>& on_progress) {
  FileCheck check;
  check.pieces.resize(PieceCount(file));
  const Bytes size = std::min(PlainFileSize(path), file.size);
  if (size == 0) return check;
  const std::optional<FileStamp> stamp = StampOf(path);
  std::vector<Digest> leaves = HashLeaves(path, size, on_progress, pool);
  if (size == file.size && MerkleRoot(leaves) == file.root) {
    check.whole = true;
    check.pieces.assign(check.pieces.size(), true);
    file.layer = PieceLayer(leaves);
    check.leaves = std::move(leaves);
    // One that is longer is not the file yet.
    if (stamp && stamp->size == file.size) check.stamp = stamp;
    return check;
  }
  if (file.layer.empty()) return check;
  for (std::size_t piece = 0; piece < check.pieces.size(); ++piece) {
    check.pieces[piece] = PieceIsThere(file, piece, leaves);
  }
  return check;
}

// Checks these files of the torrent, without keeping their leaves.
void CheckSome(const std::vector<std::size_t>& files,
               const std::function<fs::path(const TorrentFile&)>& path_of, Torrent& torrent,
               std::vector<FileCheck>& checks, int threads,
               const std::function<void(Bytes)>& on_progress) {
  std::mutex mutex;
  Bytes done = 0;
  std::exception_ptr problem;
  const auto count = [&](Bytes bytes) {
    const std::lock_guard lock(mutex);
    on_progress(done += bytes);
  };
  ThreadPool pool(threads);
  pool.ParallelFor(files.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      TorrentFile& file = torrent.files[files[i]];
      try {
        checks[files[i]] = CheckFile(path_of(file), file, count);
        checks[files[i]].leaves = {};
      } catch (const Error&) {
        const std::lock_guard lock(mutex);
        if (!problem) problem = std::current_exception();
      }
    }
  });
  if (problem) std::rethrow_exception(problem);
}

}  // namespace

void CutToSize(const fs::path& path, Bytes size) {
  std::error_code error;
  const bool plain = fs::symlink_status(path, error).type() == fs::file_type::regular;
  if (!plain || fs::file_size(path, error) <= size || error) return;
  fs::resize_file(path, size, error);
  if (error) Throw("cannot shorten '{}': {}", path.string(), error.message());
}

Bytes BytesThere(const TorrentFile& file, const FileCheck& check) {
  Bytes total = 0;
  for (std::size_t piece = 0; piece < check.pieces.size(); ++piece) {
    if (check.pieces[piece]) total += std::min(kPieceBytes, file.size - piece * kPieceBytes);
  }
  return total;
}

FileCheck CheckFile(const fs::path& path, TorrentFile& file,
                    const std::function<void(Bytes)>& on_progress) {
  ThreadPool alone(1);
  return CheckOn(alone, path, file, on_progress);
}

FileCheck CheckFile(const fs::path& path, TorrentFile& file, ThreadPool& pool) {
  return CheckOn(pool, path, file, [](Bytes) {});
}

std::vector<FileCheck> CheckFiles(const fs::path& folder, Torrent& torrent,
                                  const std::string& manifest_file, int threads,
                                  const std::function<void(Bytes)>& on_progress) {
  std::vector<FileCheck> checks(torrent.files.size());
  std::vector<std::size_t> all(torrent.files.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  const auto path_of = [&](const TorrentFile& file) {
    return folder / (file.path == kManifestFile ? manifest_file : file.path);
  };
  CheckSome(all, path_of, torrent, checks, threads, on_progress);
  return checks;
}

std::vector<FileCheck> CheckChangedFiles(
    const fs::path& folder, Torrent& torrent, const std::vector<CheckedFile>& known, int threads,
    const std::function<void(Bytes done, Bytes total)>& on_progress) {
  std::vector<FileCheck> checks(torrent.files.size());
  for (const CheckedFile& checked : known) {
    const TorrentFile* const file = torrent.Find(checked.path);
    if (file == nullptr || file->root != checked.root || !HasPieceHashes(*file)) continue;
    const std::optional<FileStamp> stamp = StampOf(folder / file->path);
    if (stamp != checked.stamp || stamp->size != file->size) continue;
    checks[torrent.IndexOf(checked.path)] = {.whole = true,
                                             .pieces = std::vector<bool>(PieceCount(*file), true),
                                             .leaves = {},
                                             .stamp = stamp};
  }
  std::vector<std::size_t> rest;
  Bytes total = 0;
  for (std::size_t i = 0; i < checks.size(); ++i) {
    if (checks[i].whole) continue;
    rest.push_back(i);
    total += std::min(PlainFileSize(folder / torrent.files[i].path), torrent.files[i].size);
  }
  const auto path_of = [&folder](const TorrentFile& file) { return folder / file.path; };
  CheckSome(rest, path_of, torrent, checks, threads, [&](Bytes done) { on_progress(done, total); });
  return checks;
}

std::vector<CheckedFile> CheckedOf(const Torrent& torrent, const std::vector<FileCheck>& checks) {
  std::vector<CheckedFile> files;
  for (std::size_t i = 0; i < checks.size(); ++i) {
    if (!checks[i].whole || !checks[i].stamp) continue;
    files.push_back(
        {.path = torrent.files[i].path, .root = torrent.files[i].root, .stamp = *checks[i].stamp});
  }
  return files;
}

Bytes BytesOnDisk(const fs::path& folder, const Torrent& torrent) {
  Bytes total = 0;
  for (const TorrentFile& file : torrent.files) {
    std::error_code error;
    const Bytes size = fs::file_size(folder / file.path, error);
    if (!error) total += std::min(size, file.size);
  }
  return total;
}

std::vector<std::uint8_t> HaveBits(const std::vector<FileCheck>& checks) {
  std::vector<std::uint8_t> bits;
  std::size_t next = 0;
  for (const FileCheck& check : checks) {
    for (const bool there : check.pieces) {
      if (next % 8 == 0) bits.push_back(0);
      if (there) bits.back() = static_cast<std::uint8_t>(bits.back() | 0x80u >> next % 8);
      ++next;
    }
  }
  return bits;
}

std::vector<std::uint8_t> AllBits(const Torrent& torrent) {
  std::vector<FileCheck> checks;
  for (const TorrentFile& file : torrent.files) {
    checks.push_back(
        {.whole = true, .pieces = std::vector<bool>(PieceCount(file), true), .leaves = {}});
  }
  return HaveBits(checks);
}

}  // namespace doppler
