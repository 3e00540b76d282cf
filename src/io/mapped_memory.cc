#include "io/mapped_memory.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

// Below this neither the page-table walks nor the faults that are saved matter.
constexpr Bytes kHugePageThreshold = 8 * kMiB;

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

bool DropPages(std::span<std::byte> pages) {
  return pages.empty() || ::madvise(pages.data(), pages.size(), MADV_DONTNEED) == 0;
}

void MakePages(std::span<std::byte> pages) {
  ::madvise(pages.data(), pages.size(), MADV_POPULATE_WRITE);
}

Bytes ResidentBytes(std::span<const std::byte> pages) {
  if (pages.empty()) return 0;
  const auto page = static_cast<Bytes>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> states((pages.size() + page - 1) / page);
  // mincore only reads the page tables, but wants a pointer to what could be written.
  void* address = const_cast<std::byte*>(pages.data());
  DOPPLER_CHECK(::mincore(address, pages.size(), states.data()) == 0);
  const auto resident = std::count_if(states.begin(), states.end(),
                                      [](unsigned char state) { return (state & 1) != 0; });
  return std::min<Bytes>(static_cast<Bytes>(resident) * page, pages.size());
}

void TrimHeap() { ::malloc_trim(0); }

}  // namespace doppler
