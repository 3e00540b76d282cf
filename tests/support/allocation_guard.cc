// malloc and its relatives, replaced by versions that abort inside a NoAllocScope. Linked into
// every test program that no sanitizer watches, which has replacements of its own.
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include <unistd.h>

#include "base/alloc_guard.h"

namespace {

void AbortIfForbidden() {
  if (!doppler::AllocationForbidden()) return;
  constexpr char kMessage[] = "doppler: internal error: memory allocated inside a NoAllocScope\n";
  // Not stdio: printing could allocate.
  [[maybe_unused]] const auto written = ::write(2, kMessage, sizeof(kMessage) - 1);
  std::abort();
}

}  // namespace

// glibc exports its own allocator under these names, so a replacement can call it.
extern "C" {
// NOLINTBEGIN(readability-identifier-naming)
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  AbortIfForbidden();
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  AbortIfForbidden();
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) {
  AbortIfForbidden();
  return __libc_realloc(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  AbortIfForbidden();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  AbortIfForbidden();
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}
// NOLINTEND(readability-identifier-naming)
}
