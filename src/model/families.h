// The table of model families. A new family is one entry here, at most one layer file beside this,
// and one golden case.
#pragma once

#include <span>
#include <string_view>

#include "model/forward.h"

namespace doppler {

struct Family {
  std::string_view name;               // in manifests
  std::string_view hub_model_type;     // `model_type` of config.json
  std::string_view gguf_architecture;  // `general.architecture`
  bool experts = false;                // the layers have a router and experts
  bool query_key_norm = false;
  // GGUF keeps the rows of the query and key projections in the order of interleaved rotary
  // pairs, which convert undoes.
  bool gguf_interleaved_rope = false;
  LayerFunction layer = nullptr;
};

std::span<const Family> Families();

// Throw Error that names the file, `where`, and what was asked for, and lists what there is. Do not
// allocate otherwise.
const Family& FamilyByName(std::string_view name, std::string_view where = "the model");
const Family& FamilyByHubType(std::string_view model_type, std::string_view where);
const Family& FamilyByGguf(std::string_view architecture, bool experts, std::string_view where);

}  // namespace doppler
