#include "apps/report.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "io/machine.h"

namespace doppler {
namespace {

double PerSecond(std::size_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

std::string PlanLine(const char* name, Bytes bytes, const std::string& note) {
  return fmt::format("  {:<14} {:>10}  {}\n", name, FormatSize(bytes), note);
}

std::string StreamLine(const MemoryPlan& plan, const PhaseStats& prefill,
                       const PhaseStats& decode) {
  return fmt::format("layers: {} do not stay, {} to read for each pass, {:.2f} s stalled\n",
                     plan.streamed.size(), FormatSize(plan.streamed_per_pass),
                     prefill.stream.stall_seconds + decode.stream.stall_seconds);
}

std::string ExpertsLine(const MemoryPlan& plan, const PhaseStats& prefill,
                        const PhaseStats& decode) {
  std::string text = fmt::format("experts: {} of {} fit", plan.slots, plan.records);
  if (const std::optional<double> rate = HitRate(decode.experts)) {
    text += fmt::format(", hit rate {:.1f} % in decode", 100 * *rate);
  }
  return text + fmt::format(", {:.2f} s stalled\n",
                            prefill.experts.stall_seconds + decode.experts.stall_seconds);
}

// Of the whole run; empty if nothing was given back.
std::string GiveBackLine(const Engine& engine) {
  const ExpertCacheStats stats = engine.expert_stats();
  if (stats.given_back == 0) return {};
  return fmt::format("the system was short of memory: {} of experts given back, {} taken again\n",
                     FormatSize(stats.given_back), FormatSize(stats.taken_again));
}

OrderedJson GiveBackToJson(const Engine& engine) {
  const MemoryWatch* watch = engine.memory_watch();
  const ExpertCacheStats stats = engine.expert_stats();
  OrderedJson json = {{"pressure_file", nullptr},
                      {"problem", nullptr},
                      {"given_back_bytes", stats.given_back},
                      {"taken_again_bytes", stats.taken_again},
                      {"present_bytes", engine.experts()->present()}};
  if (watch == nullptr) return json;
  json["pressure_file"] = watch->source();
  if (!watch->problem().empty()) json["problem"] = watch->problem();
  return json;
}

}  // namespace

std::optional<double> HitRate(const ExpertCacheStats& experts) {
  const std::uint64_t uses = experts.hits + experts.misses;
  if (uses == 0) return std::nullopt;
  return static_cast<double>(experts.hits) / static_cast<double>(uses);
}

OrderedJson OptionalToJson(std::optional<double> value) {
  return value ? OrderedJson(*value) : OrderedJson(nullptr);
}

void Print(std::string_view text) {
  const bool failed =
      std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0;
  if (failed) Throw("cannot write to standard output: {}", std::strerror(errno));
}

OrderedJson SpeculationToJson(const SpeculationStats& guesses, const ExpertCacheStats& experts) {
  return {{"predictions", guesses.predictions},      {"predictions_right", guesses.right},
          {"predict_seconds", guesses.seconds},      {"experts_read", experts.speculated},
          {"experts_used", experts.speculated_used}, {"bytes_read", experts.bytes_speculated},
          {"bytes_wasted", experts.bytes_wasted}};
}

std::string SpeculationLine(const SpeculationStats& guesses, const ExpertCacheStats& experts) {
  const double rate = guesses.predictions == 0 ? 0
                                               : static_cast<double>(guesses.right) /
                                                     static_cast<double>(guesses.predictions);
  return fmt::format(
      "guesses: {:.1f} % of {} right, {} experts read, {} of them used, {} wasted, {:.2f} s "
      "guessing\n",
      100 * rate, guesses.predictions, experts.speculated, experts.speculated_used,
      FormatSize(experts.bytes_wasted), guesses.seconds);
}

OrderedJson PhaseToJson(const PhaseStats& phase, bool speculates) {
  OrderedJson json = {
      {"tokens", phase.tokens},
      {"seconds", phase.seconds},
      {"tokens_per_second", PerSecond(phase.tokens, phase.seconds)},
      {"expert_hits", phase.experts.hits},
      {"expert_misses", phase.experts.misses},
      {"expert_hit_rate", OptionalToJson(HitRate(phase.experts))},
      {"expert_evictions", phase.experts.evictions},
      {"expert_bytes_hit", phase.experts.bytes_hit},
      {"expert_bytes_read", phase.experts.bytes_read},
      {"experts_read_ahead", phase.experts.read_ahead},
      {"experts_read_ahead_used", phase.experts.read_ahead_used},
      {"streamed_bytes_read", phase.stream.bytes_read},
      {"stall_seconds", phase.StallSeconds()},
      {"cache_seconds", phase.experts.acquire_seconds},
      {"reading_seconds", phase.experts.reading_seconds},
      {"page_in_p50_seconds", OptionalToJson(phase.experts.page_ins.Quantile(0.5))},
      {"page_in_p99_seconds", OptionalToJson(phase.experts.page_ins.Quantile(0.99))},
      {"attention_seconds", phase.times.layers - phase.times.experts - phase.stream.stall_seconds},
      {"expert_seconds",
       phase.times.experts - phase.experts.stall_seconds - phase.experts.acquire_seconds},
      {"head_seconds", phase.times.head},
      {"major_faults", phase.major_faults}};
  if (speculates) json["speculation"] = SpeculationToJson(phase.guesses, phase.experts);
  return json;
}

OrderedJson PlanToJson(const MemoryPlan& plan) {
  return {{"budget_bytes", plan.budget},
          {"total_bytes", plan.Total()},
          {"process_bytes", plan.process},
          {"page_table_bytes", plan.page_tables},
          {"dense_bytes", plan.dense},
          {"stream_bytes", plan.stream},
          {"leaf_hash_bytes", plan.leaf_hashes},
          {"kv_bytes", plan.kv},
          {"activation_bytes", plan.activations},
          {"scratch_bytes", plan.scratch},
          {"expert_bytes", plan.experts},
          {"expert_slots", plan.slots},
          {"experts", plan.records},
          {"streamed_layers", plan.streamed.size()},
          {"streamed_bytes_per_pass", plan.streamed_per_pass},
          {"context", plan.context},
          {"ubatch", plan.ubatch}};
}

std::string PlanToText(const MemoryPlan& plan) {
  std::string text;
  text += PlanLine("dense weights", plan.dense, "every token needs them");
  if (!plan.streamed.empty()) {
    text += PlanLine("buffers", plan.stream,
                     fmt::format("for {} layers that do not stay; a pass reads {}",
                                 plan.streamed.size(), FormatSize(plan.streamed_per_pass)));
  }
  if (plan.records > 0) {
    text += PlanLine(
        "experts", plan.experts,
        fmt::format("{} slots for {} experts ({:.0f} %)", plan.slots, plan.records,
                    100.0 * static_cast<double>(plan.slots) / static_cast<double>(plan.records)));
  }
  text += PlanLine("KV", plan.kv, fmt::format("{} tokens of context", plan.context));
  text += PlanLine("activations", plan.activations + plan.scratch,
                   fmt::format("{} tokens at once in prefill", plan.ubatch));
  text += PlanLine("process", plan.process + plan.page_tables + plan.leaf_hashes,
                   "program, tokenizer, hashes, page tables");
  text += PlanLine("in all", plan.Total(), fmt::format("of {}", FormatSize(plan.budget)));
  return text;
}

OrderedJson StatsToJson(const Engine& engine, const GenerateResult& result) {
  OrderedJson json = {{"model", engine.artifact().manifest().model_id},
                      {"family", engine.config().family},
                      {"backend", engine.backend().name()},
                      {"cpu_path", engine.backend().path()},
                      {"threads", engine.threads()},
                      {"stop_reason", StopReasonName(result.stop)},
                      {"generated_tokens", result.tokens.size()},
                      {"load_seconds", engine.load_seconds()},
                      {"prefill", PhaseToJson(result.prefill, engine.speculates() > 0)},
                      {"decode", PhaseToJson(result.decode, engine.speculates() > 0)},
                      {"dense_bytes_read", engine.dense_bytes_read()},
                      {"peak_resident_bytes", PeakResidentBytes()},
                      {"plan", PlanToJson(engine.plan())}};
  if (engine.stream() != nullptr) {
    json["stream_reader"] = engine.stream()->reader_name();
    json["stream_reader_registered"] = engine.stream()->registered();
  }
  if (engine.experts() != nullptr) {
    json["expert_reader"] = engine.experts()->reader_name();
    json["expert_reader_registered"] = engine.experts()->registered();
    json["give_back"] = GiveBackToJson(engine);
  }
  const ShardFiles& files = engine.artifact().files();
  if (files.on_demand()) {
    json["expert_shards"] = files.expert_shards();
    json["expert_shards_open"] = files.most_expert_files();
    json["expert_shard_opens"] = files.stats().opens;
    json["expert_shard_evictions"] = files.stats().evictions;
  }
  return json;
}

std::string SummaryText(const Engine& engine, const GenerateResult& result) {
  const PhaseStats& prefill = result.prefill;
  const PhaseStats& decode = result.decode;
  std::string text =
      fmt::format("prefill {:.1f} tokens/s ({} tokens), decode {:.1f} tokens/s ({} tokens)\n",
                  PerSecond(prefill.tokens, prefill.seconds), prefill.tokens,
                  PerSecond(decode.tokens, decode.seconds), decode.tokens);
  if (engine.stream() != nullptr) text += StreamLine(engine.plan(), prefill, decode);
  if (engine.experts() != nullptr) {
    text += ExpertsLine(engine.plan(), prefill, decode);
    if (engine.speculates() > 0) text += SpeculationLine(decode.guesses, decode.experts);
    text += GiveBackLine(engine);
  }
  text += fmt::format(
      "read {} from disk, peak memory {} of a budget of {}\n",
      FormatSize(engine.dense_bytes_read() + prefill.experts.bytes_read +
                 prefill.stream.bytes_read + decode.experts.bytes_read + decode.stream.bytes_read),
      FormatSize(PeakResidentBytes()), FormatSize(engine.plan().budget));
  return text;
}

void PrintJson(const OrderedJson& json) { fmt::print("{}\n", json.dump(2)); }

}  // namespace doppler
