// The link that names a model in the swarm: a magnet link with the torrent's info-hash of version
// 2, and where peers may be found.
//
//   magnet:?xt=urn:btmh:1220<64 hexadecimal digits>&dn=NAME&x.team=<64 digits>&x.sig=SIGNATURE
//     &x.pe=HOST:PORT&tr=URL&ws=URL
//
// Who has the link can check every byte of the model: the hash covers the manifest's, which covers
// the shards'.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/sha256.h"
#include "swarm/peer_address.h"
#include "swarm/signature.h"

namespace doppler {

struct Link {
  Digest info_hash{};
  std::string name;                         // of the model; empty if the link has none
  std::optional<Digest> team;               // TeamHash of the one whose model it is
  std::optional<ModelSignature> signature;  // as it was told, true or not
  std::vector<PeerAddress> peers;
  std::vector<std::string> trackers;
  std::vector<std::string> web_seeds;
};

std::string FormatLink(const Link& link);

bool IsLink(std::string_view text);

// Keys that are not listed above are ignored, as is usual for such links. Throws Error for a link
// of version 1, and for what cannot stand in one.
Link ParseLink(std::string_view text);

}  // namespace doppler
