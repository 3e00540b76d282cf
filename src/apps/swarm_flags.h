// What `share`, `pull` and `run --swarm` make of their flags, and show alike.
#pragma once

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "apps/commands.h"
#include "swarm/link.h"
#include "swarm/reach.h"
#include "swarm/torrent.h"

namespace doppler {

// Looks up the names of peers. Throws Error, or UsageError for a wrong address.
SwarmReach ReachOf(const SwarmFlags& flags);

// What a link or a .torrent file says, before anything is fetched.
struct SwarmSource {
  Link link;
  std::optional<Torrent> torrent;
};
// Whether `text` is one of these, and not a model on this machine.
bool IsSwarmSource(const std::string& text);
SwarmSource SourceOf(const std::string& text);

// The signature of a link or, if it has none, of the folder that the model is in or comes to.
// Throws Error if it is not genuine, or not by the key in the file `trust`, unless that is empty.
std::optional<ModelSignature> CheckedSignature(const Link& link,
                                               const std::filesystem::path& folder,
                                               const std::string& trust);
// The same of a model on this machine, or of the team's swarm of it. Without a team any signature
// that the folder keeps will do: all of them are for the same model.
void RequireTrusted(const std::filesystem::path& folder, const Team* team,
                    const std::string& trust);

// Where a link says that peers are. In a private swarm its trackers and mirrors are not used: they
// were chosen by someone else. Throws Error if the link is another team's.
void AddReach(const Link& link, SwarmReach& reach);

// A line on a terminal that is written over and over; nothing where standard error is none.
class StatusLine {
 public:
  StatusLine();
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  void Show(std::string_view text);
  // Removes the line, so that a message can stand in its place.
  void Clear();

 private:
  bool enabled_;
  bool drawn_ = false;
};

}  // namespace doppler
