#include "apps/swarm_flags.h"

#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"
#include "swarm/artifact_torrent.h"

namespace doppler {
namespace {

constexpr Bytes kMostTorrentBytes = 2 * kGiB;

void RequireDhtOfItsOwn(const SwarmFlags& flags) {
  if (flags.dht_nodes.empty()) return;
  if (!flags.dht) throw UsageError("--dht-node and --no-dht do not go together");
  if (!flags.team.empty()) {
    throw UsageError("--dht-node and --team do not go together: a team's swarm has no DHT");
  }
  if (flags.private_only) {
    throw UsageError(
        "--dht-node and --private do not go together: the nodes of a DHT can send one to any "
        "address; use a tracker, or leave out --private in a network without a way out");
  }
}

Torrent ReadTorrent(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_type type = std::filesystem::status(path, error).type();
  // One that may not be looked at is another matter, which who opens it says.
  if (type == std::filesystem::file_type::not_found ||
      type == std::filesystem::file_type::directory) {
    Throw("'{}' is neither a link, which begins with 'magnet:?', nor a .torrent file", path);
  }
  const std::string text = ReadTextFile(path, kMostTorrentBytes);
  try {
    return ParseTorrent(text, path);
  } catch (const Error& problem) {
    Throw("{}; the file is damaged, or no model's: get it again from who shares the model",
          problem.what());
  }
}

}  // namespace

bool IsSwarmSource(const std::string& text) {
  return IsLink(text) || (text.ends_with(".torrent") && std::filesystem::is_regular_file(text));
}

SwarmSource SourceOf(const std::string& text) {
  SwarmSource source;
  if (IsLink(text)) {
    source.link = ParseLink(text);
    return source;
  }
  source.torrent = ReadTorrent(text);
  source.link = {.info_hash = InfoHash(*source.torrent),
                 .name = source.torrent->name,
                 .team = {},
                 .signature = std::exchange(source.torrent->signature, {}),
                 .peers = {},
                 .trackers = std::exchange(source.torrent->trackers, {}),
                 .web_seeds = std::exchange(source.torrent->web_seeds, {})};
  const std::string& authority = source.torrent->authority;
  if (!authority.empty()) source.link.team = TeamHash(authority);
  return source;
}

std::optional<ModelSignature> CheckedSignature(const Link& link,
                                               const std::filesystem::path& folder,
                                               const std::string& trust) {
  std::optional<ModelSignature> signature = link.signature;
  if (!signature) signature = ReadSignatureFile(folder, link.team);
  RequireSignature(signature, link.info_hash, trust);
  return signature;
}

void RequireTrusted(const std::filesystem::path& folder, const Team* team,
                    const std::string& trust) {
  if (trust.empty()) return;
  std::vector<std::string> authorities;
  if (team != nullptr) authorities = {team->authority};
  if (team == nullptr) authorities = SignedAuthorities(folder);
  // Says that it is not signed.
  if (authorities.empty()) authorities.emplace_back();
  for (std::size_t i = 0; i < authorities.size(); ++i) {
    Link link;
    if (!authorities[i].empty()) link.team = TeamHash(authorities[i]);
    link.info_hash = InfoHash(DescribeArtifact(folder, authorities[i]));
    try {
      CheckedSignature(link, folder, trust);
      return;
    } catch (const Error&) {
      // Another of its signatures may be by that key.
      if (i + 1 == authorities.size()) throw;
    }
  }
}

void AddReach(const Link& link, SwarmReach& reach) {
  RequireMemberForLink(reach.TeamOrNull(), link.team, link.name);
  for (const PeerAddress& peer : link.peers) {
    if (!reach.private_only || IsPrivateAddress(peer)) reach.peers.push_back(peer);
  }
  if (reach.private_only) return;
  reach.trackers.insert(reach.trackers.end(), link.trackers.begin(), link.trackers.end());
  // A mirror would send without looking at certificates.
  if (reach.team) return;
  reach.web_seeds.insert(reach.web_seeds.end(), link.web_seeds.begin(), link.web_seeds.end());
}

SwarmReach ReachOf(const SwarmFlags& flags) {
  RequireDhtOfItsOwn(flags);
  SwarmReach reach;
  for (const std::string& text : flags.peers) {
    for (const PeerAddress& peer : ResolvePeer(text)) {
      if (flags.private_only && !IsPrivateAddress(peer)) {
        throw UsageError(fmt::format(
            "--private speaks only to private networks, and the peer {} is in none", text));
      }
      reach.peers.push_back(peer);
    }
  }
  try {
    for (const std::string& url : flags.trackers) RequireTracker(url);
    for (const std::string& url : flags.web_seeds) RequireWebSeed(url);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  if (!flags.team.empty()) {
    if (!flags.web_seeds.empty()) {
      throw UsageError(
          "--team and --web-seed do not go together: a mirror sends to whoever asks, and in plain");
    }
    reach.team = ReadTeam(flags.team);
  }
  for (const std::string& text : flags.dht_nodes) {
    const std::vector<PeerAddress> addresses = ResolvePeer(text);
    reach.dht_nodes.insert(reach.dht_nodes.end(), addresses.begin(), addresses.end());
  }
  reach.trackers = flags.trackers;
  reach.web_seeds = flags.web_seeds;
  reach.port = flags.port;
  reach.dht = flags.dht;
  reach.local_discovery = flags.local_discovery;
  reach.peer_exchange = flags.peer_exchange;
  reach.private_only = flags.private_only;
  reach.upload_limit = flags.upload_limit;
  return reach;
}

StatusLine::StatusLine() : enabled_(::isatty(STDERR_FILENO) == 1) {}

StatusLine::~StatusLine() {
  if (drawn_) std::fputc('\n', stderr);
}

void StatusLine::Show(std::string_view text) {
  if (!enabled_) return;
  fmt::print(stderr, "\r{}\x1b[K", text);
  std::fflush(stderr);
  drawn_ = true;
}

void StatusLine::Clear() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  drawn_ = false;
}

}  // namespace doppler
