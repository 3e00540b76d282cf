// What of a torrent's files is on disk, by our own hashing: the only source of what is taken as
// there.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "io/file_stamp.h"
#include "swarm/checked_files.h"
#include "swarm/torrent.h"

namespace doppler {

struct FileCheck {
  bool whole = false;
  std::vector<bool> pieces;    // [piece of the file], whether its bytes have their hash
  std::vector<Digest> leaves;  // of a whole file
  // What a whole file was like before it was read.
  std::optional<FileStamp> stamp = {};
};

// Cuts off what a plain file has beyond `size`: with the right bytes in front it would hash well
// and still not be the file. Throws Error if that cannot be done.
void CutToSize(const std::filesystem::path& path, Bytes size);

// The bytes of the pieces that are there.
Bytes BytesThere(const TorrentFile& file, const FileCheck& check);

// Reads `path` and hashes it. Where the file's piece layer is not known, a piece is there only if
// the whole file is. Sets the layer of a whole file. A file that is not there has no pieces. Throws
// Error for what is not a plain file, InterruptedError on Ctrl-C.
FileCheck CheckFile(const std::filesystem::path& path, TorrentFile& file,
                    const std::function<void(Bytes)>& on_progress);
// The same with all threads of a pool, for a file that is waited for.
FileCheck CheckFile(const std::filesystem::path& path, TorrentFile& file, ThreadPool& pool);

// Checks all files of a torrent below `folder`, on `threads` threads; the manifest under the name
// `manifest_file`. Leaves are not kept: they would be 1/512 of a model. `on_progress` gets the
// bytes read so far, one call at a time.
std::vector<FileCheck> CheckFiles(const std::filesystem::path& folder, Torrent& torrent,
                                  const std::string& manifest_file, int threads,
                                  const std::function<void(Bytes)>& on_progress);

// The same, but files that `known` tells of, and that are as they were then, count as whole unread,
// if the piece layer is known too. `on_progress` also gets the bytes of all that will be read.
std::vector<FileCheck> CheckChangedFiles(
    const std::filesystem::path& folder, Torrent& torrent, const std::vector<CheckedFile>& known,
    int threads, const std::function<void(Bytes done, Bytes total)>& on_progress);

// What a record can tell of these: the whole files.
std::vector<CheckedFile> CheckedOf(const Torrent& torrent, const std::vector<FileCheck>& checks);

// The bytes that CheckFiles will read.
Bytes BytesOnDisk(const std::filesystem::path& folder, const Torrent& torrent);

// As StartMessage has it.
std::vector<std::uint8_t> HaveBits(const std::vector<FileCheck>& checks);
// Of a torrent whose files are all there.
std::vector<std::uint8_t> AllBits(const Torrent& torrent);

}  // namespace doppler
