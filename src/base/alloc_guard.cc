#include "base/alloc_guard.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

namespace doppler {
namespace {

thread_local bool forbidden = false;

}  // namespace

NoAllocScope::NoAllocScope(bool forbid) : before_(forbidden) { forbidden = forbidden || forbid; }
NoAllocScope::~NoAllocScope() { forbidden = before_; }
AllowAllocScope::AllowAllocScope() : before_(forbidden) { forbidden = false; }
AllowAllocScope::~AllowAllocScope() { forbidden = before_; }
bool AllocationForbidden() { return forbidden; }

#ifdef DOPPLER_ALLOC_GUARD
bool AllocationGuardBuilt() { return true; }
#else
bool AllocationGuardBuilt() { return false; }
#endif

}  // namespace doppler

#ifdef DOPPLER_ALLOC_GUARD
namespace {

void AbortIfForbidden() {
  if (!doppler::forbidden) return;
  constexpr char kMessage[] = "doppler: internal error: memory allocated inside a NoAllocScope\n";
  // Not stdio: printing could allocate.
  [[maybe_unused]] const auto written = ::write(2, kMessage, sizeof(kMessage) - 1);
  std::abort();
}

}  // namespace

// glibc exports its own allocator under these names, so a replacement can call it.
extern "C" {
// NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier)
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
// NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier)
}
#endif
