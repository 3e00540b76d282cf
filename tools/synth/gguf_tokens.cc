#include "synth/gguf_tokens.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/json.h"
#include "io/file.h"
#include "text/byte_alphabet.h"
#include "text/split_rules.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Token types, as GGUF numbers them.
constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kControl = 3;
constexpr std::int32_t kUserDefined = 4;
constexpr std::int32_t kUnused = 5;

struct Tokens {
  std::string pre;
  std::vector<std::string> texts;
  std::vector<std::int32_t> types;
  std::vector<std::string> merges;

  void Put(std::size_t id, const std::string& text, std::int32_t type) {
    if (id >= texts.size()) {
      Throw(
          "the tokenizer has a token {} but the model a vocabulary of {}; choose another "
          "--tokenizer",
          id, texts.size());
    }
    texts[id] = text;
    types[id] = type;
  }
  std::optional<std::uint32_t> Find(const std::string& text) const {
    for (std::size_t id = 0; id < texts.size(); ++id) {
      if (texts[id] == text) return static_cast<std::uint32_t>(id);
    }
    return std::nullopt;
  }
};

void FindPatterns(const Json& step, std::vector<std::string>& patterns) {
  for (const Json& part : step.value("pretokenizers", Json::array())) FindPatterns(part, patterns);
  if (step.contains("pattern")) patterns.push_back(step.at("pattern").value("Regex", ""));
}

// The name that stands for a tokenizer's split patterns in GGUF.
std::string PreTokenizerName(const Json& pre_tokenizer) {
  constexpr std::array kNames = {"qwen2",  "llama-bpe",   "gpt-4o", "gpt-2",
                                 "qwen35", "deepseek-v3", "kimi-k2"};
  std::vector<std::string> patterns;
  if (pre_tokenizer.is_object()) FindPatterns(pre_tokenizer, patterns);
  if (patterns.empty()) return "gpt-2";
  for (const char* const name : kNames) {
    const auto& known = SplitRuleByName(name).patterns;
    if (std::equal(known.begin(), known.end(), patterns.begin(), patterns.end())) return name;
  }
  Throw("GGUF has no name for the tokenizer's split pattern '{}'; choose another --tokenizer",
        patterns.front());
}

std::string MergeText(const Json& merge) {
  if (merge.is_string()) return merge.get<std::string>();
  return fmt::format("{} {}", merge.at(0).get<std::string>(), merge.at(1).get<std::string>());
}

void ReadTokenizer(const Json& json, Tokens& tokens) {
  const Json& model = json.at("model");
  if (model.value("type", "BPE") != "BPE" || model.value("byte_fallback", false)) {
    Throw(
        "only byte-level BPE tokenizers can be written as GGUF here; choose another "
        "--tokenizer");
  }
  tokens.pre = PreTokenizerName(json.value("pre_tokenizer", Json()));
  for (const auto& [text, id] : model.at("vocab").items()) {
    tokens.Put(id.get<std::size_t>(), text, kNormal);
  }
  for (const Json& added : json.value("added_tokens", Json::array())) {
    tokens.Put(added.at("id").get<std::size_t>(), added.at("content").get<std::string>(),
               added.value("special", false) ? kControl : kUserDefined);
  }
  for (const Json& merge : model.at("merges")) tokens.merges.push_back(MergeText(merge));
}

void MakeByteTokens(Tokens& tokens) {
  tokens.pre = "gpt-2";
  for (std::size_t byte = 0; byte < std::min<std::size_t>(256, tokens.texts.size()); ++byte) {
    tokens.Put(byte, BytesToSpelled(std::string(1, static_cast<char>(byte))), kNormal);
  }
}

void AddNamedTokens(const Json& config, const Tokens& tokens, GgufBuilder& builder) {
  constexpr std::array kKeys = {std::pair{"bos_token", "bos_token_id"},
                                std::pair{"eos_token", "eos_token_id"},
                                std::pair{"pad_token", "padding_token_id"}};
  for (const auto& [name, key] : kKeys) {
    Json token = config.value(name, Json());
    if (token.is_object()) token = token.value("content", Json());
    if (!token.is_string()) continue;
    const std::optional<std::uint32_t> id = tokens.Find(token.get<std::string>());
    if (id) builder.AddUint32(fmt::format("tokenizer.ggml.{}", key), *id);
  }
  const Json add_bos = config.value("add_bos_token", Json());
  if (add_bos.is_boolean()) builder.AddBool("tokenizer.ggml.add_bos_token", add_bos.get<bool>());
  const Json chat = config.value("chat_template", Json());
  if (chat.is_string()) builder.AddString("tokenizer.chat_template", chat.get<std::string>());
}

Json ReadJson(const fs::path& path) { return ParseStrictJson(ReadTextFile(path), path.string()); }

}  // namespace

void AddGgufTokens(const fs::path& folder, int vocab_size, GgufBuilder& builder) {
  Tokens tokens;
  for (int id = 0; id < vocab_size; ++id) tokens.texts.push_back(fmt::format("[PAD{}]", id));
  tokens.types.assign(tokens.texts.size(), kUnused);
  if (folder.empty()) {
    MakeByteTokens(tokens);
  } else {
    try {
      ReadTokenizer(ReadJson(folder / "tokenizer.json"), tokens);
    } catch (const Json::exception& error) {
      Throw("{}: {}", (folder / "tokenizer.json").string(), error.what());
    }
  }
  builder.AddString("tokenizer.ggml.model", "gpt2");
  builder.AddString("tokenizer.ggml.pre", tokens.pre);
  builder.AddStrings("tokenizer.ggml.tokens", tokens.texts);
  builder.AddInt32s("tokenizer.ggml.token_type", tokens.types);
  builder.AddStrings("tokenizer.ggml.merges", tokens.merges);
  const fs::path config = folder / "tokenizer_config.json";
  if (!folder.empty() && fs::exists(config)) AddNamedTokens(ReadJson(config), tokens, builder);
}

}  // namespace doppler
