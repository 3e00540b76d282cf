#include "synth/synth_testing.h"

namespace doppler {

nlohmann::json SmallHubConfig(const std::string& family) {
  nlohmann::json config = {{"model_type", family},     {"num_hidden_layers", 2},
                           {"hidden_size", 256},       {"num_attention_heads", 4},
                           {"num_key_value_heads", 2}, {"head_dim", 16},
                           {"vocab_size", 320},        {"max_position_embeddings", 256},
                           {"intermediate_size", 96},  {"rms_norm_eps", 1e-5},
                           {"rope_theta", 10000}};
  if (family == "llama") {
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", 8},
                              {"low_freq_factor", 1},
                              {"high_freq_factor", 4},
                              {"original_max_position_embeddings", 64}};
  }
  if (family != "llama" && family != "mistral" && family != "qwen3") {
    config["num_experts"] = 4;
    config["num_experts_per_tok"] = 2;
  }
  if (family == "gpt_oss") {
    config["sliding_window"] = 32;
    config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4},
                              {"beta_fast", 32},     {"beta_slow", 1},
                              {"truncate", false},   {"original_max_position_embeddings", 64}};
  }
  if (family == "phimoe") {
    config["lm_head_bias"] = true;
    config["attention_bias"] = true;
    config["original_max_position_embeddings"] = 64;
    config["rope_scaling"] = {{"type", "longrope"},
                              {"short_factor", {1, 1, 1, 1, 1.5, 2, 2, 2}},
                              {"long_factor", {1, 2, 3, 4, 5, 6, 7, 8}},
                              {"short_mscale", 1.25},
                              {"long_mscale", 1.25}};
  }
  if (family == "deepseek_v2" || family == "deepseek_v3" || family == "kimi_k2") {
    config["q_lora_rank"] = 32;
    config["kv_lora_rank"] = 64;
    config["qk_rope_head_dim"] = 8;
    config["qk_nope_head_dim"] = 16;
    config["v_head_dim"] = 24;
    config["first_k_dense_replace"] = 1;
    config["n_shared_experts"] = 1;
    config["moe_intermediate_size"] = 64;
    config["routed_scaling_factor"] = 2.5;
    config["rope_scaling"] = {{"type", "yarn"},
                              {"factor", 4},
                              {"beta_fast", 32},
                              {"beta_slow", 1},
                              {"mscale", 1},
                              {"mscale_all_dim", 1},
                              {"original_max_position_embeddings", 64}};
  }
  return config;
}

SmallSynth MakeSmallSynth(const nlohmann::json& hub_config, const std::filesystem::path& folder,
                          const std::string& quant) {
  SmallSynth synth;
  synth.hub_config = hub_config.dump();
  synth.config = ConfigFromHub(synth.hub_config, "config.json");
  synth.tensors = PlanSynth(synth.config, quant);
  synth.options.output = folder / "artifact";
  synth.options.model_id = "small";
  synth.options.style.pool_bytes = 64 * kKiB;
  return synth;
}

}  // namespace doppler
