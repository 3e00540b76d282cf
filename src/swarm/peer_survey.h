// Who has what of a model: joins the swarm for a while, listens to what peers say of themselves,
// and leaves.
//
//   link -> info dictionary -> manifest -> peers' bitfields -> Inventory
//
// Nothing is served. What comes is put into a folder that is removed at the end.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "swarm/inventory.h"
#include "swarm/reach.h"

namespace doppler {

struct SurveyOptions {
  Digest info_hash{};
  std::optional<Torrent> torrent;  // if it is known
  // Of the model on this machine, which is then counted as a holder by its files' names and sizes;
  // empty: none.
  std::filesystem::path folder;
  std::optional<Manifest> manifest;  // of the model in that folder
  SwarmReach reach;
  double seconds = 5;  // from when the torrent is known, which may take as long too
  // To fetch of experts that peers have, by chance, to see how fast they are: after a second, when
  // most have told what they have.
  Bytes probe = 0;
};

// Calls `on_wait` a few times a second with what the swarm is like; what that throws ends the
// survey. Throws Error if nobody has told of the model in time, SwarmEndedError.
Inventory SurveyPeers(const SurveyOptions& options,
                      const std::function<void(const StatusMessage&)>& on_wait);

}  // namespace doppler
