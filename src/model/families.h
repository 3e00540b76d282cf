// The table of model families. A new family is one entry here, at most one layer file beside this,
// and one golden case.
#pragma once

#include <span>
#include <string_view>

#include "model/forward.h"

namespace doppler {

struct FamilyTraits {
  NormKind norm = NormKind::kRms;
  RoutingKind routing = RoutingKind::kSoftmax;
  bool query_key_norm = false;
  bool attention_bias = false;
  bool attention_sinks = false;
  bool router_bias = false;
  bool expert_bias = false;
  bool latent_attention = false;  // rotary pairs are interleaved, too
  // Checkpoints may hold layers after the last that predict tokens further ahead; convert leaves
  // them out.
  bool prediction_layers = false;
  bool truncate_yarn = true;
  float swiglu_limit = 0;
  float router_jitter = 0;
  int window_every = 1;  // layers 0, n, 2 n, ... of a model with a sliding window have it
};

struct Family {
  std::string_view name;               // in manifests
  std::string_view hub_model_type;     // `model_type` of config.json
  std::string_view gguf_architecture;  // `general.architecture`
  bool experts = false;                // the layers have a router and experts
  // What the architecture's name says and neither config.json nor GGUF repeats.
  FamilyTraits traits;
  // GGUF keeps the rows of the query and key projections in the order of interleaved rotary
  // pairs, which convert undoes.
  bool gguf_interleaved_rope = false;
  // Hub checkpoints stack a layer's experts in a float format as [in, out], the columns of gate and
  // up in turn.
  bool hub_columns_of_experts = false;
  LayerFunction layer = nullptr;
};

std::span<const Family> Families();

// A configuration with the family's name and traits, all else still to be read.
ModelConfig StartConfig(const Family& family);

// Throw Error that names the file, `where`, and what was asked for, and lists what there is. Do not
// allocate otherwise.
const Family& FamilyByName(std::string_view name, std::string_view where = "the model");
const Family& FamilyByHubType(std::string_view model_type, std::string_view where);
const Family& FamilyByGguf(std::string_view architecture, bool experts, std::string_view where);

}  // namespace doppler
