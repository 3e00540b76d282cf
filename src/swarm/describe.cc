#include "swarm/describe.h"

#include <optional>

#include "swarm/swarm_process.h"

namespace doppler {

Description FetchDescription(const Digest& info_hash, const SwarmReach& reach,
                             const std::function<void(const StatusMessage&)>& on_wait) {
  StartMessage start = StartFor(reach);
  start.task = StartMessage::Task::kDescribe;
  start.info_hash = info_hash;
  SwarmProcess swarm(start);
  StatusMessage status;
  for (;;) {
    on_wait(status);
    const std::optional<Message> message = swarm.Receive(kLookInterval);
    if (!message) continue;
    if (const auto* news = std::get_if<StatusMessage>(&*message)) status = *news;
    const auto* sent = std::get_if<DescriptionMessage>(&*message);
    if (sent == nullptr) continue;
    if (Sha256(std::as_bytes(std::span(sent->info))) != info_hash) {
      throw SwarmEndedError("the swarm process gave another torrent than the link's");
    }
    return {.torrent = ParseInfoDict(sent->info, "the torrent of this link"), .peers = sent->peers};
  }
}

}  // namespace doppler
