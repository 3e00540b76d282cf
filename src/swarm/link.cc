#include "swarm/link.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/error.h"
#include "swarm/torrent.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

constexpr std::string_view kScheme = "magnet:?";
constexpr std::string_view kVersion2 = "urn:btmh:";
// A multihash: 0x12 for SHA-256, and its 32 bytes.
constexpr std::string_view kSha256Prefix = "1220";
constexpr std::size_t kMostLinkBytes = 64 * 1024;

std::string Escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain =
        std::isalnum(byte) != 0 || std::string_view("-._~:/[]").find(c) != std::string_view::npos;
    if (plain) {
      escaped += c;
    } else {
      escaped += fmt::format("%{:02X}", byte);
    }
  }
  return escaped;
}

std::string Unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    unsigned byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, status] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || status != std::errc() || end != digits.data() + 2) {
      Throw("the link has a '%' without two hexadecimal digits");
    }
    plain += static_cast<char>(byte);
    i += 2;
  }
  return plain;
}

Digest ReadTopic(std::string_view topic) {
  if (!topic.starts_with(kVersion2)) {
    Throw(
        "the link is not one of BitTorrent version 2 ('xt=urn:btmh:...'); 'doppler share' makes "
        "such");
  }
  topic.remove_prefix(kVersion2.size());
  const std::optional<Digest> digest = topic.starts_with(kSha256Prefix)
                                           ? DigestFromHex(topic.substr(kSha256Prefix.size()))
                                           : std::nullopt;
  if (!digest) Throw("the link's hash is not '1220' and 64 hexadecimal digits");
  return *digest;
}

template <typename Value>
void AddOnce(std::vector<Value>& values, Value value) {
  if (std::find(values.begin(), values.end(), value) != values.end()) return;
  if (values.size() == kMostUrls) Throw("the link has more than {} entries of a kind", kMostUrls);
  values.push_back(std::move(value));
}

void ReadPart(std::string_view key, std::string value, Link& link, bool& has_topic) {
  if (key == "xt") {
    const Digest hash = ReadTopic(value);
    if (has_topic && hash != link.info_hash) Throw("the link has two hashes");
    link.info_hash = hash;
    has_topic = true;
  } else if (key == "dn") {
    // Only for people; what names the folder comes from the torrent or from here, checked alike.
    if (!IsModelName(value)) Throw("the link's name ('dn') is not a model's");
    link.name = std::move(value);
  } else if (key == "x.team") {
    const std::optional<Digest> team = DigestFromHex(value);
    if (!team) Throw("the link's team ('x.team') is not 64 hexadecimal digits");
    if (link.team && *link.team != *team) Throw("the link has two teams");
    link.team = team;
  } else if (key == "x.sig") {
    const ModelSignature signature = ParseSignature(value);
    if (link.signature && *link.signature != signature) Throw("the link has two signatures");
    link.signature = signature;
  } else if (key == "tr" || key.starts_with("tr.")) {
    RequireTracker(value);
    AddOnce(link.trackers, std::move(value));
  } else if (key == "ws") {
    RequireWebSeed(value);
    AddOnce(link.web_seeds, std::move(value));
  } else if (key == "x.pe") {
    AddOnce(link.peers, ParsePeer(value));
  }
}

}  // namespace

std::string FormatLink(const Link& link) {
  std::string text =
      fmt::format("{}xt={}{}{}", kScheme, kVersion2, kSha256Prefix, ToHex(link.info_hash));
  if (!link.name.empty()) text += "&dn=" + Escape(link.name);
  if (link.team) text += "&x.team=" + ToHex(*link.team);
  if (link.signature) text += "&x.sig=" + FormatSignature(*link.signature);
  for (const PeerAddress& peer : link.peers) text += "&x.pe=" + Escape(FormatPeer(peer));
  for (const std::string& url : link.trackers) text += "&tr=" + Escape(url);
  for (const std::string& url : link.web_seeds) text += "&ws=" + Escape(url);
  return text;
}

bool IsLink(std::string_view text) { return text.starts_with("magnet:"); }

Link ParseLink(std::string_view text) {
  if (!text.starts_with(kScheme)) Throw("a link begins with '{}'", kScheme);
  if (text.size() > kMostLinkBytes) Throw("the link is longer than {} bytes", kMostLinkBytes);
  text.remove_prefix(kScheme.size());
  Link link;
  bool has_topic = false;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) continue;
    ReadPart(part.substr(0, equals), Unescape(part.substr(equals + 1)), link, has_topic);
  }
  if (!has_topic) Throw("the link has no hash ('xt=urn:btmh:...')");
  return link;
}

}  // namespace doppler
