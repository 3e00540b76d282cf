#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "format/json.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_parts.h"

namespace doppler {
namespace {

// The files are named by who loads them.
const std::string kHere;

// A small file beside tokenizer.json; an empty object if there is none.
nlohmann::json ParseSmall(std::string_view text) {
  if (text.empty()) return nlohmann::json::object();
  return ParseStrictJson(text, "it");
}

// A token in tokenizer_config.json: its text, or an object that holds it. Empty if there is none.
std::string TokenName(const JsonReader& config, const char* key) {
  const auto token = config.Find(key);
  if (!token) return {};
  return token->value().is_object() ? token->Member("content").String() : token->String();
}

// One template, or a list of named ones of which "default" is meant.
std::string ChatTemplateFrom(const JsonReader& config) {
  const auto found = config.Find("chat_template");
  if (!found) return {};
  if (!found->value().is_array()) return found->String();
  for (std::size_t i = 0; i < found->value().size(); ++i) {
    const JsonReader entry = found->Element(i);
    if (entry.Member("name").String() == "default") return entry.Member("template").String();
  }
  return {};
}

}  // namespace

class TokenizerLoader {
 public:
  void ReadTokenizer(std::string_view text) {
    ParsedTokenizerJson json = ReadTokenizerJson(text);
    const JsonReader rest(json.rest, kHere);
    ModelPart model = ReadModel(rest.Member("model"));
    out_.normalizer_ = ReadNormalizer(rest.Find("normalizer"));
    PreTokenizerPart pre_tokenizer = ReadPreTokenizer(rest.Find("pre_tokenizer"));
    const DecoderPart decoder = ReadDecoder(rest.Find("decoder"));
    if (pre_tokenizer.byte_level != decoder.byte_level) {
      Throw("the {} is byte-level and the {} is not; only both or none are supported",
            decoder.byte_level ? "decoder" : "pre-tokenizer",
            decoder.byte_level ? "pre-tokenizer" : "decoder");
    }
    spelling_ = decoder.byte_level ? TokenSpelling::kByteAlphabet : TokenSpelling::kText;
    out_.pre_tokenizer_ = std::move(pre_tokenizer.pre_tokenizer);
    if (const auto added = rest.Find("added_tokens")) added_ = ReadAddedTokens(*added);
    for (const AddedToken& token : added_) json.vocabulary.AddLiteral(token.content, token.id);
    out_.vocabulary_ = json.vocabulary.Finish(spelling_);
    if (out_.vocabulary_.size() == 0) Throw("it has no tokens");
    model.options.spelling = spelling_;
    if (spelling_ == TokenSpelling::kText) ReadTextSpelling(decoder.decoder, &model);
    out_.model_ = BpeModel(out_.vocabulary_, json.merges, model.options);
    out_.prefix_ = ReadPostProcessor(rest.Find("post_processor"));
    for (const TokenId id : out_.prefix_) CheckId(id, "the post-processor");
    out_.adds_bos_ = !out_.prefix_.empty();
    if (out_.adds_bos_) out_.bos_id_ = out_.prefix_.front();
    ShareOutAddedTokens();
  }

  void ReadConfig(std::string_view text) {
    const nlohmann::json document = ParseSmall(text);
    const JsonReader config(document, kHere);
    const std::string bos = TokenName(config, "bos_token");
    if (!bos.empty()) out_.bos_id_ = IdOf(bos, "bos_token");
    const std::string eos = TokenName(config, "eos_token");
    if (!eos.empty()) out_.eos_ids_.push_back(IdOf(eos, "eos_token"));
    out_.adds_bos_ = config.BoolOr("add_bos_token", out_.adds_bos_);
    if (out_.prefix_.empty() && out_.bos_id_) out_.prefix_ = {*out_.bos_id_};
    if (out_.adds_bos_ && out_.prefix_.empty()) Throw("add_bos_token is true without a bos_token");
    out_.chat_template_ = ChatTemplateFrom(config);
  }

  void ReadGenerationConfig(std::string_view text) {
    const nlohmann::json document = ParseSmall(text);
    const JsonReader config(document, kHere);
    const auto eos = config.Find("eos_token_id");
    if (!eos) return;
    if (!eos->value().is_array()) return out_.eos_ids_.push_back(ReadTokenId(*eos));
    for (std::size_t i = 0; i < eos->value().size(); ++i) {
      out_.eos_ids_.push_back(ReadTokenId(eos->Element(i)));
    }
  }

  Tokenizer Finish() {
    std::vector<TokenId>& ids = out_.eos_ids_;
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return std::move(out_);
  }

 private:
  void CheckId(TokenId id, const char* what) const {
    if (out_.vocabulary_.Bytes(id).empty()) Throw("{} names id {}, which has no token", what, id);
  }

  TokenId IdOf(const std::string& name, const char* what) const {
    for (const AddedToken& token : added_) {
      if (token.content == name) return token.id;
    }
    std::string bytes = name;
    const bool known = spelling_ == TokenSpelling::kText || SpelledToBytes(name, &bytes);
    const TokenId id = known ? out_.vocabulary_.Find(bytes) : kNoToken;
    if (id == kNoToken) Throw("{} is '{}', which is not a token", what, name);
    return id;
  }

  // What matters only for vocabularies that are spelled as text.
  void ReadTextSpelling(const TokenDecoder& decoder, ModelPart* model) {
    if (!model->unknown_token.empty()) {
      model->options.unknown = IdOf(model->unknown_token, "unk_token");
    }
    out_.leading_strip_ = decoder.strip;
    std::vector<bool> added(out_.vocabulary_.size());
    for (const AddedToken& token : added_) added[static_cast<std::size_t>(token.id)] = true;
    for (std::size_t at = 0; at < added.size(); ++at) {
      const auto id = static_cast<TokenId>(at);
      const std::string_view spelling = out_.vocabulary_.Bytes(id);
      out_.decoded_.Append(id, added[at] ? std::string(spelling) : decoder.BytesOf(spelling));
    }
  }

  void ShareOutAddedTokens() {
    std::vector<AddedToken> raw;
    std::vector<AddedToken> normalized;
    for (const AddedToken& token : added_) {
      if (token.special) out_.special_ids_.push_back(token.id);
      if (!token.normalized) {
        raw.push_back(token);
        continue;
      }
      normalized.push_back(token);
      normalized.back().content = out_.normalizer_.Apply(token.content);
    }
    out_.raw_added_ = AddedTokens(std::move(raw));
    out_.normalized_added_ = AddedTokens(std::move(normalized));
    std::sort(out_.special_ids_.begin(), out_.special_ids_.end());
  }

  Tokenizer out_;
  TokenSpelling spelling_ = TokenSpelling::kByteAlphabet;
  std::vector<AddedToken> added_;
};

Tokenizer Tokenizer::FromJson(std::string_view tokenizer_json,
                              std::string_view tokenizer_config_json, const std::string& where,
                              std::string_view generation_config_json) {
  TokenizerLoader loader;
  const char* file = "tokenizer.json";
  try {
    loader.ReadTokenizer(tokenizer_json);
    file = "tokenizer_config.json";
    loader.ReadConfig(tokenizer_config_json);
    file = "generation_config.json";
    loader.ReadGenerationConfig(generation_config_json);
  } catch (const Error& error) {
    Throw("{}: {}: {}", where, file, error.what());
  }
  return loader.Finish();
}

}  // namespace doppler
