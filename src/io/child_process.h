// A helper program of ours that runs beside this one and is connected to it by a socket.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include <sys/types.h>

namespace doppler {

// The descriptor under which a helper finds its end of the socket.
inline constexpr int kHelperSocket = 3;

// The folder of the program that runs: its helpers stand beside it.
std::filesystem::path ProgramFolder();

// Used by one thread, which outlives it: the helper ends with that thread.
class ChildProcess {
 public:
  // Starts the program, which shares this one's standard streams and ignores Ctrl-C: its parent
  // says when it ends. Throws Error.
  explicit ChildProcess(const std::filesystem::path& program);
  // Ends it at once.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t id() const { return id_; }

  // Blocks until all is sent; false if the helper no longer reads.
  bool Send(std::string_view bytes);

  enum class Received : std::uint8_t { kBytes, kNothing, kEnd };
  // Waits for at most `timeout`, or a signal, for something to read and appends it to `out`; or
  // until the descriptor `wake` can be read, which it leaves to the caller.
  Received Receive(std::chrono::milliseconds timeout, std::string& out, int wake = -1);

  // Closes this end of the socket and waits that the helper ends by itself, or ends it after
  // `timeout`. How it ended, for a message: "ended with status 3", "was ended by signal 11".
  std::string Join(std::chrono::milliseconds timeout);

 private:
  void CloseSocket();

  int socket_ = -1;
  pid_t id_ = -1;
};

}  // namespace doppler
