#include "convert/gguf_tokenizer.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "text/gguf_vocabulary.h"

namespace doppler {
namespace {

std::optional<TokenId> TokenKey(const GgufMetadata& metadata, const std::string& key) {
  if (!metadata.Has(key)) return std::nullopt;
  return metadata.Int(key);
}

std::vector<std::int32_t> TokenTypes(const GgufMetadata& metadata, const std::string& key) {
  if (!metadata.Has(key)) return {};
  std::vector<std::int32_t> types;
  for (const std::int64_t type : metadata.Integers(key)) {
    if (type < 0 || type > std::numeric_limits<std::int32_t>::max()) {
      Throw("{}: the metadata's '{}' holds {}; the file is damaged", metadata.where(), key, type);
    }
    types.push_back(static_cast<std::int32_t>(type));
  }
  return types;
}

std::vector<double> Scores(const GgufMetadata& metadata, const std::string& key) {
  if (!metadata.Has(key)) return {};
  const std::vector<double>& scores = metadata.Numbers(key);
  for (const double score : scores) {
    if (std::isfinite(score)) continue;
    Throw("{}: the metadata's '{}' holds {}; the file is damaged", metadata.where(), key, score);
  }
  return scores;
}

GgufVocabulary ReadVocabulary(const GgufMetadata& metadata) {
  const std::string prefix = "tokenizer.ggml.";
  GgufVocabulary vocabulary;
  vocabulary.architecture = metadata.String("general.architecture", "");
  vocabulary.model = metadata.String(prefix + "model");
  vocabulary.pre = metadata.String(prefix + "pre", "default");
  vocabulary.tokens = metadata.Strings(prefix + "tokens");
  vocabulary.token_types = TokenTypes(metadata, prefix + "token_type");
  if (metadata.Has(prefix + "merges")) vocabulary.merges = metadata.Strings(prefix + "merges");
  vocabulary.scores = Scores(metadata, prefix + "scores");
  vocabulary.add_space_prefix = metadata.Bool(prefix + "add_space_prefix", true);
  vocabulary.bos_id = TokenKey(metadata, prefix + "bos_token_id");
  vocabulary.eos_id = TokenKey(metadata, prefix + "eos_token_id");
  vocabulary.pad_id = TokenKey(metadata, prefix + "padding_token_id");
  vocabulary.unknown_id = TokenKey(metadata, prefix + "unknown_token_id");
  vocabulary.eot_id = TokenKey(metadata, prefix + "eot_token_id");
  const std::string add_bos = prefix + "add_bos_token";
  if (metadata.Has(add_bos)) vocabulary.add_bos = metadata.Bool(add_bos);
  vocabulary.chat_template = metadata.String("tokenizer.chat_template", "");
  return vocabulary;
}

}  // namespace

bool HasVocabulary(const GgufMetadata& metadata) { return metadata.Has("tokenizer.ggml.model"); }

std::vector<TextFile> TokenizerFilesFromGguf(const GgufMetadata& metadata) {
  const GgufVocabulary vocabulary = ReadVocabulary(metadata);
  try {
    return {{"tokenizer.json", TokenizerJson(vocabulary)},
            {"tokenizer_config.json", TokenizerConfigJson(vocabulary)},
            {"generation_config.json", GenerationConfigJson(vocabulary)}};
  } catch (const Error& error) {
    Throw("{}: {}", metadata.where(), error.what());
  }
}

}  // namespace doppler
