#include "apps/bench_report.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "apps/chart.h"

namespace doppler {
namespace {

std::string Percent(std::optional<double> rate) {
  return rate ? fmt::format("{:.1f} %", 100 * *rate) : "-";
}

OrderedJson PhaseJson(const BenchmarkPhase& phase, bool speculates) {
  if (phase.runs.empty()) return nullptr;
  const ExpertCacheStats& experts = phase.Median().experts;
  OrderedJson json = {{"tokens", phase.tokens},
                      {"seconds_median", phase.Median().seconds},
                      {"seconds_min", phase.runs.front().seconds},
                      {"seconds_max", phase.runs.back().seconds},
                      {"tokens_per_second", phase.TokensPerSecond()},
                      {"expert_hits", experts.hits},
                      {"expert_misses", experts.misses},
                      {"expert_bytes_read", experts.bytes_read},
                      {"streamed_bytes_read", phase.Median().stream.bytes_read},
                      {"stall_seconds", phase.Median().StallSeconds()},
                      {"cache_seconds", experts.acquire_seconds},
                      {"reading_seconds", experts.reading_seconds},
                      {"page_in_p50_seconds", OptionalToJson(experts.page_ins.Quantile(0.5))},
                      {"page_in_p99_seconds", OptionalToJson(experts.page_ins.Quantile(0.99))}};
  if (speculates) json["speculation"] = SpeculationToJson(phase.Median().guesses, experts);
  return json;
}

std::string PhaseLine(const char* name, const BenchmarkPhase& phase) {
  if (phase.runs.empty()) return {};
  return fmt::format(
      "{:<8} {:>5} tokens  {:>9.1f} tokens/s  ({:.3f} to {:.3f} s)  hits {}, read {}\n", name,
      phase.tokens, phase.TokensPerSecond(), phase.runs.front().seconds, phase.runs.back().seconds,
      Percent(HitRate(phase.Median().experts)), FormatSize(phase.Median().BytesRead()));
}

// A phase's cells in CSV; empty where it was not measured.
std::string PhaseCells(const BenchmarkPhase& phase) {
  if (phase.runs.empty()) return ",,,,,,";
  const ExpertCacheStats& experts = phase.Median().experts;
  const std::optional<double> rate = HitRate(experts);
  return fmt::format("{},{:.6g},{:.6g},{},{},{},{:.6g}", phase.tokens, phase.Median().seconds,
                     phase.TokensPerSecond(), rate ? fmt::format("{:.4f}", *rate) : "",
                     experts.bytes_read, phase.Median().stream.bytes_read,
                     phase.Median().StallSeconds());
}

std::string QuotedCell(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

std::string PhaseHeads(const std::string& name) {
  std::string heads;
  for (const char* field : {"tokens", "seconds", "tokens_per_second", "expert_hit_rate",
                            "expert_bytes_read", "streamed_bytes_read", "stall_seconds"}) {
    heads += fmt::format("{}{}_{}", heads.empty() ? "" : ",", name, field);
  }
  return heads;
}

Chart SpeedChart(const std::string& title, const std::vector<BenchPoint>& points,
                 const BenchmarkPhase Benchmark::*phase) {
  std::map<int, std::vector<std::pair<double, double>>> by_context;
  for (const BenchPoint& point : points) {
    const BenchmarkPhase& measured = point.measured.*phase;
    if (measured.runs.empty()) continue;
    const double budget = static_cast<double>(point.budget) / static_cast<double>(kGiB);
    by_context[point.context].emplace_back(budget, measured.TokensPerSecond());
  }
  Chart chart{.title = title, .x_label = "budget, GiB", .y_label = "tokens/s", .series = {}};
  for (auto& [context, line] : by_context) {
    std::sort(line.begin(), line.end());
    chart.series.push_back({fmt::format("{} tokens of context", context), std::move(line)});
  }
  return chart;
}

}  // namespace

std::string BenchPointText(const BenchPoint& point) {
  const BenchmarkPhase& decode = point.measured.decode;
  std::string text = PhaseLine("prefill", point.measured.prefill) + PhaseLine("decode", decode);
  if (point.speculates > 0 && !decode.runs.empty()) {
    text += SpeculationLine(decode.Median().guesses, decode.Median().experts);
  }
  return text + fmt::format("peak memory {} of a budget of {}\n", FormatSize(point.peak_resident),
                            FormatSize(point.plan.budget));
}

OrderedJson BenchPointToJson(const BenchPoint& point) {
  OrderedJson json = {{"budget_bytes", point.budget}, {"context", point.context}};
  if (!point.problem.empty()) {
    json["problem"] = point.problem;
    return json;
  }
  json["prefill"] = PhaseJson(point.measured.prefill, point.speculates > 0);
  json["decode"] = PhaseJson(point.measured.decode, point.speculates > 0);
  if (point.speculates > 0) json["speculate"] = point.speculates;
  json["peak_resident_bytes"] = point.peak_resident;
  json["plan"] = PlanToJson(point.plan);
  return json;
}

std::string BenchTableText(const std::vector<BenchPoint>& points) {
  std::string text =
      fmt::format("{:>10} {:>8} {:>7} {:>12} {:>8} {:>12} {:>8} {:>10}\n", "budget", "context",
                  "experts", "prefill t/s", "hits", "decode t/s", "hits", "peak");
  for (const BenchPoint& point : points) {
    text += fmt::format("{:>10} {:>8} ", FormatSize(point.budget), point.context);
    if (!point.problem.empty()) {
      text += point.problem + '\n';
      continue;
    }
    const Benchmark& measured = point.measured;
    const bool decoded = !measured.decode.runs.empty();
    text += fmt::format(
        "{:>7} {:>12.1f} {:>8} {:>12} {:>8} {:>10}\n",
        Percent(point.plan.records == 0 ? std::nullopt
                                        : std::optional(static_cast<double>(point.plan.slots) /
                                                        static_cast<double>(point.plan.records))),
        measured.prefill.TokensPerSecond(), Percent(HitRate(measured.prefill.Median().experts)),
        decoded ? fmt::format("{:.2f}", measured.decode.TokensPerSecond()) : "-",
        decoded ? Percent(HitRate(measured.decode.Median().experts)) : "-",
        FormatSize(point.peak_resident));
  }
  return text;
}

std::string BenchTableCsv(const std::vector<BenchPoint>& points) {
  std::string csv = "budget_bytes,context," + PhaseHeads("prefill") + ',' + PhaseHeads("decode") +
                    ",peak_resident_bytes,expert_slots,experts,problem\n";
  for (const BenchPoint& point : points) {
    csv += fmt::format("{},{},{},{},", point.budget, point.context,
                       PhaseCells(point.measured.prefill), PhaseCells(point.measured.decode));
    csv += point.problem.empty() ? fmt::format("{},{},{},\n", point.peak_resident, point.plan.slots,
                                               point.plan.records)
                                 : ",,," + QuotedCell(point.problem) + '\n';
  }
  return csv;
}

std::string BenchChart(const std::string& model, const std::vector<BenchPoint>& points) {
  return ChartsToSvg({SpeedChart(model + ": decode", points, &Benchmark::decode),
                      SpeedChart(model + ": prefill", points, &Benchmark::prefill)});
}

}  // namespace doppler
