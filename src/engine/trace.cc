#include "engine/trace.h"

#include <iterator>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "format/json.h"

namespace doppler {
namespace {

constexpr std::string_view kFormat = "doppler-trace";
constexpr int kTraceVersion = 1;
constexpr std::string_view kExpertsSpan = "experts";
constexpr std::size_t kBufferBytes = 64 * kKiB;

constexpr int kMostLayers = 4096;
constexpr int kMostExperts = 65536;
constexpr int kMostTokens = 1 << 28;
constexpr Bytes kLargestRecord = 64 * kGiB;

TraceModel ReadModel(const JsonReader& json) {
  json.RequireOnly({"format", "version", "model", "expertsPerToken", "experts", "recordBytes"});
  const JsonReader format = json.Member("format");
  if (format.String() != kFormat) format.Fail("this is not a trace of doppler's");
  const JsonReader version = json.Member("version");
  if (version.Unsigned() != kTraceVersion) {
    version.Fail("traces of version {} are read; record it again", kTraceVersion);
  }
  TraceModel model;
  model.name = json.Member("model").String();
  model.experts_per_token = json.Member("expertsPerToken").Int(kMostExperts);
  const JsonReader experts = json.Member("experts");
  const JsonReader bytes = json.Member("recordBytes");
  experts.RequireArray();
  bytes.RequireArray();
  const std::size_t layers = experts.value().size();
  if (layers == 0 || layers > kMostLayers) experts.Fail("a model has 1 to {} layers", kMostLayers);
  if (bytes.value().size() != layers) bytes.Fail("there must be one size for each layer");
  for (std::size_t i = 0; i < layers; ++i) {
    model.experts_of_layer.push_back(experts.Element(i).Int(kMostExperts));
    const JsonReader size = bytes.Element(i);
    if (size.Unsigned() > kLargestRecord) size.Fail("no expert is so large");
    model.record_bytes_of_layer.push_back(size.Unsigned());
  }
  if (model.Records() == 0) experts.Fail("the model has no experts");
  return model;
}

TraceUse ReadUse(const JsonReader& args, const TraceModel& model) {
  TraceUse use;
  const JsonReader layer = args.Member("layer");
  use.layer = layer.Int(static_cast<int>(model.experts_of_layer.size()) - 1);
  use.tokens = args.Member("tokens").Int(kMostTokens);
  const JsonReader experts = args.Member("experts");
  experts.RequireArray();
  const int count = model.experts_of_layer[static_cast<std::size_t>(use.layer)];
  if (count == 0) layer.Fail("the layer {} has no experts", use.layer);
  std::set<int> seen;
  for (std::size_t i = 0; i < experts.value().size(); ++i) {
    const JsonReader expert = experts.Element(i);
    use.experts.push_back(expert.Int(count - 1));
    if (!seen.insert(use.experts.back()).second) expert.Fail("an expert stands there twice");
  }
  if (use.experts.empty()) experts.Fail("a layer with experts uses at least one");
  return use;
}

}  // namespace

std::size_t TraceModel::Records() const {
  std::size_t records = 0;
  for (const int experts : experts_of_layer) records += static_cast<std::size_t>(experts);
  return records;
}

Bytes TraceModel::TotalBytes() const {
  Bytes total = 0;
  for (std::size_t i = 0; i < experts_of_layer.size(); ++i) {
    total += static_cast<Bytes>(experts_of_layer[i]) * record_bytes_of_layer[i];
  }
  return total;
}

ExpertTrace ParseTrace(std::string_view json, const std::string& where) {
  const nlohmann::json document = ParseStrictJson(json, where);
  const JsonReader root(document, where);
  root.RequireOnly({"otherData", "traceEvents"});
  const JsonReader other = root.Member("otherData");
  ExpertTrace trace{.model = ReadModel(other), .uses = {}};
  const JsonReader events = root.Member("traceEvents");
  events.RequireArray();
  for (std::size_t i = 0; i < events.value().size(); ++i) {
    const JsonReader event = events.Element(i);
    event.RequireObject();
    if (event.Member("name").String() != kExpertsSpan) continue;
    trace.uses.push_back(ReadUse(event.Member("args"), trace.model));
  }
  return trace;
}

TraceWriter::TraceWriter(const std::filesystem::path& path, const TraceModel& model)
    : file_(path, OpenMode::kCreate) {
  buffer_.reserve(2 * kBufferBytes);
  // A model's name is restricted to characters that JSON does not escape.
  Append(fmt::format(
      "{{\"otherData\":{{\"format\":\"{}\",\"version\":{},\"model\":\"{}\","
      "\"expertsPerToken\":{},\"experts\":[{}],\"recordBytes\":[{}]}},\n\"traceEvents\":[\n"
      "{{\"name\":\"start\",\"ph\":\"i\",\"s\":\"g\",\"pid\":1,\"tid\":1,\"ts\":0}}",
      kFormat, kTraceVersion, model.name, model.experts_per_token,
      fmt::join(model.experts_of_layer, ","), fmt::join(model.record_bytes_of_layer, ",")));
}

TraceWriter::~TraceWriter() {
  try {
    Finish();
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): Finish is how to hear of it
  }
}

void TraceWriter::Add(const ExpertPass& pass) {
  constexpr std::string_view kSpan =
      ",\n{{\"name\":\"{}\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":{:.1f},\"dur\":{:.1f},"
      "\"args\":{{\"layer\":{}";
  const double begin = Microseconds(pass.begin);
  if (pass.layer > last_layer_) {
    const double before = Microseconds(last_end_);
    Append(fmt::format(kSpan, "attention", before, begin - before, pass.layer.value));
    Append("}}");
  }
  fmt::memory_buffer experts;
  for (const ExpertTask& task : pass.tasks) {
    fmt::format_to(std::back_inserter(experts), "{}{}", experts.size() > 0 ? "," : "",
                   task.expert.value);
  }
  Append(fmt::format(kSpan, kExpertsSpan, begin, Microseconds(pass.end) - begin, pass.layer.value));
  if (pass.guesses.predictions > 0 || pass.cache.speculated > 0) {
    Append(fmt::format(",\"predicted\":{},\"predicted_right\":{},\"speculated\":{}",
                       pass.guesses.predictions, pass.guesses.right, pass.cache.speculated));
  }
  Append(fmt::format(
      ",\"position\":{},\"tokens\":{},\"hits\":{},\"misses\":{},\"bytes\":{},\"stall_us\":{:.1f},"
      "\"experts\":[{}]}}}}",
      pass.first_position, pass.tokens, pass.cache.hits, pass.cache.misses, pass.cache.bytes_read,
      1e6 * pass.cache.stall_seconds, std::string_view(experts.data(), experts.size())));
  last_layer_ = pass.layer;
  last_end_ = pass.end;
}

void TraceWriter::Finish() {
  if (finished_) return;
  finished_ = true;
  Append("\n]}\n");
  Flush();
  file_.Sync();
}

void TraceWriter::Append(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() >= kBufferBytes) Flush();
}

void TraceWriter::Flush() {
  file_.Write(std::as_bytes(std::span(buffer_)));
  buffer_.clear();
}

double TraceWriter::Microseconds(Clock::time_point time) const {
  return 1e6 * SecondsBetween(start_, time);
}

}  // namespace doppler
