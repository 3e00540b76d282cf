// Reads that run while the caller computes.
//
//   Submit(op) -> the device reads -> on_done(tag, error) on one of the reader's own threads
//
// Two mechanisms behind one interface: io_uring, and where that is not permitted (many containers)
// a pool of threads that call pread. MakeAsyncReader chooses once; name() says which.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "io/file.h"

namespace doppler {

struct ReadOp {
  const File* file = nullptr;
  Bytes offset = 0;
  std::span<std::byte> out;  // filled completely; aligned as file->direct() demands
  std::uint64_t tag = 0;     // given back on completion
};

// `error` is 0, an errno value, or kReadPastEnd when the file ended first.
inline constexpr int kReadPastEnd = -1;
using ReadDone = std::function<void(std::uint64_t tag, int error)>;

class AsyncReader {
 public:
  // Waits for the reads in flight; on_done is called for each of them.
  virtual ~AsyncReader() = default;
  virtual std::string_view name() const = 0;
  // What the kernel was told of beforehand, which saves it work with each read: "files and
  // buffers", "files", "buffers" or "nothing".
  virtual std::string_view registered() const { return "nothing"; }
  // Starts one read. May be called from any thread. Waits for a free place when `depth` reads are
  // in flight, those among them for which on_done is running: from on_done it may only be called
  // when there is a free place. Does not allocate.
  virtual void Submit(const ReadOp& op) = 0;
  // Memory that was announced goes back to the system: the kernel is told to let go of it, and
  // it is registered anew when the next read goes there. Says whether the kernel did; if not, the
  // memory must stay. Any thread. REQUIRES: `memory` is whole regions, no read into them is in
  // flight, and none is started meanwhile.
  virtual bool LetGoOf([[maybe_unused]] std::span<std::byte> memory) { return true; }
};

// Registered at once.
inline constexpr Bytes kReaderRegion = 64 * kMiB;

struct AsyncReaderOptions {
  int depth = 64;   // reads in flight
  int threads = 2;  // that run on_done; the pread pool uses max(threads, 8) to keep a disk busy
  // Where most reads come from and go to. Both outlive the reader. io_uring registers them if it
  // may: the memory by and by, a region once a read has gone there and all of it is in memory.
  std::span<const File> files = {};
  std::span<std::byte> memory = {};
  Bytes region = kReaderRegion;  // a multiple of the page size; the last one may be shorter
};

// on_done may run on several threads at once. These throw Error if the mechanism is refused.
std::unique_ptr<AsyncReader> MakeUringReader(const AsyncReaderOptions& options, ReadDone on_done);
std::unique_ptr<AsyncReader> MakeThreadReader(const AsyncReaderOptions& options, ReadDone on_done);

// Whether this process may use io_uring.
bool UringPermitted();

// io_uring where it is permitted, else threads.
std::unique_ptr<AsyncReader> MakeAsyncReader(const AsyncReaderOptions& options, ReadDone on_done);

// What a failed read means, for a message: "the file ends too early; it is truncated".
std::string_view DescribeReadError(int error);

}  // namespace doppler
