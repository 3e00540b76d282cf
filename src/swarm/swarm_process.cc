#include "swarm/swarm_process.h"

namespace doppler {
namespace {

constexpr const char* kProgram = "doppler-swarm";
constexpr std::chrono::milliseconds kEndTimeout(1000);

}  // namespace

SwarmProcess::SwarmProcess(const StartMessage& start) : child_(ProgramFolder() / kProgram) {
  Send(start);
}

void SwarmProcess::Ended() {
  throw SwarmEndedError(fmt::format("the swarm process {}", child_.Join(kEndTimeout)));
}

void SwarmProcess::Send(const Message& message) {
  if (!child_.Send(EncodeFrame(message))) Ended();
}

std::optional<Message> SwarmProcess::Receive(std::chrono::milliseconds timeout, int wake) {
  std::optional<Message> message;
  try {
    message = frames_.Next();
    if (!message) {
      std::string bytes;
      if (child_.Receive(timeout, bytes, wake) == ChildProcess::Received::kEnd) Ended();
      frames_.Add(std::as_bytes(std::span(bytes)));
      message = frames_.Next();
    }
  } catch (const SwarmEndedError&) {
    throw;
  } catch (const Error& error) {
    throw SwarmEndedError(fmt::format("the swarm process speaks nonsense: {}", error.what()));
  }
  if (!message) return std::nullopt;
  if (const auto* failure = std::get_if<FailureMessage>(&*message)) {
    Throw("the swarm: {}", failure->problem);
  }
  return message;
}

}  // namespace doppler
