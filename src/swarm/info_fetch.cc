#include "swarm/info_fetch.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "swarm/bencode.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

constexpr std::size_t kMetadataPiece = 16384;
constexpr std::size_t kAskAtOnce = 8;

}  // namespace

void InfoFetch::Begin(std::int64_t peer_id, std::int64_t size) {
  constexpr std::int64_t kMostId = 255;
  if (peer_id <= 0 || peer_id > kMostId) Throw("a peer does not give the info dictionary");
  if (size <= 0 || size > kMostInfoBytes) {
    Throw("a peer gives an info dictionary of {} bytes", size);
  }
  peer_id_ = static_cast<unsigned char>(peer_id);
  size_ = static_cast<std::size_t>(size);
}

std::optional<std::string> InfoFetch::NextRequest() {
  const std::size_t pieces = (size_ + kMetadataPiece - 1) / kMetadataPiece;
  const std::size_t most = std::min(pieces, info_.size() / kMetadataPiece + kAskAtOnce);
  if (asked_ >= most) return std::nullopt;
  return fmt::format("d8:msg_typei0e5:piecei{}ee", asked_++);
}

// Pieces come in the order in which they were asked for; another is a peer that gives none.
void InfoFetch::Take(std::string_view body) {
  if (body.starts_with("d8:msg_typei0e")) return;
  const std::size_t bytes = std::min(kMetadataPiece, size_ - info_.size());
  if (bytes == 0) return;
  if (body.size() <= bytes) Throw("a peer refuses the info dictionary");
  const std::string_view head = body.substr(0, body.size() - bytes);
  const BencodeValue value = ParseBencode(head);
  const BencodeValue* const type = value.Find("msg_type");
  const BencodeValue* const piece = value.Find("piece");
  const std::size_t expected = info_.size() / kMetadataPiece;
  if (type == nullptr || piece == nullptr || type->Integer("msg_type") != 1 || expected >= asked_ ||
      piece->Integer("piece") != static_cast<std::int64_t>(expected)) {
    Throw("a peer sends what it was not asked for");
  }
  info_.append(body.substr(head.size()));
}

}  // namespace doppler
