#include "support/model_case.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/safetensors.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

std::vector<float> Floats(const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TokenId ArgMax(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

void ConvertTo(const fs::path& output, ConvertOptions options) {
  options.output = output;
  options.threads = 2;
  Convert(options, [](Bytes, Bytes) {});
}

}  // namespace

fs::path DataFolder() { return fs::path(DOPPLER_SOURCE_DIR) / "tests" / "data"; }

fs::path DemoCheckpoint() {
  return fs::path(DOPPLER_SOURCE_DIR) / "models" / "classics-66m-a18m.Q4_K_M.gguf";
}

std::vector<TokenId> HeldOutIds(std::size_t count) {
  const std::string bytes = ReadTextFile(DataFolder() / "heldout-32x1024.u16");
  std::vector<TokenId> ids(count);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<unsigned char>(bytes[2 * i]) | static_cast<unsigned char>(bytes[2 * i + 1])
                                                            << 8;
  }
  return ids;
}

ConvertedModel::ConvertedModel(const fs::path& checkpoint, ShardingStrategy sharding,
                               std::optional<DType> quantize, std::optional<WeightLayout> layout)
    : path_(folder_.path() / "model") {
  ConvertTo(
      path_,
      {.checkpoint = checkpoint, .sharding = sharding, .quantize = quantize, .layout = layout});
}

std::size_t GroupedTensors(const fs::path& model) {
  const fs::path file = model / "manifest.json";
  const Manifest manifest = ParseManifest(ReadTextFile(file), file.string());
  return static_cast<std::size_t>(std::ranges::count_if(
      manifest.tensors, [](const auto& tensor) { return IsGrouped(tensor.second.layout); }));
}

void ConvertDemoModel(const fs::path& output) {
  ConvertTo(output, {.checkpoint = DemoCheckpoint()});
}

DemoCopy::DemoCopy() : path_(folder_.path() / "model") {
  if (const char* converted = std::getenv("DOPPLER_DEMO_MODEL")) {
    fs::copy(converted, path_, fs::copy_options::recursive);
  } else {
    ConvertDemoModel(path_);
  }
}

const fs::path& DemoModel() {
  static const DemoCopy model;
  return model.path();
}

GoldenCase LoadGoldenCase(const std::string& name) {
  const fs::path folder = DataFolder() / "golden" / name;
  const auto json = nlohmann::json::parse(ReadTextFile(folder / "expected.json"));
  const SafetensorsFile tensors(folder / "expected.safetensors");
  GoldenCase golden;
  json.at("input_ids").get_to(golden.input_ids);
  json.at("greedy_ids").get_to(golden.greedy_ids);
  json.at("router_expert_ids").get_to(golden.router_experts);
  golden.logits = Floats(tensors.Read("logits", "F32"));
  return golden;
}

std::vector<float> AllLogits(Engine& engine, const std::vector<TokenId>& ids) {
  return AllLogits(engine, ids, 0);
}

std::vector<float> AllLogits(Engine& engine, const std::vector<TokenId>& ids, std::size_t decoded) {
  Session session(engine);
  std::vector<float> all;
  const auto keep = [&all](std::size_t, std::span<const float> logits) {
    all.insert(all.end(), logits.begin(), logits.end());
  };
  const std::span<const TokenId> tokens(ids);
  const std::size_t prefilled = ids.size() - decoded;
  if (prefilled > 0) session.AppendAll(tokens.first(prefilled), keep);
  for (std::size_t i = prefilled; i < ids.size(); ++i) {
    keep(i, session.Append(tokens.subspan(i, 1)));
  }
  return all;
}

std::vector<TokenId> GreedyTokens(Engine& engine, const std::vector<TokenId>& prompt, int count) {
  Session session(engine);
  std::vector<TokenId> tokens;
  std::span<const float> logits = session.Append(prompt);
  for (int i = 0; i < count; ++i) {
    tokens.push_back(ArgMax(logits));
    if (i + 1 < count) logits = session.Append({&tokens.back(), 1});
  }
  return tokens;
}

void FlipBit(const fs::path& file, Bytes offset) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(offset));
  const int byte = stream.get();
  stream.seekp(static_cast<std::streamoff>(offset));
  stream.put(static_cast<char>(byte ^ 1));
  if (!stream.flush()) Throw("cannot change '{}'", file.string());
}

RouterObserver RouteRecorder::Observer(int experts_per_token) {
  return [this, experts_per_token](LayerId layer, int first_position,
                                   std::span<const RoutedExpert> routed) {
    for (std::size_t i = 0; i < routed.size(); ++i) {
      const int position = first_position + static_cast<int>(i) / experts_per_token;
      routes_[{layer.value, position}].push_back(routed[i].expert.value);
    }
    for (auto& [key, experts] : routes_) std::sort(experts.begin(), experts.end());
  };
}

}  // namespace doppler
