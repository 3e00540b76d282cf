// GGUF files of deepseek2 as they were before llama.cpp split the latent projection, made from the
// hub checkpoint of the same weights: both must give the same bits.

#include <cstring>

#include <gtest/gtest.h>

#include "base/error.h"
#include "format/gguf_builder.h"
#include "format/safetensors.h"
#include "model/tensors.h"
#include "support/model_case.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kGgufF32 = 0;
constexpr std::uint32_t kGgufBf16 = 30;

// Hub parts of a layer and GGUF's, the longer before those that they contain.
constexpr std::pair<std::string_view, std::string_view> kOlderParts[] = {
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"self_attn.q_a_proj", "attn_q_a"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm"},
    {"self_attn.q_b_proj", "attn_q_b"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
    {"self_attn.kv_b_proj", "attn_kv_b"},
    {"self_attn.o_proj", "attn_output"},
    {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
    {"mlp.gate.weight", "ffn_gate_inp.weight"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"layers.", "blk."},
    {"embed_tokens", "token_embd"},
    {"lm_head", "output"},
};

std::string OlderName(std::string name) {
  if (name == "norm.weight") return "output_norm.weight";
  for (const auto& [from, to] : kOlderParts) {
    const std::size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
  }
  return name;
}

class OlderGguf {
 public:
  OlderGguf() : config_(Config()), hub_(Folder() / "model.safetensors") {
    AddKeys();
    for (const TensorSpec& spec : ExpectedTensors(config_)) {
      if (spec.role != TensorRole::kExpert) Add(spec);
    }
    for (int layer = 1; layer < config_.num_layers; ++layer) {
      for (const char* const part : {"gate", "up", "down"}) AddExperts(layer, part);
    }
  }

  // What a file may hold without it being part of the model.
  void AddWhatIsNotUsed() {
    const std::vector<std::byte> bytes(64 * 2);
    builder_.AddTensor("blk.3.nextn.enorm.weight", {64}, kGgufBf16, bytes);
    builder_.AddTensor("blk.0.attn_k_b.weight", {64}, kGgufBf16, bytes);
    builder_.AddTensor("blk.0.attn_v_b.weight", {64}, kGgufBf16, bytes);
  }
  void AddBlockCount(int count) {
    builder_.AddUint32("deepseek2.block_count", static_cast<std::uint32_t>(count));
  }
  GgufBuilder& builder() { return builder_; }

  static fs::path Folder() { return DataFolder() / "golden" / "deepseek-v3"; }

 private:
  static ModelConfig Config() {
    return ConfigFromHub(ReadTextFile(Folder() / "config.json"), "config.json");
  }

  void AddKeys() {
    const auto number = [this](const char* key, int value) {
      builder_.AddUint32(std::string("deepseek2.") + key, static_cast<std::uint32_t>(value));
    };
    builder_.AddString("general.architecture", "deepseek2");
    number("context_length", config_.context_length);
    number("embedding_length", config_.model_dim);
    number("feed_forward_length", config_.ffn_dim);
    number("attention.head_count", config_.num_heads);
    number("attention.head_count_kv", config_.num_heads);
    number("attention.key_length", config_.head_dim);
    number("attention.value_length", config_.value_head_dim);
    number("attention.q_lora_rank", config_.q_lora_rank);
    number("attention.kv_lora_rank", config_.kv_lora_rank);
    number("rope.dimension_count", config_.rope_head_dim);
    number("leading_dense_block_count", 1);
    number("expert_count", config_.num_experts);
    number("expert_used_count", config_.experts_per_token);
    number("expert_shared_count", 1);
    number("expert_feed_forward_length", config_.expert_ffn_dim);
    number("expert_group_count", config_.expert_groups);
    number("expert_group_used_count", config_.expert_groups_used);
    number("expert_gating_func", 2);
    number("rope.scaling.original_context_length", 16);
    builder_.AddBool("deepseek2.expert_weights_norm", true);
    builder_.AddFloat("deepseek2.expert_weights_scale", config_.expert_weight_scale);
    builder_.AddFloat("deepseek2.attention.layer_norm_rms_epsilon", config_.norm_epsilon);
    builder_.AddFloat("deepseek2.rope.freq_base", 10000);
    builder_.AddString("deepseek2.rope.scaling.type", "yarn");
    builder_.AddFloat("deepseek2.rope.scaling.factor", 40);
    builder_.AddFloat("deepseek2.rope.scaling.yarn_log_multiplier", 0.1f);
  }

  void Add(const TensorSpec& spec) {
    const bool whole = spec.name == "lm_head.weight";
    const std::string hub_name = whole ? spec.name : "model." + spec.name;
    const std::string dtype = hub_.Tensor(hub_name).dtype;
    std::vector<std::uint64_t> dims(spec.shape.rbegin(), spec.shape.rend());
    builder_.AddTensor(OlderName(spec.name), dims, dtype == "F32" ? kGgufF32 : kGgufBf16,
                       hub_.Read(hub_name, dtype));
  }

  void AddExperts(int layer, const std::string& part) {
    std::vector<std::byte> all;
    for (int expert = 0; expert < config_.num_experts; ++expert) {
      const std::string name =
          "model." + LayerTensorName(LayerId(layer), "mlp.experts." + std::to_string(expert) + "." +
                                                         part + "_proj.weight");
      const std::vector<std::byte> one = hub_.Read(name, "BF16");
      all.insert(all.end(), one.begin(), one.end());
    }
    const bool down = part == "down";
    const auto rows = static_cast<std::uint64_t>(down ? config_.model_dim : config_.expert_ffn_dim);
    const auto cols = static_cast<std::uint64_t>(down ? config_.expert_ffn_dim : config_.model_dim);
    builder_.AddTensor("blk." + std::to_string(layer) + ".ffn_" + part + "_exps.weight",
                       {cols, rows, static_cast<std::uint64_t>(config_.num_experts)}, kGgufBf16,
                       all);
  }

  ModelConfig config_;
  SafetensorsFile hub_;
  GgufBuilder builder_;
};

std::vector<float> OlderLogits(const fs::path& model) {
  EngineOptions options;
  options.with_tokenizer = false;
  options.logit_rows = 8;
  Engine engine(model, options);
  return AllLogits(engine, LoadGoldenCase("deepseek-v3").input_ids);
}

void ExpectTheHubsBits(GgufBuilder& builder) {
  const TempFolder folder;
  WriteTextFile(folder.path() / "older.gguf", builder.Build());
  ConvertOptions options;
  options.checkpoint = folder.path() / "older.gguf";
  options.output = folder.path() / "model";
  options.allow_missing_tokenizer = true;
  Convert(options, [](Bytes, Bytes) {});
  const ConvertedModel hub(OlderGguf::Folder());
  const std::vector<float> expected = OlderLogits(hub.path());
  const std::vector<float> logits = OlderLogits(options.output);
  ASSERT_EQ(logits.size(), expected.size());
  EXPECT_EQ(std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)), 0);
}

TEST(OlderDeepSeekGguf, AJoinedProjectionGivesTheHubsBits) {
  OlderGguf file;
  file.AddBlockCount(3);
  ExpectTheHubsBits(file.builder());
}

TEST(OlderDeepSeekGguf, PredictionLayersAndSplitCopiesAreLeftOut) {
  OlderGguf file;
  file.AddBlockCount(4);
  file.builder().AddUint32("deepseek2.nextn_predict_layers", 1);
  file.AddWhatIsNotUsed();
  ExpectTheHubsBits(file.builder());
}

// The hub's prediction layers are numbered after the last layer.
TEST(DeepSeekHub, PredictionLayersAreLeftOut) {
  const TempFolder folder;
  const fs::path copy = folder.path() / "deepseek-v3";
  fs::copy(OlderGguf::Folder(), copy);
  const SafetensorsFile file(copy / "model.safetensors");
  std::vector<SafetensorsOutput> tensors;
  std::vector<std::vector<std::byte>> bytes;
  for (const auto& [name, tensor] : file.tensors()) {
    bytes.push_back(file.Read(name, tensor.dtype));
    tensors.push_back({name, tensor.dtype, tensor.shape, bytes.back()});
  }
  const std::vector<std::byte> extra(64 * 2);
  tensors.push_back({"model.layers.3.enorm.weight", "BF16", {64}, extra});
  WriteSafetensors(copy / "with.safetensors", tensors);
  fs::rename(copy / "with.safetensors", copy / "model.safetensors");
  EXPECT_NO_THROW(ConvertedModel{copy});

  tensors.push_back({"model.layers.2.enorm.weight", "BF16", {64}, extra});
  WriteSafetensors(copy / "with.safetensors", tensors);
  fs::rename(copy / "with.safetensors", copy / "model.safetensors");
  EXPECT_THROW(ConvertedModel{copy}, Error);
}

}  // namespace
}  // namespace doppler
