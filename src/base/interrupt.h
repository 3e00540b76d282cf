// Ctrl-C: a flag that long work looks at, so that it can stop cleanly.
#pragma once

#include "base/error.h"

namespace doppler {

// The work was stopped by SIGINT or SIGTERM.
class InterruptedError : public Error {
 public:
  InterruptedError() : Error("interrupted") {}
};

// Makes SIGINT and SIGTERM set the flag. A second signal ends the process at once.
void InstallInterruptHandler();

bool Interrupted();

// Forgets SIGINT, so that an interactive program goes on after what was stopped, and catches the
// next one. SIGTERM is not forgotten. Returns whether there was a SIGINT to forget.
bool ForgetInterrupt();

void SetInterruptedForTest(bool interrupted);

// Throws InterruptedError if the flag is set.
void ThrowIfInterrupted();

}  // namespace doppler
