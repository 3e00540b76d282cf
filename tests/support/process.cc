#include "support/process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    DOPPLER_CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0);
    read = ends[0];
    write = ends[1];
  }
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void CloseRead() { Close(read); }
  void CloseWrite() { Close(write); }

  int read = -1;
  int write = -1;

 private:
  static void Close(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
};

// Strings and the list of pointers to them that exec wants.
class CStrings {
 public:
  explicit CStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
    for (std::string& string : strings_) pointers_.push_back(string.data());
    pointers_.push_back(nullptr);
  }
  CStrings(const CStrings&) = delete;
  CStrings& operator=(const CStrings&) = delete;
  char** data() { return pointers_.data(); }

 private:
  std::vector<std::string> strings_;
  std::vector<char*> pointers_;
};

std::vector<std::string> Environment(const ProcessOptions& options) {
  std::vector<std::string> all;
  for (const auto& [name, value] : options.environment) all.push_back(name + "=" + value);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const std::string name = text.substr(0, text.find('='));
    const bool replaced = std::any_of(options.environment.begin(), options.environment.end(),
                                      [&name](const auto& added) { return added.first == name; });
    if (!replaced) all.push_back(text);
  }
  return all;
}

class Child {
 public:
  Child(const std::vector<std::string>& command, const ProcessOptions& options)
      : options_(options), deadline_(Clock::now() + options.timeout) {
    CStrings arguments(command);
    CStrings environment(Environment(options));
    // A program that does not read its input must not end this one.
    std::signal(SIGPIPE, SIG_IGN);
    id_ = ::fork();
    DOPPLER_CHECK(id_ >= 0);
    if (id_ == 0) Become(arguments, environment);
    in_.CloseRead();
    out_.CloseWrite();
    err_.CloseWrite();
    if (options.close_output) out_.CloseRead();
    ::fcntl(in_.write, F_SETFL, O_NONBLOCK);
  }

  ProcessResult Wait() {
    while (out_.read >= 0 || err_.read >= 0) {
      WriteInput();
      ReadSome();
      SendSignal();
      EndIfLate();
    }
    int status = 0;
    while (::waitpid(id_, &status, WNOHANG) == 0) {
      ::poll(nullptr, 0, kTickMilliseconds);
      EndIfLate();
    }
    result_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    result_.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return std::move(result_);
  }

 private:
  static constexpr int kTickMilliseconds = 5;

  [[noreturn]] void Become(CStrings& arguments, CStrings& environment) {
    ::dup2(in_.read, STDIN_FILENO);
    ::dup2(out_.write, STDOUT_FILENO);
    ::dup2(err_.write, STDERR_FILENO);
    std::signal(SIGPIPE, SIG_DFL);
    if (options_.prepare) options_.prepare();
    ::execvpe(arguments.data()[0], arguments.data(), environment.data());
    constexpr int kNoSuchProgram = 127;
    ::_exit(kNoSuchProgram);
  }

  void WriteInput() {
    if (in_.write < 0) return;
    while (written_ < options_.input.size()) {
      const ssize_t wrote =
          ::write(in_.write, options_.input.data() + written_, options_.input.size() - written_);
      if (wrote < 0 && errno == EAGAIN) return;
      if (wrote < 0) break;  // the program has closed it
      written_ += static_cast<std::size_t>(wrote);
    }
    if (!options_.keep_input_open) in_.CloseWrite();
  }

  void ReadSome() {
    std::array<pollfd, 2> ends = {{{out_.read, POLLIN, 0}, {err_.read, POLLIN, 0}}};
    ::poll(ends.data(), ends.size(), kTickMilliseconds);
    if (ends[0].revents != 0 && !Read(out_.read, result_.output)) out_.CloseRead();
    if (ends[1].revents != 0 && !Read(err_.read, result_.errors)) err_.CloseRead();
  }

  // False at the end.
  static bool Read(int from, std::string& to) {
    std::array<char, 65536> buffer;
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got > 0) to.append(buffer.data(), static_cast<std::size_t>(got));
    return got > 0;
  }

  void SendSignal() {
    if (signal_sent_ || !options_.signal_when) return;
    if (!options_.signal_when({.id = id_, .output = result_.output, .errors = result_.errors}))
      return;
    ::kill(id_, options_.signal);
    signal_sent_ = true;
  }

  void EndIfLate() {
    if (result_.timed_out || Clock::now() < deadline_) return;
    result_.timed_out = true;
    ::kill(id_, SIGKILL);
  }

  const ProcessOptions& options_;
  const Clock::time_point deadline_;
  Pipe in_;
  Pipe out_;
  Pipe err_;
  pid_t id_ = -1;
  std::size_t written_ = 0;
  bool signal_sent_ = false;
  ProcessResult result_;
};

}  // namespace

ProcessResult RunProcess(const std::vector<std::string>& command, const ProcessOptions& options) {
  return Child(command, options).Wait();
}

}  // namespace doppler
