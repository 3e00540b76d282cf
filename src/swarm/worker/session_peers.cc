// Who is connected, and what they have.
#include <algorithm>

#include <libtorrent/alert_types.hpp>
#include <libtorrent/peer_info.hpp>

#include "swarm/worker/session.h"

namespace doppler {
namespace {

namespace lt = libtorrent;

// Of bitfields in one message: those of a large model's peers do not fit into one.
constexpr std::size_t kMostPiecesBytes = 16 << 20;

PeerAddress ToPeer(const lt::tcp::endpoint& endpoint) {
  return {.host = endpoint.address().to_string(), .port = endpoint.port()};
}

lt::tcp::endpoint ToEndpoint(const PeerAddress& peer) {
  return {lt::make_address(peer.host), peer.port};
}

PeerState StateOf(const lt::peer_info& info) {
  PeerState peer;
  peer.address = {.host = info.ip.address().to_string(), .port = info.ip.port()};
  peer.incoming = !(info.flags & lt::peer_info::outgoing_connection);
  peer.client = info.client;
  peer.round_trip_ms = static_cast<std::uint32_t>(std::max(0, info.rtt));
  peer.downloaded = static_cast<std::uint64_t>(std::max<std::int64_t>(0, info.total_download));
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(info.pieces.data());
  peer.pieces.assign(bytes, bytes + (info.pieces.size() + 7) / 8);
  return peer;
}

constexpr std::chrono::milliseconds kFirstDhtRest(500);
constexpr std::chrono::seconds kMostDhtRest(60);

}  // namespace

std::vector<PeerAddress> SwarmSession::Connected() const {
  std::vector<lt::peer_info> infos;
  torrent_.get_peer_info(infos);
  std::vector<PeerAddress> peers;
  for (const lt::peer_info& info : infos) {
    // The port of one that connected to us is not the one that it listens on.
    if (info.flags & lt::peer_info::local_connection) peers.push_back(ToPeer(info.ip));
  }
  return peers;
}

void SwarmSession::Redial() {
  const std::vector<PeerAddress> connected = Connected();
  for (const PeerAddress& peer : peers_) {
    const bool there = std::find(connected.begin(), connected.end(), peer) != connected.end();
    if (!there && banned_.count(peer) == 0) torrent_.connect_peer(ToEndpoint(peer));
  }
}

void SwarmSession::TakeBan(const lt::peer_ban_alert& ban) {
  // Of the torrent before it was added anew: its peers are called again.
  if (ban.handle != torrent_) return;
  const PeerAddress peer = ToPeer(ban.endpoint);
  // Banned once more, for a piece that was coming meanwhile.
  if (std::find(pardoned_.begin(), pardoned_.end(), peer) != pardoned_.end()) return;
  if (watch_->Pardons(ban.endpoint)) {
    pardoned_.push_back(peer);
    emit_(PardonedMessage{peer});
    Renew();
  } else if (banned_.insert(peer).second) {
    emit_(BannedMessage{peer});
  }
}

// A node that is given may not be there yet, and where nobody else is, nobody tells of those who
// come later: so they are called, and asked for peers, again and again, less and less often.
void SwarmSession::AskOwnDht(Clock::time_point now) {
  if (start_.dht_nodes.empty() || now < next_dht_) return;
  dht_rest_ = std::clamp<Clock::duration>(2 * dht_rest_, kFirstDhtRest, kMostDhtRest);
  next_dht_ = now + dht_rest_;
  for (const PeerAddress& node : start_.dht_nodes) session_.add_dht_node({node.host, node.port});
  torrent_.force_dht_announce();
}

void SwarmSession::EmitPeers() const {
  std::vector<lt::peer_info> infos;
  torrent_.get_peer_info(infos);
  PeersMessage message;
  std::size_t bytes = 0;
  for (const lt::peer_info& info : infos) {
    // Nothing is known of one before its handshake.
    if (info.flags & (lt::peer_info::handshake | lt::peer_info::connecting)) continue;
    if (bytes > kMostPiecesBytes) {
      message.more = true;
      emit_(message);
      message = {};
      bytes = 0;
    }
    bytes += message.peers.emplace_back(StateOf(info)).pieces.size();
  }
  emit_(message);
}

}  // namespace doppler
