#include "convert/sample_checkpoint.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/float16.h"
#include "convert/checkpoint.h"
#include "format/safetensors.h"
#include "io/file.h"
#include "model/families.h"

namespace doppler {
namespace {

using nlohmann::json;

std::vector<std::byte> RandomBf16(std::size_t count, std::uint32_t& state) {
  std::vector<std::uint16_t> values(count);
  for (std::uint16_t& value : values) {
    state = state * 1664525 + 1013904223;
    value = FloatToBf16(static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-33f);
  }
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

std::size_t Elements(const TensorSpec& spec) {
  std::int64_t count = 1;
  for (const std::int64_t extent : spec.shape) count *= extent;
  return static_cast<std::size_t>(count);
}

// The tensors of a file to be, and the bytes of those that are stacked from several.
struct HubFile {
  std::vector<SafetensorsOutput> tensors;
  std::vector<std::vector<std::byte>> stacked;

  void Add(const std::string& name, std::vector<std::int64_t> shape,
           std::span<const std::byte> bytes) {
    tensors.push_back({name, "BF16", std::move(shape), bytes});
  }
};

std::string HubName(const SampleModel& sample, const TensorSpec& spec) {
  if (spec.name.starts_with("lm_head.")) return spec.name;
  std::string name = spec.name;
  const auto replace = [&name](const std::string& from, const std::string& to) {
    const std::size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
  };
  if (sample.config.family == "gpt_oss") replace("mlp.gate.", "mlp.router.");
  if (sample.config.family == "mixtral" || sample.config.family == "phimoe") {
    replace("mlp.", "block_sparse_moe.");
    replace("gate_proj", "w1");
    replace("up_proj", "w3");
    replace("down_proj", "w2");
  }
  return "model." + name;
}

// Whether the hub stacks a layer's experts, and their biases, by columns.
bool HasColumnStacks(const SampleModel& sample) {
  return FamilyByName(sample.config.family).hub_columns_of_experts;
}

// Values of two bytes: matrix(rows, cols) as matrix(cols, rows).
std::vector<std::byte> Transpose(std::span<const std::byte> matrix, std::size_t cols) {
  const std::size_t rows = matrix.size() / 2 / cols;
  std::vector<std::byte> out(matrix.size());
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t col = 0; col < cols; ++col) {
      std::memcpy(&out[2 * (col * rows + row)], &matrix[2 * (row * cols + col)], 2);
    }
  }
  return out;
}

// a0 b0 a1 b1 ...
std::vector<std::byte> Alternate(std::span<const std::byte> a, std::span<const std::byte> b,
                                 std::size_t bytes) {
  std::vector<std::byte> out;
  for (std::size_t at = 0; at < a.size(); at += bytes) {
    for (const auto& from : {a, b}) {
      const auto part = from.subspan(at, bytes);
      out.insert(out.end(), part.begin(), part.end());
    }
  }
  return out;
}

// GPT-OSS: gate and up columns in turn in [experts, dim, 2 * ffn], down in [experts, ffn, dim].
void StackColumns(const SampleModel& sample, LayerId layer, HubFile& file) {
  const ModelConfig& config = sample.config;
  const auto dim = static_cast<std::size_t>(config.model_dim);
  const auto ffn = static_cast<std::size_t>(config.expert_ffn_dim);
  const auto weights = [&](const std::string& part) -> const std::vector<std::byte>& {
    return sample.weights.at(LayerTensorName(layer, "mlp.experts." + part));
  };
  std::vector<std::byte> gate_up;
  std::vector<std::byte> down;
  for (int expert = 0; expert < config.num_experts; ++expert) {
    const auto projection = [&](const char* part) {
      return weights(fmt::format("{}.{}.weight", expert, part));
    };
    const std::vector<std::byte> rows =
        Alternate(projection("gate_proj"), projection("up_proj"), dim * 2);
    const std::vector<std::byte> columns = Transpose(rows, dim);
    gate_up.insert(gate_up.end(), columns.begin(), columns.end());
    const std::vector<std::byte> turned = Transpose(projection("down_proj"), ffn);
    down.insert(down.end(), turned.begin(), turned.end());
  }
  const auto add = [&](const char* part, std::vector<std::int64_t> shape,
                       std::vector<std::byte> bytes) {
    file.stacked.push_back(std::move(bytes));
    file.Add("model." + LayerTensorName(layer, std::string("mlp.experts.") + part),
             std::move(shape), file.stacked.back());
  };
  const std::int64_t experts = config.num_experts;
  add("gate_up_proj", {experts, config.model_dim, 2 * config.expert_ffn_dim}, gate_up);
  add("down_proj", {experts, config.expert_ffn_dim, config.model_dim}, down);
  add("gate_up_proj_bias", {experts, 2 * config.expert_ffn_dim},
      Alternate(weights("gate_proj.bias"), weights("up_proj.bias"), 2));
  add("down_proj_bias", {experts, config.model_dim}, weights("down_proj.bias"));
}

void StackExperts(const SampleModel& sample, LayerId layer, HubFile& file) {
  const ModelConfig& config = sample.config;
  std::vector<std::byte> gate_up;
  std::vector<std::byte> down;
  const auto append = [&](std::vector<std::byte>& to, const std::string& part, int expert) {
    const auto& bytes = sample.weights.at(
        LayerTensorName(layer, fmt::format("mlp.experts.{}.{}.weight", expert, part)));
    to.insert(to.end(), bytes.begin(), bytes.end());
  };
  for (int expert = 0; expert < config.num_experts; ++expert) {
    append(gate_up, "gate_proj", expert);
    append(gate_up, "up_proj", expert);
    append(down, "down_proj", expert);
  }
  file.stacked.push_back(std::move(gate_up));
  file.Add("model." + LayerTensorName(layer, "mlp.experts.gate_up_proj"),
           {config.num_experts, 2 * config.expert_ffn_dim, config.model_dim}, file.stacked.back());
  file.stacked.push_back(std::move(down));
  file.Add("model." + LayerTensorName(layer, "mlp.experts.down_proj"),
           {config.num_experts, config.model_dim, config.expert_ffn_dim}, file.stacked.back());
}

bool IsExpertBias(const TensorSpec& spec) {
  return spec.role == TensorRole::kBias && spec.shape.size() == 2;
}

HubFile CollectHub(const SampleModel& sample, bool stack) {
  HubFile file;
  const bool columns = HasColumnStacks(sample);
  for (const TensorSpec& spec : sample.specs) {
    if ((stack || columns) && (spec.expert >= 0 || IsExpertBias(spec))) continue;
    file.Add(HubName(sample, spec), spec.shape, sample.weights.at(spec.name));
  }
  for (int layer = 0; (stack || columns) && layer < sample.config.num_layers; ++layer) {
    (columns ? StackColumns : StackExperts)(sample, LayerId(layer), file);
  }
  return file;
}

void WriteIndexed(const HubFile& whole, const std::filesystem::path& folder) {
  constexpr std::size_t kFiles = 3;
  json weight_map;
  for (std::size_t number = 0; number < kFiles; ++number) {
    const std::string name = fmt::format("model-{:05}-of-00003.safetensors", number + 1);
    std::vector<SafetensorsOutput> part;
    for (std::size_t i = number; i < whole.tensors.size(); i += kFiles) {
      part.push_back(whole.tensors[i]);
      weight_map[whole.tensors[i].name] = name;
    }
    WriteSafetensors(folder / name, part);
  }
  const json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", weight_map}};
  WriteTextFile(folder / "model.safetensors.index.json", index.dump());
}

// llama.cpp's order: w.reshape(heads, 2, half, cols).swapaxes(1, 2).
std::vector<std::byte> Interleave(std::span<const std::byte> rows, std::size_t heads,
                                  std::size_t half, std::size_t row_bytes) {
  std::vector<std::byte> out;
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t j = 0; j < half; ++j) {
      for (std::size_t k = 0; k < 2; ++k) {
        const auto row = rows.subspan(((head * 2 + k) * half + j) * row_bytes, row_bytes);
        out.insert(out.end(), row.begin(), row.end());
      }
    }
  }
  return out;
}

void AddMetadata(const SampleModel& sample, GgufBuilder& builder) {
  const ModelConfig& config = sample.config;
  const std::string architecture(FamilyByName(config.family).gguf_architecture);
  const auto number = [&](const std::string& key, int value) {
    builder.AddUint32(architecture + "." + key, static_cast<std::uint32_t>(value));
  };
  builder.AddString("general.architecture", architecture);
  number("block_count", config.num_layers);
  number("context_length", config.context_length);
  number("embedding_length", config.model_dim);
  number("feed_forward_length", std::max(config.ffn_dim, config.expert_ffn_dim));
  number("attention.head_count", config.num_heads);
  number("attention.head_count_kv", config.num_kv_heads);
  number("attention.key_length", config.head_dim);
  builder.AddFloat(architecture + ".attention.layer_norm_rms_epsilon", config.norm_epsilon);
  builder.AddFloat(architecture + ".rope.freq_base", static_cast<float>(config.rope_theta));
  if (!config.layer_windows.empty()) number("attention.sliding_window", config.layer_windows[0]);
  if (config.num_experts > 0) {
    number("expert_count", config.num_experts);
    number("expert_used_count", config.experts_per_token);
  }
  builder.AddString("tokenizer.ggml.model", "gpt2");
  builder.AddString("tokenizer.ggml.pre", "qwen2");
  std::vector<std::string> tokens;
  tokens.reserve(static_cast<std::size_t>(config.vocab_size));
  for (int i = 0; i < config.vocab_size; ++i)
    tokens.push_back(std::string(1, static_cast<char>('A' + i)));
  builder.AddStrings("tokenizer.ggml.tokens", tokens);
  builder.AddStrings("tokenizer.ggml.merges", {});
  builder.AddUint32("tokenizer.ggml.eos_token_id", 1);
}

const std::map<std::string, std::string>& GgufWords() {
  static const std::map<std::string, std::string> kWords = {
      {"embed_tokens", "token_embd"},
      {"norm", "output_norm"},
      {"lm_head", "output"},
      {"input_layernorm", "attn_norm"},
      {"q_proj", "attn_q"},
      {"k_proj", "attn_k"},
      {"v_proj", "attn_v"},
      {"o_proj", "attn_output"},
      {"q_norm", "attn_q_norm"},
      {"k_norm", "attn_k_norm"},
      {"self_attn", "attn_sinks"},  // of self_attn.sinks
      {"gate", "ffn_gate_inp"},
      {"gate_proj", "ffn_gate"},
      {"up_proj", "ffn_up"},
      {"down_proj", "ffn_down"},
      {"post_attention_layernorm", "ffn_norm"}};
  return kWords;
}

std::string SampleGgufName(const SampleModel& sample, const TensorSpec& spec) {
  const std::string part(PartOf(spec.name));
  std::string word = GgufWords().at(part);
  if (spec.expert >= 0 || IsExpertBias(spec)) word += "_exps";
  if (word == "ffn_norm" && sample.config.family == "gpt_oss") word = "post_attention_norm";
  return fmt::format("{}{}{}", spec.layer < 0 ? "" : fmt::format("blk.{}.", spec.layer), word,
                     spec.name.ends_with(".bias") ? ".bias" : ".weight");
}

}  // namespace

std::vector<std::byte> WidenBf16(std::span<const std::byte> weights) {
  std::vector<std::byte> wide(weights.size() * 2);
  for (std::size_t i = 0; i < weights.size(); i += 2) {
    std::memcpy(wide.data() + 2 * i + 2, weights.data() + i, 2);
  }
  return wide;
}

bool IsWideInGguf(const TensorSpec& spec) {
  return spec.role == TensorRole::kNorm || spec.role == TensorRole::kBias ||
         spec.role == TensorRole::kRouter;
}

SampleModel MakeSample(const std::string& family, int model_dim) {
  SampleModel sample;
  const Family& traits = FamilyByName(family);
  ModelConfig& config = sample.config;
  config = StartConfig(traits);
  config.num_layers = 2;
  config.model_dim = model_dim;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 32;
  config.context_length = 128;
  config.norm_epsilon = 1e-5F;
  config.rope_theta = 10000;
  (traits.experts ? config.expert_ffn_dim : config.ffn_dim) = 96;
  config.num_experts = traits.experts ? 4 : 0;
  config.experts_per_token = traits.experts ? 2 : 0;
  if (family == "gpt_oss") config.layer_windows = {32, 0};
  config.head_bias = family == "phimoe";
  sample.specs = ExpectedTensors(sample.config);
  std::uint32_t state = 1;
  for (const TensorSpec& spec : sample.specs) {
    sample.weights[spec.name] = RandomBf16(Elements(spec), state);
  }
  return sample;
}

std::string HubConfigJson(const ModelConfig& config) {
  const Family& family = FamilyByName(config.family);
  json document = {{"model_type", family.hub_model_type},
                   {"num_hidden_layers", config.num_layers},
                   {"hidden_size", config.model_dim},
                   {"num_attention_heads", config.num_heads},
                   {"num_key_value_heads", config.num_kv_heads},
                   {"head_dim", config.head_dim},
                   {"vocab_size", config.vocab_size},
                   {"max_position_embeddings", config.context_length},
                   {"intermediate_size", std::max(config.ffn_dim, config.expert_ffn_dim)},
                   {"rms_norm_eps", 1e-5},
                   {"rope_theta", config.rope_theta},
                   {"attention_bias", config.attention_bias},
                   {"lm_head_bias", config.head_bias},
                   {"tie_word_embeddings", config.tied_embeddings}};
  if (!config.layer_windows.empty()) document["sliding_window"] = config.layer_windows[0];
  for (const int window : config.layer_windows) {
    document["layer_types"].push_back(window > 0 ? "sliding_attention" : "full_attention");
  }
  if (family.experts) {
    document["num_experts"] = config.num_experts;
    document["num_experts_per_tok"] = config.experts_per_token;
  }
  return document.dump();
}

void WriteHub(const SampleModel& sample, const std::filesystem::path& folder, HubStyle style) {
  WriteTextFile(folder / "config.json", HubConfigJson(sample.config));
  WriteTextFile(folder / "tokenizer.json", "{}");
  const HubFile file = CollectHub(sample, style == HubStyle::kStacked);
  if (style == HubStyle::kIndexed) {
    WriteIndexed(file, folder);
  } else {
    WriteSafetensors(folder / "model.safetensors", file.tensors);
  }
}

GgufBuilder BuildGguf(const SampleModel& sample) {
  constexpr std::uint32_t kF32 = 0;
  constexpr std::uint32_t kBf16 = 30;
  GgufBuilder builder;
  AddMetadata(sample, builder);
  std::map<std::string, std::vector<std::byte>> stacks;
  for (const TensorSpec& spec : sample.specs) {
    const std::string part(PartOf(spec.name));
    const std::string name = SampleGgufName(sample, spec);
    const std::vector<std::uint64_t> dims(spec.shape.rbegin(), spec.shape.rend());
    std::vector<std::byte> bytes = sample.weights.at(spec.name);
    if (spec.expert >= 0) {
      std::vector<std::byte>& stack = stacks[name];
      stack.insert(stack.end(), bytes.begin(), bytes.end());
      if (spec.expert + 1 == sample.config.num_experts) {
        builder.AddTensor(name, {dims[0], dims[1], 4}, kBf16, stack);
      }
      continue;
    }
    const bool rotary = part == "q_proj" || part == "k_proj";
    if (rotary && FamilyByName(sample.config.family).gguf_interleaved_rope) {
      const auto half = static_cast<std::size_t>(sample.config.head_dim / 2);
      bytes = Interleave(bytes, dims[1] / (2 * half), half, dims[0] * 2);
    }
    const bool wide = IsWideInGguf(spec);
    builder.AddTensor(name, dims, wide ? kF32 : kBf16, wide ? WidenBf16(bytes) : bytes);
  }
  return builder;
}

}  // namespace doppler
