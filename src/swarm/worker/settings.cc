#include "swarm/worker/settings.h"

#include <algorithm>
#include <limits>
#include <string>

#include <fmt/format.h>
#include <libtorrent/alert.hpp>
#include <libtorrent/session_handle.hpp>

#include "swarm/torrent_rules.h"
#include "swarm/worker/free_port.h"
#include "swarm/worker/socket_address.h"

namespace doppler {
namespace {

namespace lt = libtorrent;
using Pack = lt::settings_pack;

// What must be quick is one expert, a few MiB that a token waits for.
void SetForLatency(Pack& pack) {
  // Peers behind one address, as in a house or on one machine, are peers of their own; and two that
  // have everything may still want to talk when one of them loses a shard.
  pack.set_bool(Pack::allow_multiple_connections_per_ip, true);
  pack.set_bool(Pack::close_redundant_connections, false);
  // Requests queue with the sender. Few, so that many receivers share a sender evenly and a late
  // urgent request does not stand behind megabytes; enough for 10 seconds' worth at the receiver.
  pack.set_int(Pack::max_allowed_in_request_queue, 128);
  pack.set_int(Pack::request_queue_time, 10);
  // Timers of the session, in milliseconds: unchoking and requesting wait for them.
  pack.set_int(Pack::tick_interval, 100);
  pack.set_int(Pack::unchoke_interval, 1);
  // A new or returning peer is dialled at once and not in a measured rhythm.
  pack.set_bool(Pack::smooth_connects, false);
  pack.set_int(Pack::connection_speed, 500);
  pack.set_int(Pack::min_reconnect_time, 1);
  // A peer that was not there yet may come: it is tried again without end.
  pack.set_int(Pack::max_failcount, 1000);
  // A sender reads ahead as much as a fast link needs between two timer ticks.
  pack.set_int(Pack::send_buffer_watermark, 8 << 20);
  // Blocks of a piece are taken from several peers, however fast one is: pieces are small.
  pack.set_int(Pack::whole_pieces_threshold, 0);
  // A peer that has gone silent costs a second or two, then others are asked.
  pack.set_int(Pack::piece_timeout, 2);
  pack.set_int(Pack::request_timeout, 2);
  // The limit means the model's bytes, as its user counts.
  pack.set_bool(Pack::rate_limit_ip_overhead, false);
}

// A DHT that is not the public one has few nodes, several of them in one network or on one machine,
// at addresses that are not public. What is against that keeps strangers from flooding a DHT.
void SetOwnDht(Pack& pack) {
  pack.set_str(Pack::dht_bootstrap_nodes, "");
  for (const int rule : {Pack::dht_restrict_routing_ips, Pack::dht_restrict_search_ips,
                         Pack::dht_enforce_node_id, Pack::dht_ignore_dark_internet}) {
    pack.set_bool(rule, false);
  }
}

// Who is spoken to, and of what.
void SetReach(Pack& pack, const StartMessage& start) {
  const char* const tls = start.authority.empty() ? "" : "s";
  std::string
      own;  // libtorrent has no DHT on an address that it takes for local, unless it is named
  const std::uint16_t port = start.port != 0 ? start.port : FreePort();
  for (const PeerAddress& address : AddressesToward(start.dht_nodes, port)) {
    own += FormatPeer(address) + ",";
  }
  pack.set_str(Pack::listen_interfaces, own + fmt::format("0.0.0.0:{0}{1},[::]:{0}{1}", port, tls));
  // A port that was asked for is in links and in routers: none beside it would do.
  if (start.port != 0) {
    pack.set_int(Pack::max_retry_port_bind, 0);
    pack.set_bool(Pack::listen_system_port_fallback, false);
  }
  pack.set_bool(Pack::enable_dht, start.dht);
  if (!start.dht_nodes.empty()) SetOwnDht(pack);
  pack.set_bool(Pack::enable_lsd, start.local_discovery);
  // Opens ports of the user's router without a word.
  pack.set_bool(Pack::enable_upnp, false);
  pack.set_bool(Pack::enable_natpmp, false);
  // Its congestion control gives way to other traffic, which is right for the way out of a house
  // and halves the speed inside it.
  pack.set_bool(Pack::enable_incoming_utp, !start.private_only);
  pack.set_bool(Pack::enable_outgoing_utp, !start.private_only);
  pack.set_str(Pack::user_agent, "doppler");
  pack.set_str(Pack::peer_fingerprint, "-DP0100-");
}

void SetBounds(Pack& pack, const StartMessage& start) {
  // Nobody is refused a place: uploads of several peers share the limit. None is served at 0.
  pack.set_int(Pack::unchoke_slots_limit, start.serve ? -1 : 0);
  constexpr auto kMostRate = static_cast<std::uint64_t>(std::numeric_limits<int>::max());
  pack.set_int(Pack::upload_rate_limit, static_cast<int>(std::min(start.upload_limit, kMostRate)));
  pack.set_int(Pack::max_piece_count, static_cast<int>(kMostPieces));
  pack.set_int(Pack::max_metadata_size, static_cast<int>(kMostInfoBytes));
  // Alerts that do not fit are dropped, and with them the news that a file is there.
  pack.set_int(Pack::alert_queue_size, 100000);
  pack.set_int(Pack::stop_tracker_timeout, 1);
}

}  // namespace

Pack SessionSettings(const StartMessage& start) {
  Pack pack;
  SetForLatency(pack);
  SetReach(pack, start);
  SetBounds(pack, start);
  pack.set_int(Pack::alert_mask, lt::alert_category::error | lt::alert_category::status |
                                     lt::alert_category::peer | lt::alert_category::storage |
                                     lt::alert_category::file_progress |
                                     lt::alert_category::piece_progress);
  return pack;
}

lt::ip_filter PrivateNetworks() {
  lt::ip_filter filter;
  const auto set = [&filter](const char* first, const char* last, std::uint32_t flags) {
    filter.add_rule(lt::make_address(first), lt::make_address(last), flags);
  };
  set("0.0.0.0", "255.255.255.255", lt::ip_filter::blocked);
  set("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", lt::ip_filter::blocked);
  set("127.0.0.0", "127.255.255.255", 0);
  set("10.0.0.0", "10.255.255.255", 0);
  set("172.16.0.0", "172.31.255.255", 0);
  set("192.168.0.0", "192.168.255.255", 0);
  set("169.254.0.0", "169.254.255.255", 0);
  set("100.64.0.0", "100.127.255.255", 0);
  set("::1", "::1", 0);
  set("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0);
  set("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0);
  return filter;
}

lt::ip_filter LimitsForAll() {
  constexpr std::uint32_t kGlobal =
      1u << static_cast<std::uint32_t>(lt::session_handle::global_peer_class_id);
  lt::ip_filter filter;
  filter.add_rule(lt::make_address("0.0.0.0"), lt::make_address("255.255.255.255"), kGlobal);
  filter.add_rule(lt::make_address("::"),
                  lt::make_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), kGlobal);
  return filter;
}

}  // namespace doppler
