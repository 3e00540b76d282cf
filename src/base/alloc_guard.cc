#include "base/alloc_guard.h"

namespace doppler {
namespace {

thread_local bool forbidden = false;

}  // namespace

NoAllocScope::NoAllocScope(bool forbid) : before_(forbidden) { forbidden = forbidden || forbid; }
NoAllocScope::~NoAllocScope() { forbidden = before_; }
AllowAllocScope::AllowAllocScope() : before_(forbidden) { forbidden = false; }
AllowAllocScope::~AllowAllocScope() { forbidden = before_; }
bool AllocationForbidden() { return forbidden; }

}  // namespace doppler
