// The process that speaks to peers, as the program sees it.
//
// It takes bytes from strangers with a library that is not ours. So it has no privileges, can reach
// no file but the model's, and may die at any moment: the program then starts another. Nothing that
// it says is believed without a hash.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/error.h"
#include "io/child_process.h"
#include "swarm/messages.h"

namespace doppler {

// How long to wait for its words before something else is looked at.
inline constexpr std::chrono::milliseconds kLookInterval(200);

// The swarm process has ended without being told to, or speaks nonsense.
class SwarmEndedError : public Error {
 public:
  using Error::Error;
};

// Used by one thread, which outlives it.
class SwarmProcess {
 public:
  // Starts it and gives it its task. Throws Error if there is no such program.
  explicit SwarmProcess(const StartMessage& start);

  pid_t id() const { return child_.id(); }

  // Throws SwarmEndedError.
  void Send(const Message& message);

  // The next message, if one comes within `timeout`. Throws SwarmEndedError; and Error for a
  // FailureMessage, with its words. Does not wait longer than until `wake` can be read.
  std::optional<Message> Receive(std::chrono::milliseconds timeout, int wake = -1);

  // Tells it to end and takes what it still has to say, to `on_message`.
  template <typename OnMessage>
  void Stop(const OnMessage& on_message) {
    try {
      Send(StopMessage{});
      while (const auto message = Receive(kStopTimeout)) on_message(*message);
    } catch (const SwarmEndedError&) {
      // That is what it was told to do.
    }
  }

 private:
  static constexpr std::chrono::milliseconds kStopTimeout{3000};

  [[noreturn]] void Ended();

  ChildProcess child_;
  FrameReader frames_{kMostNewsBytes};
};

}  // namespace doppler
