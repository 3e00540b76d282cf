#include "text/split_rules.h"

#include <string>

#include "base/error.h"
#include "text/pre_tokenizer.h"

namespace doppler {
namespace {

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

// Models that split as another does have their own name, and some a switch.
SplitRule Named(std::string_view name, SplitRule rule) {
  rule.name = name;
  return rule;
}

std::vector<SplitRule> MakeRules() {
  const SplitRule llama3 = {
      .name = {}, .patterns = {kLlama3Pattern}, .ignore_merges = true, .add_bos = true};
  const SplitRule qwen2 = {.name = {}, .patterns = {kQwen2Pattern}, .nfc = true};
  const SplitRule gpt4o = {.name = {}, .patterns = {kGpt4oPattern}, .ignore_merges = true};
  const SplitRule deepseek3 = {
      .name = {}, .patterns = {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepSeekV3Pattern}};
  const SplitRule kimi = {
      .name = {}, .patterns = {kKimiPattern}, .ignore_merges = true, .tiktoken = true};
  return {{.name = "default",
           .patterns = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
          {.name = "gpt-2", .patterns = {kGpt2Pattern}},
          {.name = "phi-2", .patterns = {kGpt2Pattern}},
          Named("llama-bpe", llama3),
          Named("llama3", llama3),
          Named("llama-v3", llama3),
          Named("qwen2", qwen2),
          Named("deepseek-r1-qwen", qwen2),
          {.name = "qwen35", .patterns = {kQwen35Pattern}, .nfc = true},
          Named("gpt-4o", gpt4o),
          Named("llama4", gpt4o),
          Named("deepseek-v3", deepseek3),
          Named("kimi-k2", kimi)};
}

}  // namespace

const SplitRule& SplitRuleByName(std::string_view name) {
  static const std::vector<SplitRule> kRules = MakeRules();
  std::string known;
  for (const SplitRule& rule : kRules) {
    if (rule.name == name) return rule;
    known += (known.empty() ? "" : ", ") + std::string(rule.name);
  }
  Throw("tokenizer.ggml.pre is '{}', which is not supported; supported are {}", name, known);
}

const std::string_view kKimiPattern =
    R"([\p{Han}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace doppler
