// config.json of a hub checkpoint.
#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/config.h"
#include "model/families.h"

namespace doppler {
namespace {

using Json = nlohmann::json;

// Reads keys of one object, naming the file and the key in every message.
class Reader {
 public:
  Reader(const Json& json, const std::string& where) : json_(json), where_(where) {
    if (!json.is_object()) Throw("{}: this is not a JSON object", where);
  }

  bool Has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }

  int Int(const char* key) const {
    const Json& value = Need(key);
    if (!value.is_number_integer()) Throw("{}: '{}' must be an integer", where_, key);
    // Unsigned values beyond int64 would wrap to negative numbers here, which ranges refuse too.
    const auto number = value.get<std::int64_t>();
    if (number < 0 || number > std::numeric_limits<int>::max()) {
      Throw("{}: '{}' is {}, which is out of range", where_, key, number);
    }
    return static_cast<int>(number);
  }
  int Int(const char* key, int otherwise) const { return Has(key) ? Int(key) : otherwise; }

  double Number(const char* key) const {
    const Json& value = Need(key);
    if (!value.is_number()) Throw("{}: '{}' must be a number", where_, key);
    return value.get<double>();
  }
  double Number(const char* key, double otherwise) const {
    return Has(key) ? Number(key) : otherwise;
  }

  bool Bool(const char* key, bool otherwise) const {
    if (!Has(key)) return otherwise;
    if (!json_.at(key).is_boolean()) Throw("{}: '{}' must be true or false", where_, key);
    return json_.at(key).get<bool>();
  }

  std::string String(const char* key, const std::string& otherwise) const {
    if (!Has(key)) return otherwise;
    if (!json_.at(key).is_string()) Throw("{}: '{}' must be a string", where_, key);
    return json_.at(key).get<std::string>();
  }

  Reader Object(const char* key) const { return {Need(key), where_ + ": " + key}; }

  std::vector<int> Ints(const char* key) const {
    std::vector<int> values;
    if (!Has(key)) return values;
    for (const Json& item : List(key)) {
      if (!item.is_number_integer()) Throw("{}: '{}' must hold integers", where_, key);
      const auto number = item.get<std::int64_t>();
      if (number < 0 || number > std::numeric_limits<int>::max()) {
        Throw("{}: '{}' holds {}, which is out of range", where_, key, number);
      }
      values.push_back(static_cast<int>(number));
    }
    return values;
  }

  std::vector<float> Floats(const char* key) const {
    std::vector<float> values;
    for (const Json& item : List(key)) {
      if (!item.is_number()) Throw("{}: '{}' must hold numbers", where_, key);
      values.push_back(static_cast<float>(item.get<double>()));
    }
    return values;
  }

  std::vector<std::string> Strings(const char* key) const {
    std::vector<std::string> values;
    if (!Has(key)) return values;
    for (const Json& item : List(key)) {
      if (!item.is_string()) Throw("{}: '{}' must hold strings", where_, key);
      values.push_back(item.get<std::string>());
    }
    return values;
  }

  const std::string& where() const { return where_; }

 private:
  const Json& List(const char* key) const {
    const Json& list = Need(key);
    if (!list.is_array()) Throw("{}: '{}' must be a list", where_, key);
    return list;
  }

  const Json& Need(const char* key) const {
    if (!Has(key)) Throw("{}: '{}' is missing", where_, key);
    return json_.at(key);
  }

  const Json& json_;
  std::string where_;
};

double Original(const Reader& scaling) {
  return scaling.Number("original_max_position_embeddings");
}

RopeScaling Llama3(const Reader& scaling, const ModelConfig& config) {
  const Llama3Scaling llama3 = {.factor = scaling.Number("factor"),
                                .low_freq_factor = scaling.Number("low_freq_factor"),
                                .high_freq_factor = scaling.Number("high_freq_factor"),
                                .original_context = Original(scaling)};
  return {.factors = Llama3RopeFactors(llama3, config.rope_theta, config.RotaryDim())};
}

RopeScaling Yarn(const Reader& scaling, const ModelConfig& config) {
  const YarnScaling yarn = {.factor = scaling.Number("factor"),
                            .original_context = Original(scaling),
                            .beta_fast = scaling.Number("beta_fast", 32),
                            .beta_slow = scaling.Number("beta_slow", 1),
                            .truncate = scaling.Bool("truncate", true)};
  double magnitude = YarnMagnitude(yarn.factor);
  if (scaling.Has("attention_factor")) {
    magnitude = scaling.Number("attention_factor");
  } else if (scaling.Has("mscale") && scaling.Has("mscale_all_dim")) {
    magnitude = YarnMagnitude(yarn.factor, scaling.Number("mscale")) /
                YarnMagnitude(yarn.factor, scaling.Number("mscale_all_dim"));
  }
  return {.factors = YarnRopeFactors(yarn, config.rope_theta, config.RotaryDim()),
          .magnitude = static_cast<float>(magnitude)};
}

// Two lists of factors, one for texts within the context that the model was first trained with and
// one for longer texts.
void ReadLongRope(const Reader& scaling, const Reader& json, ModelConfig& config) {
  config.long_rope_from = json.Has("original_max_position_embeddings")
                              ? json.Int("original_max_position_embeddings")
                              : scaling.Int("original_max_position_embeddings");
  const double magnitude = scaling.Number(
      "attention_factor", LongRopeMagnitude(config.context_length, config.long_rope_from));
  config.rope_scaling = {
      .factors = scaling.Floats("short_factor"),
      .magnitude = static_cast<float>(scaling.Number("short_mscale", magnitude))};
  config.long_rope_scaling = {
      .factors = scaling.Floats("long_factor"),
      .magnitude = static_cast<float>(scaling.Number("long_mscale", magnitude))};
}

void ReadScaling(const Reader& scaling, const Reader& json, ModelConfig& config) {
  const std::string type = scaling.String("rope_type", scaling.String("type", "default"));
  if (type == "default") return;
  if (type == "llama3") {
    config.rope_scaling = Llama3(scaling, config);
  } else if (type == "linear") {
    config.rope_scaling.factors.assign(static_cast<std::size_t>(config.RotaryDim() / 2),
                                       static_cast<float>(scaling.Number("factor")));
  } else if (type == "yarn") {
    config.rope_scaling = Yarn(scaling, config);
    // DeepSeek scales the scores too. Its published model code squares the magnitude.
    if (config.IsLatent() && scaling.Has("mscale_all_dim")) {
      const double magnitude =
          YarnMagnitude(scaling.Number("factor"), scaling.Number("mscale_all_dim"));
      config.attention_scale = static_cast<float>(magnitude * magnitude);
    }
  } else if (type == "longrope") {
    ReadLongRope(scaling, json, config);
  } else {
    Throw(
        "{}: the position scaling '{}' is not supported; supported are default, linear, llama3, "
        "yarn and longrope",
        scaling.where(), type);
  }
}

void ReadRope(const Reader& json, ModelConfig& config) {
  if (json.Has("rope_parameters")) {
    const Reader rope = json.Object("rope_parameters");
    config.rope_theta = rope.Number("rope_theta");
    ReadScaling(rope, json, config);
    return;
  }
  config.rope_theta = json.Number("rope_theta", 10000.0);
  if (json.Has("rope_scaling")) ReadScaling(json.Object("rope_scaling"), json, config);
}

// The name under which families know one number; the first that is there.
const char* FirstOf(const Reader& json, std::initializer_list<const char*> names) {
  for (const char* const name : names) {
    if (json.Has(name)) return name;
  }
  return *names.begin();
}

void ReadRouting(const Reader& json, ModelConfig& config) {
  config.normalize_expert_weights = json.Bool("norm_topk_prob", true);
  config.expert_weight_scale = static_cast<float>(json.Number("routed_scaling_factor", 1));
  config.expert_groups = json.Int("n_group", 1);
  config.expert_groups_used = json.Int("topk_group", 1);
  config.router_jitter =
      static_cast<float>(json.Number("router_jitter_noise", double{config.router_jitter}));
  const bool sigmoid = config.routing == RoutingKind::kSigmoid;
  const char* const scores = sigmoid ? "sigmoid" : "softmax";
  const char* const method = sigmoid ? "noaux_tc" : "greedy";
  const std::string asked_scores = json.String("scoring_func", scores);
  const std::string asked_method = json.String("topk_method", method);
  if (asked_scores != scores || asked_method != method) {
    Throw("{}: routing by '{}' and '{}' is not supported; supported is {} with {} for this model",
          json.where(), asked_scores, asked_method, scores, method);
  }
}

void ReadExperts(const Reader& json, ModelConfig& config) {
  config.num_experts =
      json.Int(FirstOf(json, {"num_experts", "num_local_experts", "n_routed_experts"}));
  config.experts_per_token = json.Int("num_experts_per_tok");
  config.expert_ffn_dim = json.Int(FirstOf(json, {"moe_intermediate_size", "intermediate_size"}));
  config.shared_ffn_dim = SharedFfnDim(json.Int("n_shared_experts", 0), config.expert_ffn_dim);
  ReadRouting(json, config);
  const int step = json.Int(FirstOf(json, {"decoder_sparse_step", "moe_layer_freq"}), 1);
  if (step < 1) Throw("{}: 'decoder_sparse_step' must be at least 1", json.where());
  const int leading = json.Int("first_k_dense_replace", 0);
  const std::vector<int> listed = json.Ints("mlp_only_layers");
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const bool dense = layer < leading || (layer + 1) % step != 0 ||
                       std::find(listed.begin(), listed.end(), layer) != listed.end();
    if (dense) config.dense_layers.push_back(layer);
  }
}

// The layers that see only the last positions: those that `layer_types` lists, or those from
// `max_window_layers` on, or all.
void ReadWindows(const Reader& json, const Family& family, ModelConfig& config) {
  if (!json.Has("sliding_window") || !json.Bool("use_sliding_window", true)) return;
  const int window = json.Int("sliding_window");
  if (window == 0 || window >= config.context_length) return;
  const std::vector<std::string> types = json.Strings("layer_types");
  if (!types.empty() && types.size() != static_cast<std::size_t>(config.num_layers)) {
    Throw("{}: 'layer_types' has {} entries for {} layers", json.where(), types.size(),
          config.num_layers);
  }
  const int first = json.Has("use_sliding_window") ? json.Int("max_window_layers", 0) : 0;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const bool listed = types.empty()
                            ? layer >= first && layer % family.traits.window_every == 0
                            : types[static_cast<std::size_t>(layer)] == "sliding_attention";
    config.layer_windows.push_back(listed ? window : 0);
  }
}

void ReadLatent(const Reader& json, ModelConfig& config) {
  config.q_lora_rank = json.Int("q_lora_rank", 0);
  config.kv_lora_rank = json.Int("kv_lora_rank");
  config.rope_head_dim = json.Int("qk_rope_head_dim");
  config.value_head_dim = json.Int("v_head_dim");
  const int plain = json.Int("qk_nope_head_dim");
  if (plain > 4096 || config.rope_head_dim > 4096) {
    Throw("{}: a head of {} and {} values is out of range", json.where(), plain,
          config.rope_head_dim);
  }
  config.head_dim = plain + config.rope_head_dim;
  config.num_kv_heads = config.num_heads;
  config.rope_interleaved = json.Bool("rope_interleave", true);
}

// Features that would change the answer and that this version does not compute.
void RefuseUnsupported(const Reader& json) {
  if (json.Bool("mlp_bias", false)) {
    Throw("{}: this model needs 'mlp_bias', which is not supported", json.where());
  }
  const std::string activation = json.String("hidden_act", "silu");
  if (activation != "silu") {
    Throw("{}: the activation '{}' is not supported; supported is silu", json.where(), activation);
  }
}

ModelConfig Read(const Reader& json) {
  const Family& family = FamilyByHubType(json.String("model_type", ""), json.where());
  RefuseUnsupported(json);
  ModelConfig config = StartConfig(family);
  config.num_layers = json.Int("num_hidden_layers");
  config.model_dim = json.Int("hidden_size");
  config.num_heads = json.Int("num_attention_heads");
  config.num_kv_heads = json.Int("num_key_value_heads", config.num_heads);
  config.head_dim = json.Int("head_dim", config.model_dim / std::max(config.num_heads, 1));
  config.vocab_size = json.Int("vocab_size");
  config.context_length = json.Int("max_position_embeddings");
  config.norm_epsilon = static_cast<float>(json.Number("rms_norm_eps"));
  config.tied_embeddings = json.Bool("tie_word_embeddings", false);
  config.attention_bias = json.Bool("attention_bias", config.attention_bias);
  config.head_bias = json.Bool("lm_head_bias", false);
  config.swiglu_limit =
      static_cast<float>(json.Number("swiglu_limit", double{config.swiglu_limit}));
  if (family.traits.latent_attention) ReadLatent(json, config);
  // Checked here already: the layer count and head size bound the loops below.
  if (config.num_layers > 4096 || config.head_dim > 4096) ValidateConfig(config, json.where());
  ReadRope(json, config);
  ReadWindows(json, family, config);
  if (family.experts) ReadExperts(json, config);
  if (config.NumMoeLayers() < config.num_layers) config.ffn_dim = json.Int("intermediate_size");
  return config;
}

}  // namespace

ModelConfig ConfigFromHub(std::string_view config_json, const std::string& where) {
  Json json;
  try {
    json = Json::parse(config_json);
  } catch (const Json::exception& error) {
    Throw("{}: this is not valid JSON: {}", where, error.what());
  }
  ModelConfig config = Read(Reader(json, where));
  ValidateConfig(config, where);
  return config;
}

}  // namespace doppler
