#include "swarm/worker/team_peer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <openssl/rand.h>

#include "base/error.h"
#include "base/stopwatch.h"
#include "swarm/bencode.h"
#include "swarm/info_fetch.h"
#include "swarm/torrent_rules.h"
#include "swarm/worker/tls_connection.h"

namespace doppler {
namespace {

// BEP 3, 9, 10 and 52. A torrent of version 2 is named by the first 20 bytes of its info-hash.
constexpr std::string_view kProtocol =
    "\x13"
    "BitTorrent protocol";
constexpr std::size_t kNameBytes = 20;
constexpr std::size_t kReservedBytes = 8;
constexpr std::size_t kHandshakeBytes = 20 + kReservedBytes + 2 * kNameBytes;
constexpr unsigned char kExtended = 20;
// Largest: the bitfield of a model of kMostPieces.
constexpr std::size_t kMostMessageBytes = kMostPieces / 8 + 1;
constexpr std::chrono::seconds kMostForOnePeer(60);
constexpr std::chrono::seconds kRest(1);

std::string BigEndian(std::size_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xffu);
  return bytes;
}

class MetadataPeer {
 public:
  MetadataPeer(const PeerAddress& peer, const StartMessage& start)
      : name_(reinterpret_cast<const char*>(start.info_hash.data()), kNameBytes),
        connection_(peer, start, ToHex(start.info_hash).substr(0, 2 * kNameBytes)),
        deadline_(Clock::now() + kMostForOnePeer) {}

  std::string Fetch() {
    ShakeHands();
    while (!fetch_.HasBegun()) TakeMessage();
    while (!fetch_.IsComplete()) {
      while (const auto request = fetch_.NextRequest()) Send(fetch_.peer_id(), *request);
      TakeMessage();
    }
    return fetch_.info();
  }

 private:
  void ShakeHands() {
    std::string reserved(kReservedBytes, '\0');
    reserved[5] = 0x10;  // extensions
    reserved[7] = 0x10;  // version 2
    std::array<unsigned char, kNameBytes> id{};
    DOPPLER_CHECK(RAND_bytes(id.data(), static_cast<int>(id.size())) == 1);
    connection_.Write(std::string(kProtocol) + reserved + name_ +
                      std::string(reinterpret_cast<const char*>(id.data()), id.size()));
    const std::string answer = connection_.Read(kHandshakeBytes);
    if (!answer.starts_with(kProtocol) ||
        answer.compare(kProtocol.size() + kReservedBytes, kNameBytes, name_) != 0) {
      Throw("a peer does not speak of this model");
    }
    Send(0, fmt::format("d1:md11:ut_metadatai{}eee", kOurMetadataId));
  }

  void Send(unsigned char id, const std::string& body) {
    connection_.Write(BigEndian(body.size() + 2) + static_cast<char>(kExtended) +
                      static_cast<char>(id) + body);
  }

  void TakeMessage() {
    if (Clock::now() > deadline_) Throw("a peer is too slow");
    std::size_t size = 0;
    for (const char byte : connection_.Read(4))
      size = size << 8u | static_cast<unsigned char>(byte);
    if (size > kMostMessageBytes) Throw("a peer sends a message of {} bytes", size);
    const std::string message = connection_.Read(size);
    if (size < 2 || static_cast<unsigned char>(message[0]) != kExtended) return;
    const auto id = static_cast<unsigned char>(message[1]);
    if (id == 0 && !fetch_.HasBegun()) TakeExtensions(message.substr(2));
    if (id == kOurMetadataId && fetch_.HasBegun()) fetch_.Take(message.substr(2));
  }

  void TakeExtensions(const std::string& text) {
    const BencodeValue value = ParseBencode(text);
    const BencodeValue* const names = value.Find("m");
    const BencodeValue* const id = names == nullptr ? nullptr : names->Find("ut_metadata");
    const BencodeValue* const size = value.Find("metadata_size");
    if (id == nullptr || size == nullptr) Throw("a peer does not give the info dictionary");
    fetch_.Begin(id->Integer("ut_metadata"), size->Integer("metadata_size"));
  }

  const std::string name_;
  TlsConnection connection_;
  const Clock::time_point deadline_;
  InfoFetch fetch_;
};

std::optional<std::string> AskPeer(const PeerAddress& peer, const StartMessage& start) {
  try {
    std::string info = MetadataPeer(peer, start).Fetch();
    if (Sha256(std::as_bytes(std::span(info))) == start.info_hash) return info;
  } catch (const Error&) {
    // Another may be better, or this one later.
  }
  return std::nullopt;
}

}  // namespace

DescriptionMessage DescribeFromTeam(const StartMessage& start) {
  if (start.peers.empty()) {
    Throw(
        "a team's link needs the address of a peer: give one with --peer, or the .torrent file in "
        "place of the link");
  }
  for (;;) {
    for (const PeerAddress& peer : start.peers) {
      if (auto info = AskPeer(peer, start)) return {.info = std::move(*info), .peers = {peer}};
    }
    std::this_thread::sleep_for(kRest);
  }
}

}  // namespace doppler
