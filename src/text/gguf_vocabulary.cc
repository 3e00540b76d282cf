#include "text/gguf_vocabulary.h"

#include <cstddef>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/pre_tokenizer.h"

namespace doppler {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Token types, as GGUF numbers them; 2 (unknown) and 3 (control) are special.
constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kUserDefined = 4;
constexpr std::int32_t kUnused = 5;

struct SplitRule {
  std::string_view name;
  std::vector<std::string_view> patterns;
  bool ignore_merges = false;
  bool add_bos = false;  // unless the GGUF says
  bool nfc = false;
};

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|)"
    R"( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepSeekV3Pattern =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

const std::vector<SplitRule>& Rules() {
  static const std::vector<SplitRule> kRules = {
      {.name = "default",
       .patterns = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
      {.name = "gpt-2", .patterns = {kGpt2Pattern}},
      {.name = "llama-bpe", .patterns = {kLlama3Pattern}, .ignore_merges = true, .add_bos = true},
      {.name = "llama3", .patterns = {kLlama3Pattern}, .ignore_merges = true, .add_bos = true},
      {.name = "llama-v3", .patterns = {kLlama3Pattern}, .ignore_merges = true, .add_bos = true},
      {.name = "qwen2", .patterns = {kQwen2Pattern}, .nfc = true},
      {.name = "qwen35", .patterns = {kQwen35Pattern}, .nfc = true},
      {.name = "gpt-4o", .patterns = {kGpt4oPattern}},
      {.name = "llama4", .patterns = {kGpt4oPattern}},
      {.name = "deepseek-v3",
       .patterns = {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepSeekV3Pattern}},
  };
  return kRules;
}

const SplitRule& RuleFor(const GgufVocabulary& vocabulary) {
  if (vocabulary.model != "gpt2") {
    Throw("tokenizer.ggml.model is '{}', which is not supported; 'gpt2' (byte-level BPE) is",
          vocabulary.model);
  }
  std::string known;
  for (const SplitRule& rule : Rules()) {
    if (rule.name == vocabulary.pre) return rule;
    known += known.empty() ? "" : ", ";
    known += rule.name;
  }
  Throw("tokenizer.ggml.pre is '{}', which is not supported; supported are {}", vocabulary.pre,
        known);
}

std::int32_t TypeOf(const GgufVocabulary& vocabulary, std::size_t id) {
  if (vocabulary.token_types.empty()) return kNormal;
  const std::int32_t type = vocabulary.token_types[id];
  if (type < kNormal || type > kUnused) {
    Throw("token {} ('{}') has type {}, which byte-level BPE does not know", id,
          vocabulary.tokens[id], type);
  }
  return type;
}

// A string as JSON writes it.
std::string Quoted(std::string_view text, const char* what) {
  try {
    return OrderedJson(text).dump();
  } catch (const OrderedJson::type_error&) {
    Throw("{} is not valid UTF-8", what);
  }
}

void CheckSizes(const GgufVocabulary& vocabulary) {
  if (vocabulary.tokens.empty()) Throw("tokenizer.ggml.tokens is empty");
  if (!vocabulary.token_types.empty() &&
      vocabulary.token_types.size() != vocabulary.tokens.size()) {
    Throw("tokenizer.ggml.token_type has {} entries for {} tokens", vocabulary.token_types.size(),
          vocabulary.tokens.size());
  }
}

std::string AddedTokensJson(const GgufVocabulary& vocabulary) {
  std::string out;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::int32_t type = TypeOf(vocabulary, id);
    if (type == kNormal || type == kUnused) continue;
    out += fmt::format(
        "{}\n    {{\"id\": {}, \"content\": {}, \"single_word\": false, \"lstrip\": false, "
        "\"rstrip\": false, \"normalized\": false, \"special\": {}}}",
        out.empty() ? "" : ",", id, Quoted(vocabulary.tokens[id], "an added token"),
        type != kUserDefined);
  }
  return out;
}

std::string PreTokenizerJson(const SplitRule& rule) {
  OrderedJson steps = OrderedJson::array();
  for (const std::string_view pattern : rule.patterns) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  return OrderedJson{{"type", "Sequence"}, {"pretokenizers", steps}}.dump();
}

std::string VocabularyJson(const GgufVocabulary& vocabulary) {
  std::string out;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (TypeOf(vocabulary, id) != kNormal) continue;
    out += fmt::format("{}\n      {}: {}", out.empty() ? "" : ",",
                       Quoted(vocabulary.tokens[id], "a token"), id);
  }
  return out;
}

std::string MergesJson(const GgufVocabulary& vocabulary) {
  std::string out;
  for (const std::string& merge : vocabulary.merges) {
    out += out.empty() ? "\n      " : ",\n      ";
    out += Quoted(merge, "a merge");
  }
  return out;
}

const std::string& TokenOf(const GgufVocabulary& vocabulary, TokenId id, const char* what) {
  if (id < 0 || static_cast<std::size_t>(id) >= vocabulary.tokens.size()) {
    Throw("{} is {}, but there are {} tokens", what, id, vocabulary.tokens.size());
  }
  return vocabulary.tokens[static_cast<std::size_t>(id)];
}

std::string Dump(const OrderedJson& json) {
  try {
    return json.dump(2) + "\n";
  } catch (const OrderedJson::type_error&) {
    Throw("the chat template or a token is not valid UTF-8");
  }
}

}  // namespace

std::string TokenizerJson(const GgufVocabulary& vocabulary) {
  const SplitRule& rule = RuleFor(vocabulary);
  CheckSizes(vocabulary);
  std::string out = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n";
  out += "  \"added_tokens\": [" + AddedTokensJson(vocabulary) + "\n  ],\n";
  out += fmt::format("  \"normalizer\": {},\n", rule.nfc ? "{\"type\": \"NFC\"}" : "null");
  out += "  \"pre_tokenizer\": " + PreTokenizerJson(rule) + ",\n";
  out += "  \"post_processor\": null,\n";
  out += "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, ";
  out += "\"trim_offsets\": true, \"use_regex\": true},\n";
  out += "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n";
  out += "    \"unk_token\": null,\n    \"continuing_subword_prefix\": null,\n";
  out += "    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n";
  out += "    \"byte_fallback\": false,\n";
  out += fmt::format("    \"ignore_merges\": {},\n", rule.ignore_merges);
  out += "    \"vocab\": {" + VocabularyJson(vocabulary) + "\n    },\n";
  out += "    \"merges\": [" + MergesJson(vocabulary) + "\n    ]\n  }\n}\n";
  return out;
}

std::string TokenizerConfigJson(const GgufVocabulary& vocabulary) {
  const SplitRule& rule = RuleFor(vocabulary);
  OrderedJson out = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  if (vocabulary.bos_id) {
    out["bos_token"] = TokenOf(vocabulary, *vocabulary.bos_id, "tokenizer.ggml.bos_token_id");
  }
  if (vocabulary.eos_id) {
    out["eos_token"] = TokenOf(vocabulary, *vocabulary.eos_id, "tokenizer.ggml.eos_token_id");
  }
  if (vocabulary.pad_id) {
    out["pad_token"] = TokenOf(vocabulary, *vocabulary.pad_id, "tokenizer.ggml.padding_token_id");
  }
  out["add_bos_token"] = vocabulary.add_bos.value_or(rule.add_bos && vocabulary.bos_id.has_value());
  out["clean_up_tokenization_spaces"] = false;
  if (!vocabulary.chat_template.empty()) out["chat_template"] = vocabulary.chat_template;
  return Dump(out);
}

std::string GenerationConfigJson(const GgufVocabulary& vocabulary) {
  OrderedJson out = OrderedJson::object();
  if (vocabulary.bos_id) out["bos_token_id"] = *vocabulary.bos_id;
  OrderedJson ends = OrderedJson::array();
  for (const auto& id : {vocabulary.eos_id, vocabulary.eot_id}) {
    if (!id) continue;
    TokenOf(vocabulary, *id, "an end-of-text token id");
    if (ends.empty() || ends.front() != *id) ends.push_back(*id);
  }
  if (!ends.empty()) out["eos_token_id"] = ends.size() == 1 ? OrderedJson(ends.front()) : ends;
  if (vocabulary.pad_id) out["pad_token_id"] = *vocabulary.pad_id;
  return Dump(out);
}

}  // namespace doppler
