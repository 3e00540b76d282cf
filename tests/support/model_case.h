// Models for tests: checkpoints from tests/data converted into temporary folders, and what an
// independent implementation computes from them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "convert/convert.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "io/file.h"

namespace doppler {

std::filesystem::path DataFolder();
// The model that ships with the project, 24 experts in each of 6 layers.
std::filesystem::path DemoCheckpoint();

// The first ids of a text that the demo model was not trained on, in rows of 1024.
std::vector<TokenId> HeldOutIds(std::size_t count);

// An artifact in a temporary folder.
class ConvertedModel {
 public:
  explicit ConvertedModel(const std::filesystem::path& checkpoint,
                          ShardingStrategy sharding = ShardingStrategy::kExpert,
                          std::optional<DType> quantize = std::nullopt,
                          std::optional<WeightLayout> layout = std::nullopt);
  const std::filesystem::path& path() const { return path_; }

 private:
  TempFolder folder_;
  std::filesystem::path path_;
};

// How many of an artifact's tensors are in groups of rows.
std::size_t GroupedTensors(const std::filesystem::path& model);

// Converts the demo model into a folder that is not there yet.
void ConvertDemoModel(const std::filesystem::path& output);

// The demo model, converted, in a temporary folder of its own: copied from the folder that
// DOPPLER_DEMO_MODEL names (convert_demo), or else converted here.
class DemoCopy {
 public:
  DemoCopy();
  const std::filesystem::path& path() const { return path_; }

 private:
  TempFolder folder_;
  std::filesystem::path path_;
};

// One for all tests of this process, which leave it as it is.
const std::filesystem::path& DemoModel();

// tests/data/golden/NAME: what Hugging Face transformers computes in float32.
struct GoldenCase {
  std::vector<TokenId> input_ids;                             // [40]
  std::vector<float> logits;                                  // [40, 320]
  std::vector<TokenId> greedy_ids;                            // [24]
  std::vector<std::vector<std::vector<int>>> router_experts;  // [moe layer][token], sorted
};
GoldenCase LoadGoldenCase(const std::string& name);

// The logits after each of `ids`, [ids, vocab_size], by sessions of their own.
std::vector<float> AllLogits(Engine& engine, const std::vector<TokenId>& ids);
// The same, with the last `decoded` ids appended one by one.
std::vector<float> AllLogits(Engine& engine, const std::vector<TokenId>& ids, std::size_t decoded);

// `count` greedy tokens after `prompt`.
std::vector<TokenId> GreedyTokens(Engine& engine, const std::vector<TokenId>& prompt, int count);

// Damages a file: inverts the lowest bit of one byte. Twice restores it.
void FlipBit(const std::filesystem::path& file, Bytes offset);

// Records every router's choices, sorted, by layer and position.
class RouteRecorder {
 public:
  RouterObserver Observer(int experts_per_token);
  const std::map<std::pair<int, int>, std::vector<int>>& routes() const { return routes_; }

 private:
  std::map<std::pair<int, int>, std::vector<int>> routes_;
};

}  // namespace doppler
