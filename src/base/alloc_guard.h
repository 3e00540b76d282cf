// Proof that decode does not allocate.
//
// In the test programs malloc and its relatives abort while the calling thread is inside a
// NoAllocScope (tests/support/allocation_guard.cc), unless a sanitizer watches the program.
// Elsewhere a scope only sets a flag of its thread.
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

// Whether this thread is inside a NoAllocScope.
bool AllocationForbidden();

}  // namespace doppler
