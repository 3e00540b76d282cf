#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "apps/swarm_flags.h"
#include "base/interrupt.h"
#include "store/local_store.h"
#include "swarm/artifact_torrent.h"
#include "swarm/peer_survey.h"

namespace doppler {
namespace {

SurveyOptions SurveyOptionsOf(const PeersCommand& command) {
  SurveyOptions options;
  options.reach = ReachOf(command.swarm);
  options.seconds = command.seconds;
  options.probe = command.probe;
  if (IsSwarmSource(command.model)) {
    SwarmSource source = SourceOf(command.model);
    options.info_hash = source.link.info_hash;
    options.torrent = std::move(source.torrent);
    AddReach(source.link, options.reach);
    return options;
  }
  options.folder = ResolveModel(command.model);
  options.torrent =
      DescribeArtifact(options.folder, options.reach.Authority(), options.manifest.emplace());
  options.info_hash = InfoHash(*options.torrent);
  return options;
}

bool IsHere(const Holder& holder) { return holder.peer.address.host.empty(); }

std::string NameOfHolder(const Holder& holder) {
  return IsHere(holder) ? "here" : FormatPeer(holder.peer.address);
}

double PartOfAll(std::size_t count, std::size_t all) {
  return all == 0 ? 0 : static_cast<double>(count) / static_cast<double>(all);
}

OrderedJson HolderToJson(const Holder& holder, const Inventory& inventory) {
  OrderedJson json = {{"peer", IsHere(holder) ? OrderedJson() : OrderedJson(NameOfHolder(holder))},
                      {"client", holder.peer.client},
                      {"pieces", holder.pieces},
                      {"part", PartOfAll(holder.pieces, inventory.pieces)},
                      {"experts", holder.experts}};
  if (IsHere(holder)) return json;
  constexpr double kMilliseconds = 1000;
  json["incoming"] = holder.peer.incoming;
  json["round_trip_seconds"] =
      holder.peer.incoming ? OrderedJson() : OrderedJson(holder.peer.round_trip_ms / kMilliseconds);
  json["bytes_per_second"] = OptionalToJson(holder.rate);
  return json;
}

OrderedJson InventoryToJson(const Inventory& inventory) {
  OrderedJson holders = OrderedJson::array();
  for (const Holder& holder : inventory.holders) {
    holders.push_back(HolderToJson(holder, inventory));
  }
  OrderedJson rare = OrderedJson::array();
  for (const ExpertHolders& expert : inventory.experts) {
    if (expert.holders > 1) continue;
    OrderedJson json = {{"layer", expert.layer}, {"expert", expert.expert}};
    json["holder"] = expert.holders == 0
                         ? OrderedJson()
                         : OrderedJson(NameOfHolder(inventory.holders[expert.holder]));
    rare.push_back(json);
  }
  return {{"name", inventory.name},
          {"pieces", inventory.pieces},
          {"experts", inventory.experts.size()},
          {"holders", holders},
          {"experts_by_holders", inventory.CountByHolders()},
          {"rare_experts", rare}};
}

// "0-3, 7": REQUIRES: ascending.
std::string RangesOf(const std::vector<int>& numbers) {
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", numbers[i]);
    if (last > i) text += fmt::format("-{}", numbers[last]);
    i = last + 1;
  }
  return text;
}

std::string HolderLine(const Holder& holder, const Inventory& inventory) {
  constexpr double kPercent = 100;
  std::string text =
      fmt::format("{:<28} {:<20} {:>6.1f} % {:>8}", NameOfHolder(holder), holder.peer.client,
                  kPercent * PartOfAll(holder.pieces, inventory.pieces), holder.experts);
  if (IsHere(holder)) return text + "\n";
  text += holder.peer.incoming ? fmt::format(" {:>11}", "-")
                               : fmt::format(" {:>8} ms", holder.peer.round_trip_ms);
  const std::string rate =
      holder.rate ? FormatSize(static_cast<Bytes>(*holder.rate)) + "/s" : std::string("-");
  return text + fmt::format(" {:>12}\n", rate);
}

// The experts that so many have, a line for each layer.
std::string RareExperts(const Inventory& inventory, std::size_t holders) {
  std::map<int, std::vector<int>> layers;
  for (const ExpertHolders& expert : inventory.experts) {
    if (expert.holders == holders) layers[expert.layer].push_back(expert.expert);
  }
  std::string text;
  for (const auto& [layer, experts] : layers) {
    text += fmt::format("  layer {}: {}\n", layer, RangesOf(experts));
  }
  return text;
}

std::string InventoryText(const Inventory& inventory) {
  std::string text = fmt::format("{}: {} experts\n\n", inventory.name, inventory.experts.size());
  text += fmt::format("{:<28} {:<20} {:>8} {:>8} {:>11} {:>12}\n", "peer", "client", "has",
                      "experts", "round trip", "rate");
  for (const Holder& holder : inventory.holders) text += HolderLine(holder, inventory);
  const std::vector<std::size_t> counts = inventory.CountByHolders();
  for (std::size_t holders = 0; holders < counts.size(); ++holders) {
    if (counts[holders] == 0) continue;
    text += fmt::format("\n{} {} by {}\n", counts[holders],
                        counts[holders] == 1 ? "expert is held" : "experts are held",
                        holders == 0   ? "nobody"
                        : holders == 1 ? "only one"
                                       : fmt::format("{}", holders));
    if (holders <= 1) text += RareExperts(inventory, holders);
  }
  return text;
}

}  // namespace

void RunPeers(const PeersCommand& command) {
  const SurveyOptions options = SurveyOptionsOf(command);
  StatusLine line;
  const Inventory inventory = SurveyPeers(options, [&line](const StatusMessage& status) {
    ThrowIfInterrupted();
    line.Show(fmt::format("listening to {} peers", status.peers));
  });
  line.Clear();
  if (command.json) {
    PrintJson(InventoryToJson(inventory));
  } else {
    Print(InventoryText(inventory));
  }
}

}  // namespace doppler
