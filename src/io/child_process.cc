#include "io/child_process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// In the new process; may make system calls only.
[[noreturn]] void BecomeHelper(const char* program, int socket, pid_t parent) {
  ::dup2(socket, kHelperSocket);
  ::close_range(kHelperSocket + 1, ~0u, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it ended before the line above
  std::signal(SIGINT, SIG_IGN);
  const std::array<const char*, 2> arguments = {program, nullptr};
  ::execv(program, const_cast<char* const*>(arguments.data()));
  constexpr int kCannotStart = 127;
  ::_exit(kCannotStart);
}

std::string Describe(int status) {
  if (WIFSIGNALED(status)) return fmt::format("was ended by signal {}", WTERMSIG(status));
  return fmt::format("ended with status {}", WEXITSTATUS(status));
}

}  // namespace

fs::path ProgramFolder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) Throw("cannot find this program's folder: {}", error.message());
  return program.parent_path();
}

ChildProcess::ChildProcess(const fs::path& program) {
  if (!fs::exists(program)) Throw("the program '{}' is missing; build it again", program.string());
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    Throw("cannot make a socket: {}", std::strerror(errno));
  }
  socket_ = ends[0];
  const pid_t parent = ::getpid();
  id_ = ::fork();
  if (id_ == 0) BecomeHelper(program.c_str(), ends[1], parent);
  const int problem = errno;
  ::close(ends[1]);
  if (id_ > 0) return;
  CloseSocket();
  Throw("cannot start '{}': {}", program.string(), std::strerror(problem));
}

ChildProcess::~ChildProcess() {
  if (id_ > 0) Join(std::chrono::milliseconds(0));
}

void ChildProcess::CloseSocket() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

bool ChildProcess::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

ChildProcess::Received ChildProcess::Receive(std::chrono::milliseconds timeout, std::string& out,
                                             int wake) {
  // A descriptor below 0 is passed over.
  std::array<pollfd, 2> wanted = {{{socket_, POLLIN, 0}, {wake, POLLIN, 0}}};
  const int ready = ::poll(wanted.data(), wanted.size(), static_cast<int>(timeout.count()));
  if (ready <= 0 || wanted[0].revents == 0) return Received::kNothing;
  std::array<char, 65536> buffer;
  const ssize_t got = ::recv(socket_, buffer.data(), buffer.size(), 0);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return Received::kNothing;
  if (got <= 0) return Received::kEnd;
  out.append(buffer.data(), static_cast<std::size_t>(got));
  return Received::kBytes;
}

std::string ChildProcess::Join(std::chrono::milliseconds timeout) {
  if (id_ <= 0) return "is not running";
  CloseSocket();
  constexpr int kTick = 5;
  int status = 0;
  for (auto left = timeout.count(); ::waitpid(id_, &status, WNOHANG) == 0; left -= kTick) {
    if (left <= 0) {
      ::kill(id_, SIGKILL);
      while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
      }
      break;
    }
    ::poll(nullptr, 0, kTick);
  }
  id_ = -1;
  return Describe(status);
}

}  // namespace doppler
