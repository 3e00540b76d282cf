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
constexpr unsigned char kOurMetadataId = 3;
constexpr std::size_t kMetadataPiece = 16384;
constexpr std::size_t kAskAtOnce = 8;
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
    while (size_ == 0) TakeMessage();
    const std::size_t pieces = (size_ + kMetadataPiece - 1) / kMetadataPiece;
    std::size_t asked = 0;
    while (info_.size() < size_) {
      for (; asked < pieces && asked < info_.size() / kMetadataPiece + kAskAtOnce; ++asked) {
        Send(metadata_id_, fmt::format("d8:msg_typei0e5:piecei{}ee", asked));
      }
      TakeMessage();
    }
    return std::move(info_);
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
    if (id == 0 && size_ == 0) TakeExtensions(message.substr(2));
    if (id == kOurMetadataId && size_ > 0) TakePiece(message.substr(2));
  }

  void TakeExtensions(const std::string& text) {
    const BencodeValue value = ParseBencode(text);
    const BencodeValue* const names = value.Find("m");
    const BencodeValue* const id = names == nullptr ? nullptr : names->Find("ut_metadata");
    const BencodeValue* const size = value.Find("metadata_size");
    if (id == nullptr || size == nullptr) Throw("a peer does not give the info dictionary");
    const std::int64_t number = id->Integer("ut_metadata");
    const std::int64_t bytes = size->Integer("metadata_size");
    if (number <= 0 || number > 255 || bytes <= 0 || bytes > kMostInfoBytes) {
      Throw("a peer gives an info dictionary of {} bytes", bytes);
    }
    metadata_id_ = static_cast<unsigned char>(number);
    size_ = static_cast<std::size_t>(bytes);
  }

  // Pieces come in the order in which they were asked for; another is a peer that gives none.
  void TakePiece(const std::string& text) {
    const std::size_t bytes = std::min(kMetadataPiece, size_ - info_.size());
    if (text.size() <= bytes) Throw("a peer refuses the info dictionary");
    const std::string head = text.substr(0, text.size() - bytes);
    const BencodeValue value = ParseBencode(head);
    const BencodeValue* const type = value.Find("msg_type");
    const BencodeValue* const piece = value.Find("piece");
    if (type == nullptr || piece == nullptr || type->Integer("msg_type") != 1 ||
        static_cast<std::size_t>(piece->Integer("piece")) != info_.size() / kMetadataPiece) {
      Throw("a peer sends what it was not asked for");
    }
    info_.append(text, head.size());
  }

  const std::string name_;
  TlsConnection connection_;
  const Clock::time_point deadline_;
  unsigned char metadata_id_ = 0;
  std::size_t size_ = 0;  // of the info dictionary; 0: not known yet
  std::string info_;
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
