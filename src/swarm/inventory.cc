#include "swarm/inventory.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/error.h"

namespace doppler {
namespace {

constexpr std::size_t kMostClientName = 48;

bool HasBit(const std::vector<std::uint8_t>& bits, std::size_t index) {
  return !bits.empty() && (bits[index / 8] >> (7 - index % 8) & 1u) != 0;
}

}  // namespace

std::vector<ExpertHolders> ExpertsOf(const Torrent& torrent, const Manifest& manifest) {
  RequireSameShards(torrent, manifest);
  std::vector<ExpertHolders> experts;
  for (const ShardEntry& shard : manifest.shards) {
    if (shard.type != ShardType::kExpert) continue;
    const ExpertPlace place = PlaceOfExpert(shard);
    experts.push_back({.file = shard.file, .layer = place.layer, .expert = place.expert});
  }
  std::sort(experts.begin(), experts.end(), [](const auto& a, const auto& b) {
    return std::tie(a.layer, a.expert) < std::tie(b.layer, b.expert);
  });
  return experts;
}

Inventory CountHolders(const Torrent& torrent, std::vector<ExpertHolders> experts,
                       std::vector<Holder> holders) {
  const std::vector<std::size_t> first_piece = FirstPieces(torrent);
  Inventory inventory{.name = torrent.name,
                      .pieces = first_piece.back(),
                      .holders = std::move(holders),
                      .experts = std::move(experts)};
  for (std::size_t i = 0; i < inventory.holders.size(); ++i) {
    Holder& holder = inventory.holders[i];
    const std::vector<std::uint8_t>& bits = holder.peer.pieces;
    DOPPLER_CHECK(bits.empty() || bits.size() == (inventory.pieces + 7) / 8);
    for (std::size_t piece = 0; piece < inventory.pieces; ++piece) {
      holder.pieces += HasBit(bits, piece) ? 1 : 0;
    }
    for (ExpertHolders& expert : inventory.experts) {
      const std::size_t index = torrent.IndexOf(expert.file);
      bool whole = true;
      for (std::size_t piece = first_piece[index]; piece < first_piece[index + 1]; ++piece) {
        whole = whole && HasBit(bits, piece);
      }
      if (!whole) continue;
      ++holder.experts;
      ++expert.holders;
      expert.holder = i;
    }
  }
  return inventory;
}

std::vector<std::size_t> Inventory::CountByHolders() const {
  std::vector<std::size_t> counts(holders.size() + 1);
  for (const ExpertHolders& expert : experts) ++counts[expert.holders];
  return counts;
}

std::string PlainClientName(const std::string& name) {
  std::string plain;
  for (const char c : name.substr(0, kMostClientName)) plain += c >= ' ' && c < 0x7f ? c : '?';
  return plain;
}

}  // namespace doppler
