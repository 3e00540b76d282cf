#include "support/terminal.h"

#include <array>
#include <csignal>
#include <cstdlib>

#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {

Terminal::Terminal(std::vector<std::string> command,
                   const std::vector<std::pair<std::string, std::string>>& environment) {
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  id_ = ::forkpty(&terminal_, nullptr, nullptr, nullptr);
  DOPPLER_CHECK(id_ >= 0);
  if (id_ == 0) {
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execvp(arguments[0], arguments.data());
    constexpr int kNoSuchProgram = 127;
    ::_exit(kNoSuchProgram);
  }
}

Terminal::~Terminal() {
  if (id_ > 0) {
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }
  ::close(terminal_);
}

void Terminal::Type(const std::string& keys) {
  DOPPLER_CHECK(::write(terminal_, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
}

bool Terminal::Read() {
  constexpr int kLongMilliseconds = 100'000;
  pollfd input{terminal_, POLLIN, 0};
  if (::poll(&input, 1, kLongMilliseconds) <= 0) return false;
  std::array<char, 4096> buffer;
  const ssize_t got = ::read(terminal_, buffer.data(), buffer.size());
  if (got <= 0) return false;
  output_.append(buffer.data(), static_cast<std::size_t>(got));
  return true;
}

bool Terminal::WaitFor(const std::string& text) {
  for (;;) {
    const std::size_t found = output_.find(text, seen_);
    if (found != std::string::npos) {
      seen_ = found + text.size();
      return true;
    }
    if (!Read()) return false;
  }
}

bool Terminal::WaitForPrompt(const std::string& prompt) {
  if (!WaitFor(prompt)) return false;
  constexpr int kTries = 20'000;
  constexpr int kTickMilliseconds = 5;
  for (int i = 0; i < kTries; ++i) {
    termios settings{};
    if (::tcgetattr(terminal_, &settings) != 0) return false;
    if ((settings.c_lflag & ICANON) == 0) return true;
    ::poll(nullptr, 0, kTickMilliseconds);
  }
  return false;
}

bool Terminal::WaitForMore(std::size_t bytes) {
  while (output_.size() < seen_ + bytes) {
    if (!Read()) return false;
  }
  seen_ += bytes;
  return true;
}

int Terminal::Wait() {
  while (Read()) {
  }
  int status = 0;
  if (::waitpid(id_, &status, WNOHANG) == 0) {
    // It has closed its terminal and is about to end.
    constexpr int kMoment = 1000;
    ::poll(nullptr, 0, kMoment);
    if (::waitpid(id_, &status, WNOHANG) == 0) return -1;
  }
  id_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace doppler
