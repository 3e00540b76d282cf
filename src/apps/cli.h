// The command line: names and meaning of every flag.
#pragma once

namespace doppler {

// Parses and runs. Returns the exit status: 0 done, 1 the work failed, 2 the command line was
// wrong.
int RunCommandLine(int argc, char** argv);

}  // namespace doppler
