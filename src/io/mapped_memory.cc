#include "io/mapped_memory.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <malloc.h>
#include <sys/mman.h>

#include "base/error.h"

namespace doppler {
namespace {

// Below this the saved page-table walks do not matter.
constexpr Bytes kHugePageThreshold = 64 * kMiB;

}  // namespace

MappedMemory::MappedMemory(Bytes size) : size_(size) {
  if (size == 0) return;
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    Throw("cannot map {} of memory: {}; lower --host-memory", FormatSize(size),
          std::strerror(errno));
  }
  data_ = static_cast<std::byte*>(address);
  // The kernel only uses huge pages that fit inside the mapping, so the size stays what it is.
  if (size >= kHugePageThreshold) ::madvise(address, size, MADV_HUGEPAGE);
}

MappedMemory::~MappedMemory() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void TrimHeap() { ::malloc_trim(0); }

}  // namespace doppler
