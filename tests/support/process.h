// Runs a program as a user would: arguments, standard input, signals; and tells what became of it.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace doppler {

// A program that is running, for ProcessOptions::signal_when.
struct RunningProcess {
  pid_t id = 0;
  const std::string& output;  // so far
  const std::string& errors;
};

struct ProcessOptions {
  std::string input = {};        // comes on standard input, which then ends,
  bool keep_input_open = false;  // unless it is kept open
  std::vector<std::pair<std::string, std::string>> environment = {};  // added to this process's own
  // Past this time the program is killed. Generous: it is there against hanging only.
  std::chrono::seconds timeout{120};
  // Sent once, as soon as `signal_when` is true; it is asked every few milliseconds.
  int signal = 0;
  std::function<bool(const RunningProcess&)> signal_when = {};
  bool close_output = false;  // nobody reads what it prints
  // Runs in the child just before the program; may make system calls only.
  std::function<void()> prepare = {};
};

struct ProcessResult {
  int status = -1;     // of exit; -1 if a signal ended it
  int signal = 0;      // that ended it
  std::string output;  // standard output
  std::string errors;  // standard error
  bool timed_out = false;
};

// Waits until the program ends. `command` begins with the program, which is looked for in PATH.
// For tests: a system call that fails ends this process.
ProcessResult RunProcess(const std::vector<std::string>& command,
                         const ProcessOptions& options = {});

}  // namespace doppler
