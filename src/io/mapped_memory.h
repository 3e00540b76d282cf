// Anonymous, page-aligned, zeroed memory that is not part of the heap: it takes physical pages only
// as they are touched and gives them all back when it is destroyed.
#pragma once

#include <cstddef>
#include <span>

#include "base/bytes.h"

namespace doppler {

class MappedMemory {
 public:
  MappedMemory() = default;
  // Throws Error when the system refuses. A size of 0 maps nothing.
  explicit MappedMemory(Bytes size);
  ~MappedMemory();
  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&& other) noexcept;
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  std::byte* data() const { return data_; }
  Bytes size() const { return size_; }
  std::span<std::byte> span() const { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  Bytes size_ = 0;
};

// Gives whole pages of mapped memory back to the system: they read as zeros when they are used
// again. Says whether the system took them. REQUIRES: nobody uses them meanwhile.
bool DropPages(std::span<std::byte> pages);

// Has the system provide pages of mapped memory that are not there yet, as writing to them would.
// Where the kernel cannot (before Linux 5.14), the first use does.
void MakePages(std::span<std::byte> pages);

// How much of whole pages of mapped memory is in physical memory now.
Bytes ResidentBytes(std::span<const std::byte> pages);

// Returns unused heap pages to the system, after start-up work that allocated and freed a lot.
void TrimHeap();

}  // namespace doppler
