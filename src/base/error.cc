#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace doppler {

void CheckFailed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "doppler: internal error: %s is false at %s:%d\n", expression, file, line);
  std::abort();
}

}  // namespace doppler
