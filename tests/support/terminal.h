// Runs a program in a terminal of its own and types into it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace doppler {

// For tests: a system call that fails ends this process.
class Terminal {
 public:
  Terminal(std::vector<std::string> command,
           const std::vector<std::pair<std::string, std::string>>& environment);
  // Ends the program if it still runs.
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void Type(const std::string& keys);
  // Reads until `text` has come after what was waited for before; false if it does not come.
  bool WaitFor(const std::string& text);
  // The same for a prompt, and until keys reach the program one by one, as line editing wants it.
  bool WaitForPrompt(const std::string& prompt);
  // The same as WaitFor for any `bytes` more.
  bool WaitForMore(std::size_t bytes);
  // The exit status; -1 if a signal ended the program or it did not end.
  int Wait();

  const std::string& output() const { return output_; }

 private:
  // False at the end, or when nothing came for a long time.
  bool Read();

  pid_t id_ = -1;
  int terminal_ = -1;
  std::string output_;
  std::size_t seen_ = 0;  // of output_
};

}  // namespace doppler
