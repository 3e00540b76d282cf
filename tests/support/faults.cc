// A disk that misbehaves, for a program that is started with this library preloaded: it stands
// between the program and the C library, and between it and liburing, so that all of our own code
// runs as it is.
//
//   DOPPLER_FAULT        short: a read brings half of what was asked for
//                        error: a read fails
//                        delay: a read takes DOPPLER_FAULT_MILLISECONDS longer
//   DOPPLER_FAULT_FIRST  the first read that is affected, counted from 0 (default 0)
//   DOPPLER_FAULT_COUNT  how many are affected from there on (default 1)
//   DOPPLER_FAULT_URING  refused: the kernel does not permit io_uring
//
// Only reads of 16 KiB and more count: weights, not configuration files.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <dlfcn.h>
#include <liburing.h>
#include <unistd.h>

namespace {

constexpr unsigned kLeastBytes = 16 * 1024;
constexpr unsigned kPage = 4096;

bool Is(const char* variable, const char* value) {
  const char* set = std::getenv(variable);
  return set != nullptr && std::strcmp(set, value) == 0;
}

long Number(const char* variable, long otherwise) {
  const char* set = std::getenv(variable);
  return set == nullptr ? otherwise : std::strtol(set, nullptr, 10);
}

// Whether this read, which is counted, is one of those that are affected.
bool Affected(std::size_t bytes) {
  static std::atomic<long> reads{0};
  if (bytes < kLeastBytes) return false;
  const long read = reads.fetch_add(1);
  const long first = Number("DOPPLER_FAULT_FIRST", 0);
  return read >= first && read < first + Number("DOPPLER_FAULT_COUNT", 1);
}

// Half, in whole pages, as a device would.
unsigned Half(std::size_t bytes) {
  return std::max(static_cast<unsigned>(bytes) / 2 / kPage * kPage, kPage);
}

void Delay() {
  std::this_thread::sleep_for(
      std::chrono::milliseconds(Number("DOPPLER_FAULT_MILLISECONDS", 1000)));
}

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

ssize_t FaultyRead(int descriptor, void* out, std::size_t size, off64_t offset) {
  static auto* const read = Next<ssize_t(int, void*, std::size_t, off64_t)>("pread64");
  if (Affected(size)) {
    if (Is("DOPPLER_FAULT", "error")) {
      errno = EIO;
      return -1;
    }
    if (Is("DOPPLER_FAULT", "short")) size = Half(size);
    if (Is("DOPPLER_FAULT", "delay")) Delay();
  }
  return read(descriptor, out, size, offset);
}

void Disturb(io_uring_sqe& entry) {
  const bool reads = entry.opcode == IORING_OP_READ || entry.opcode == IORING_OP_READ_FIXED;
  if (!reads || !Affected(entry.len)) return;
  if (Is("DOPPLER_FAULT", "short")) entry.len = Half(entry.len);
  if (Is("DOPPLER_FAULT", "delay")) Delay();
  if (Is("DOPPLER_FAULT", "error")) {
    entry.fd = -1;
    entry.flags &= static_cast<unsigned char>(~IOSQE_FIXED_FILE);
  }
}

}  // namespace

extern "C" {

ssize_t pread(int descriptor, void* out, std::size_t size, off_t offset) {
  return FaultyRead(descriptor, out, size, offset);
}

ssize_t pread64(int descriptor, void* out, std::size_t size, off64_t offset) {
  return FaultyRead(descriptor, out, size, offset);
}

int io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags) {
  static auto* const init = Next<int(unsigned, io_uring*, unsigned)>("io_uring_queue_init");
  return Is("DOPPLER_FAULT_URING", "refused") ? -EPERM : init(entries, ring, flags);
}

int io_uring_submit(io_uring* ring) {
  static auto* const submit = Next<int(io_uring*)>("io_uring_submit");
  for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; ++i) {
    Disturb(ring->sq.sqes[i & ring->sq.ring_mask]);
  }
  return submit(ring);
}
}
