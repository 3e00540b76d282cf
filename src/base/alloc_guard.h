// Proof that decode does not allocate.
//
// With DOPPLER_ALLOC_GUARD (the dev preset) malloc and its relatives are replaced by versions that
// abort while the calling thread is inside a NoAllocScope. Without it a scope costs nothing.
#pragma once

namespace doppler {

// Forbids allocation by this thread until the scope ends. Scopes nest.
class NoAllocScope {
 public:
  explicit NoAllocScope(bool forbid = true);
  ~NoAllocScope();
  NoAllocScope(const NoAllocScope&) = delete;
  NoAllocScope& operator=(const NoAllocScope&) = delete;

 private:
  bool before_;
};

// Lets one known exception allocate inside a NoAllocScope: an error message, say.
class AllowAllocScope {
 public:
  AllowAllocScope();
  ~AllowAllocScope();
  AllowAllocScope(const AllowAllocScope&) = delete;
  AllowAllocScope& operator=(const AllowAllocScope&) = delete;

 private:
  bool before_;
};

// Whether this thread is inside a NoAllocScope. Always false without the guard.
bool AllocationForbidden();

// Whether this build replaces malloc, so that a test knows what it can expect.
bool AllocationGuardBuilt();

}  // namespace doppler
