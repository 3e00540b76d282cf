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
    if (!Has(key)) return {};
    const Json& list = json_.at(key);
    if (!list.is_array()) Throw("{}: '{}' must be a list", where_, key);
    std::vector<int> values;
    for (const Json& item : list) {
      if (!item.is_number_integer()) Throw("{}: '{}' must hold integers", where_, key);
      const auto number = item.get<std::int64_t>();
      if (number < 0 || number > std::numeric_limits<int>::max()) {
        Throw("{}: '{}' holds {}, which is out of range", where_, key, number);
      }
      values.push_back(static_cast<int>(number));
    }
    return values;
  }

  const std::string& where() const { return where_; }

 private:
  const Json& Need(const char* key) const {
    if (!Has(key)) Throw("{}: '{}' is missing", where_, key);
    return json_.at(key);
  }

  const Json& json_;
  std::string where_;
};

std::vector<float> RopeFactors(const Reader& scaling, double theta, int head_dim) {
  const std::string type = scaling.String("rope_type", scaling.String("type", "default"));
  if (type == "default") return {};
  if (type == "llama3") {
    const Llama3Scaling llama3 = {
        .factor = scaling.Number("factor"),
        .low_freq_factor = scaling.Number("low_freq_factor"),
        .high_freq_factor = scaling.Number("high_freq_factor"),
        .original_context = scaling.Number("original_max_position_embeddings"),
    };
    return Llama3RopeFactors(llama3, theta, head_dim);
  }
  if (type == "linear") {
    return std::vector<float>(static_cast<std::size_t>(head_dim / 2),
                              static_cast<float>(scaling.Number("factor")));
  }
  Throw("{}: the position scaling '{}' is not supported; supported are default, linear and llama3",
        scaling.where(), type);
}

void ReadRope(const Reader& json, ModelConfig& config) {
  if (json.Has("rope_parameters")) {
    const Reader rope = json.Object("rope_parameters");
    config.rope_theta = rope.Number("rope_theta");
    config.rope_factors = RopeFactors(rope, config.rope_theta, config.head_dim);
    return;
  }
  config.rope_theta = json.Number("rope_theta", 10000.0);
  if (json.Has("rope_scaling")) {
    config.rope_factors =
        RopeFactors(json.Object("rope_scaling"), config.rope_theta, config.head_dim);
  }
}

void ReadExperts(const Reader& json, ModelConfig& config) {
  config.num_experts =
      json.Int(json.Has("num_local_experts") ? "num_local_experts" : "num_experts");
  config.experts_per_token = json.Int("num_experts_per_tok");
  config.expert_ffn_dim =
      json.Int(json.Has("moe_intermediate_size") ? "moe_intermediate_size" : "intermediate_size");
  config.normalize_expert_weights = json.Bool("norm_topk_prob", true);
  const int step = json.Int("decoder_sparse_step", 1);
  if (step < 1) Throw("{}: 'decoder_sparse_step' must be at least 1", json.where());
  const std::vector<int> listed = json.Ints("mlp_only_layers");
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const bool dense =
        (layer + 1) % step != 0 || std::find(listed.begin(), listed.end(), layer) != listed.end();
    if (dense) config.dense_layers.push_back(layer);
  }
}

// Features that would change the answer and that this version does not compute.
void RefuseUnsupported(const Reader& json) {
  const auto refuse = [&json](const char* feature) {
    Throw("{}: this model needs '{}', which is not supported", json.where(), feature);
  };
  if (json.Bool("attention_bias", false)) refuse("attention_bias");
  if (json.Bool("mlp_bias", false)) refuse("mlp_bias");
  if (json.Has("sliding_window") && json.Bool("use_sliding_window", true)) refuse("sliding_window");
  const std::string activation = json.String("hidden_act", "silu");
  if (activation != "silu") {
    Throw("{}: the activation '{}' is not supported; supported is silu", json.where(), activation);
  }
}

ModelConfig Read(const Reader& json) {
  const Family& family = FamilyByHubType(json.String("model_type", ""), json.where());
  RefuseUnsupported(json);
  ModelConfig config;
  config.family = family.name;
  config.query_key_norm = family.query_key_norm;
  config.num_layers = json.Int("num_hidden_layers");
  config.model_dim = json.Int("hidden_size");
  config.num_heads = json.Int("num_attention_heads");
  config.num_kv_heads = json.Int("num_key_value_heads", config.num_heads);
  config.head_dim = json.Int("head_dim", config.model_dim / std::max(config.num_heads, 1));
  config.vocab_size = json.Int("vocab_size");
  config.context_length = json.Int("max_position_embeddings");
  config.rms_norm_epsilon = static_cast<float>(json.Number("rms_norm_eps"));
  config.tied_embeddings = json.Bool("tie_word_embeddings", false);
  // Checked here already: the layer count and head size bound the loops below.
  if (config.num_layers > 4096 || config.head_dim > 4096) ValidateConfig(config, json.where());
  ReadRope(json, config);
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
