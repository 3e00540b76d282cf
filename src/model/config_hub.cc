// config.json of a hub checkpoint.
#include <algorithm>
#include <cmath>

#include "format/json.h"
#include "model/config.h"
#include "model/families.h"

namespace doppler {
namespace {

std::vector<float> Floats(const JsonReader& list) {
  const std::vector<double> numbers = list.Numbers();
  return {numbers.begin(), numbers.end()};
}

double Original(const JsonReader& scaling) {
  return scaling.Member("original_max_position_embeddings").Number();
}

RopeScaling Llama3(const JsonReader& scaling, const ModelConfig& config) {
  const Llama3Scaling llama3 = {.factor = scaling.Member("factor").Number(),
                                .low_freq_factor = scaling.Member("low_freq_factor").Number(),
                                .high_freq_factor = scaling.Member("high_freq_factor").Number(),
                                .original_context = Original(scaling)};
  return {.factors = Llama3RopeFactors(llama3, config.rope_theta, config.RotaryDim())};
}

RopeScaling Yarn(const JsonReader& scaling, const ModelConfig& config) {
  const YarnScaling yarn = {.factor = scaling.Member("factor").Number(),
                            .original_context = Original(scaling),
                            .beta_fast = scaling.NumberOr("beta_fast", 32),
                            .beta_slow = scaling.NumberOr("beta_slow", 1),
                            .truncate = scaling.BoolOr("truncate", true)};
  double magnitude = YarnMagnitude(yarn.factor);
  if (scaling.Has("attention_factor")) {
    magnitude = scaling.Member("attention_factor").Number();
  } else if (scaling.Has("mscale") && scaling.Has("mscale_all_dim")) {
    magnitude = YarnMagnitude(yarn.factor, scaling.Member("mscale").Number()) /
                YarnMagnitude(yarn.factor, scaling.Member("mscale_all_dim").Number());
  }
  return {.factors = YarnRopeFactors(yarn, config.rope_theta, config.RotaryDim()),
          .magnitude = static_cast<float>(magnitude)};
}

// Two lists of factors, one for texts within the context that the model was first trained with and
// one for longer texts.
void ReadLongRope(const JsonReader& scaling, const JsonReader& json, ModelConfig& config) {
  config.long_rope_from = json.Has("original_max_position_embeddings")
                              ? json.Member("original_max_position_embeddings").Int()
                              : scaling.Member("original_max_position_embeddings").Int();
  const double magnitude = scaling.NumberOr(
      "attention_factor", LongRopeMagnitude(config.context_length, config.long_rope_from));
  config.rope_scaling = {
      .factors = Floats(scaling.Member("short_factor")),
      .magnitude = static_cast<float>(scaling.NumberOr("short_mscale", magnitude))};
  config.long_rope_scaling = {
      .factors = Floats(scaling.Member("long_factor")),
      .magnitude = static_cast<float>(scaling.NumberOr("long_mscale", magnitude))};
}

void ReadScaling(const JsonReader& scaling, const JsonReader& json, ModelConfig& config) {
  const std::string type = scaling.StringOr("rope_type", scaling.StringOr("type", "default"));
  if (type == "default") return;
  if (type == "llama3") {
    config.rope_scaling = Llama3(scaling, config);
  } else if (type == "linear") {
    config.rope_scaling.factors.assign(static_cast<std::size_t>(config.RotaryDim() / 2),
                                       static_cast<float>(scaling.Member("factor").Number()));
  } else if (type == "yarn") {
    config.rope_scaling = Yarn(scaling, config);
    // DeepSeek scales the scores too. Its published model code squares the magnitude.
    if (config.IsLatent() && scaling.Has("mscale_all_dim")) {
      const double magnitude = YarnMagnitude(scaling.Member("factor").Number(),
                                             scaling.Member("mscale_all_dim").Number());
      config.attention_scale = static_cast<float>(magnitude * magnitude);
    }
  } else if (type == "longrope") {
    ReadLongRope(scaling, json, config);
  } else {
    scaling.Fail(
        "the position scaling '{}' is not supported; supported are default, linear, llama3, yarn "
        "and longrope",
        type);
  }
}

void ReadRope(const JsonReader& json, ModelConfig& config) {
  if (json.Has("rope_parameters")) {
    const JsonReader rope = json.Member("rope_parameters");
    config.rope_theta = rope.Member("rope_theta").Number();
    ReadScaling(rope, json, config);
    return;
  }
  config.rope_theta = json.NumberOr("rope_theta", 10000.0);
  if (json.Has("rope_scaling")) ReadScaling(json.Member("rope_scaling"), json, config);
}

// The name under which families know one number; the first that is there.
const char* FirstOf(const JsonReader& json, std::initializer_list<const char*> names) {
  for (const char* const name : names) {
    if (json.Has(name)) return name;
  }
  return *names.begin();
}

void ReadRouting(const JsonReader& json, ModelConfig& config) {
  config.normalize_expert_weights = json.BoolOr("norm_topk_prob", true);
  config.expert_weight_scale = static_cast<float>(json.NumberOr("routed_scaling_factor", 1));
  config.expert_groups = json.IntOr("n_group", 1);
  config.expert_groups_used = json.IntOr("topk_group", 1);
  config.router_jitter =
      static_cast<float>(json.NumberOr("router_jitter_noise", double{config.router_jitter}));
  const bool sigmoid = config.routing == RoutingKind::kSigmoid;
  const char* const scores = sigmoid ? "sigmoid" : "softmax";
  const char* const method = sigmoid ? "noaux_tc" : "greedy";
  const std::string asked_scores = json.StringOr("scoring_func", scores);
  const std::string asked_method = json.StringOr("topk_method", method);
  if (asked_scores != scores || asked_method != method) {
    json.Fail("routing by '{}' and '{}' is not supported; supported is {} with {} for this model",
              asked_scores, asked_method, scores, method);
  }
}

void ReadExperts(const JsonReader& json, ModelConfig& config) {
  config.num_experts =
      json.Member(FirstOf(json, {"num_experts", "num_local_experts", "n_routed_experts"})).Int();
  config.experts_per_token = json.Member("num_experts_per_tok").Int();
  config.expert_ffn_dim =
      json.Member(FirstOf(json, {"moe_intermediate_size", "intermediate_size"})).Int();
  config.shared_ffn_dim = SharedFfnDim(json.IntOr("n_shared_experts", 0), config.expert_ffn_dim);
  ReadRouting(json, config);
  const int step = json.IntOr(FirstOf(json, {"decoder_sparse_step", "moe_layer_freq"}), 1);
  if (step < 1) json.Fail("'decoder_sparse_step' must be at least 1");
  const int leading = json.IntOr("first_k_dense_replace", 0);
  const std::vector<int> listed =
      json.Has("mlp_only_layers") ? json.Member("mlp_only_layers").Ints() : std::vector<int>();
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const bool dense = layer < leading || (layer + 1) % step != 0 ||
                       std::find(listed.begin(), listed.end(), layer) != listed.end();
    if (dense) config.dense_layers.push_back(layer);
  }
}

// The layers that see only the last positions: those that `layer_types` lists, or those from
// `max_window_layers` on, or all.
void ReadWindows(const JsonReader& json, const Family& family, ModelConfig& config) {
  if (!json.Has("sliding_window") || !json.BoolOr("use_sliding_window", true)) return;
  const int window = json.Member("sliding_window").Int();
  if (window == 0 || window >= config.context_length) return;
  const std::vector<std::string> types =
      json.Has("layer_types") ? json.Member("layer_types").Strings() : std::vector<std::string>();
  if (!types.empty() && types.size() != static_cast<std::size_t>(config.num_layers)) {
    json.Fail("'layer_types' has {} entries for {} layers", types.size(), config.num_layers);
  }
  const int first = json.Has("use_sliding_window") ? json.IntOr("max_window_layers", 0) : 0;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const bool listed = types.empty()
                            ? layer >= first && layer % family.traits.window_every == 0
                            : types[static_cast<std::size_t>(layer)] == "sliding_attention";
    config.layer_windows.push_back(listed ? window : 0);
  }
}

void ReadLatent(const JsonReader& json, ModelConfig& config) {
  config.q_lora_rank = json.IntOr("q_lora_rank", 0);
  config.kv_lora_rank = json.Member("kv_lora_rank").Int();
  config.rope_head_dim = json.Member("qk_rope_head_dim").Int();
  config.value_head_dim = json.Member("v_head_dim").Int();
  const int plain = json.Member("qk_nope_head_dim").Int();
  if (plain > 4096 || config.rope_head_dim > 4096) {
    json.Fail("a head of {} and {} values is out of range", plain, config.rope_head_dim);
  }
  config.head_dim = plain + config.rope_head_dim;
  config.num_kv_heads = config.num_heads;
  config.rope_interleaved = json.BoolOr("rope_interleave", true);
}

// Features that would change the answer and that this version does not compute.
void RefuseUnsupported(const JsonReader& json) {
  if (json.BoolOr("mlp_bias", false)) {
    json.Fail("this model needs 'mlp_bias', which is not supported");
  }
  const std::string activation = json.StringOr("hidden_act", "silu");
  if (activation != "silu") {
    json.Fail("the activation '{}' is not supported; supported is silu", activation);
  }
}

ModelConfig Read(const JsonReader& json) {
  const Family& family = FamilyByHubType(json.StringOr("model_type", ""), json.where());
  RefuseUnsupported(json);
  ModelConfig config = StartConfig(family);
  config.num_layers = json.Member("num_hidden_layers").Int();
  config.model_dim = json.Member("hidden_size").Int();
  config.num_heads = json.Member("num_attention_heads").Int();
  config.num_kv_heads = json.IntOr("num_key_value_heads", config.num_heads);
  config.head_dim = json.IntOr("head_dim", config.model_dim / std::max(config.num_heads, 1));
  config.vocab_size = json.Member("vocab_size").Int();
  config.context_length = json.Member("max_position_embeddings").Int();
  config.norm_epsilon = static_cast<float>(json.Member("rms_norm_eps").Number());
  config.tied_embeddings = json.BoolOr("tie_word_embeddings", false);
  config.attention_bias = json.BoolOr("attention_bias", config.attention_bias);
  config.head_bias = json.BoolOr("lm_head_bias", false);
  config.swiglu_limit =
      static_cast<float>(json.NumberOr("swiglu_limit", double{config.swiglu_limit}));
  if (family.traits.latent_attention) ReadLatent(json, config);
  // Checked here already: the layer count and head size bound the loops below.
  if (config.num_layers > 4096 || config.head_dim > 4096) ValidateConfig(config, json.where());
  ReadRope(json, config);
  ReadWindows(json, family, config);
  if (family.experts) ReadExperts(json, config);
  if (config.NumMoeLayers() < config.num_layers)
    config.ffn_dim = json.Member("intermediate_size").Int();
  return config;
}

}  // namespace

ModelConfig ConfigFromHub(std::string_view config_json, const std::string& where) {
  const nlohmann::json document = ParseStrictJson(config_json, where);
  ModelConfig config = Read(JsonReader(document, where));
  ValidateConfig(config, where);
  return config;
}

}  // namespace doppler
