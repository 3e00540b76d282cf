#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "base/error.h"
#include "engine/replay.h"
#include "io/file.h"

namespace doppler {
namespace {

// Where neither slots nor budgets were asked for, these parts of all records.
constexpr std::array<int, 9> kPercents = {5, 10, 12, 18, 24, 33, 50, 75, 100};

// One line of the table: a cache of so many slots under each policy.
struct ReplayLine {
  std::size_t slots = 0;
  std::vector<std::optional<ReplayResult>> results;  // [policy]
};

std::vector<std::size_t> SlotsOf(const ReplayCommand& command, const TraceModel& model) {
  const std::size_t records = model.Records();
  std::vector<std::size_t> slots = command.slots;
  const Bytes record = std::max<Bytes>(model.TotalBytes() / records, 1);
  for (const Bytes budget : command.budgets) {
    slots.push_back(static_cast<std::size_t>(std::min<Bytes>(budget / record, records)));
  }
  if (!slots.empty()) return slots;
  for (const int percent : kPercents) {
    slots.push_back(records * static_cast<std::size_t>(percent) / 100);
  }
  return slots;
}

std::optional<double> Rate(std::uint64_t hits, std::uint64_t uses) {
  if (uses == 0) return std::nullopt;
  return static_cast<double>(hits) / static_cast<double>(uses);
}

// The rate that the table shows: of decode, if there was any.
std::string RateText(const std::optional<ReplayResult>& result) {
  if (!result) return "-";
  const std::optional<double> rate = result->decode_uses > 0
                                         ? Rate(result->decode_hits, result->decode_uses)
                                         : Rate(result->hits, result->uses);
  return rate ? fmt::format("{:.1f}", 100 * *rate) : "-";
}

OrderedJson RateToJson(std::optional<double> rate) {
  return rate ? OrderedJson(*rate) : OrderedJson(nullptr);
}

OrderedJson ToJson(const std::optional<ReplayResult>& result) {
  if (!result) return nullptr;
  return {{"uses", result->uses},
          {"hits", result->hits},
          {"hit_rate", RateToJson(Rate(result->hits, result->uses))},
          {"decode_uses", result->decode_uses},
          {"decode_hits", result->decode_hits},
          {"decode_hit_rate", RateToJson(Rate(result->decode_hits, result->decode_uses))}};
}

void PrintAsJson(const ReplayCommand& command, const TraceModel& model,
                 const std::vector<ReplayLine>& lines) {
  OrderedJson rows = OrderedJson::array();
  for (const ReplayLine& line : lines) {
    OrderedJson row = {{"slots", line.slots}};
    for (std::size_t i = 0; i < command.policies.size(); ++i) {
      row[std::string(ReplayPolicyName(command.policies[i]))] = ToJson(line.results[i]);
    }
    rows.push_back(std::move(row));
  }
  PrintJson({{"model", model.name},
             {"experts", model.Records()},
             {"experts_per_token", model.experts_per_token},
             {"half_life_tokens", command.half_life_tokens},
             {"caches", std::move(rows)}});
}

void PrintTable(const ReplayCommand& command, const TraceModel& model,
                const std::vector<ReplayLine>& lines) {
  fmt::print("{}: {} experts; hit rates in percent, in decode if there is any\n\n", model.name,
             model.Records());
  fmt::print("{:>7} {:>6}", "slots", "part");
  for (const ReplayPolicy policy : command.policies) {
    fmt::print(" {:>10}", ReplayPolicyName(policy));
  }
  fmt::print("\n");
  for (const ReplayLine& line : lines) {
    fmt::print("{:>7} {:>4.0f} %", line.slots,
               100 * static_cast<double>(line.slots) / static_cast<double>(model.Records()));
    for (const std::optional<ReplayResult>& result : line.results) {
      fmt::print(" {:>10}", RateText(result));
    }
    fmt::print("\n");
  }
}

}  // namespace

void RunReplay(const ReplayCommand& command) {
  const ExpertTrace trace = ParseTrace(ReadTextFile(command.trace), command.trace);
  if (trace.uses.empty()) Throw("'{}' holds no uses of experts", command.trace);
  std::vector<ReplayLine> lines;
  for (const std::size_t slots : SlotsOf(command, trace.model)) {
    ReplayLine line{.slots = slots, .results = {}};
    for (const ReplayPolicy policy : command.policies) {
      line.results.push_back(Replay(
          trace, {.policy = policy, .slots = slots, .half_life_tokens = command.half_life_tokens}));
    }
    lines.push_back(std::move(line));
  }
  if (command.json) {
    PrintAsJson(command, trace.model, lines);
  } else {
    PrintTable(command, trace.model, lines);
  }
}

}  // namespace doppler
