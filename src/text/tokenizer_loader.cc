#include <algorithm>
#include <cstdint>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/regex_dialect.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace doppler {
namespace {

using Json = nlohmann::json;

// The value of `key`, or null if `object` has none.
const Json& Field(const Json& object, const char* key) {
  static const Json kNull;
  const auto at = object.find(key);
  return at == object.end() ? kNull : *at;
}

std::string StringField(const Json& object, const char* key, const char* what) {
  const Json& value = Field(object, key);
  if (!value.is_string()) Throw("{} has no string '{}'", what, key);
  return value.get<std::string>();
}

bool BoolField(const Json& object, const char* key, bool fallback) {
  const Json& value = Field(object, key);
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) Throw("'{}' is neither true nor false", key);
  return value.get<bool>();
}

std::int64_t IdFrom(const Json& value, const std::string& what) {
  if (!value.is_number_integer()) Throw("{} is not a token id", what);
  // As int64 an id above its range is negative, and refused like one.
  const auto id = value.get<std::int64_t>();
  if (id < 0 || id >= static_cast<std::int64_t>(kMaxVocabulary)) {
    Throw("{} is {}, which is not a token id", what, value.dump());
  }
  return id;
}

// Calls `visit` for `component`, or in order for the members of the Sequence that it is. The
// nesting of sequences is bounded by that of the file. `list` is what the component calls its
// members.
template <typename Visit>
void VisitSequence(const Json& component, const char* what, const char* list, const Visit& visit) {
  if (component.is_null()) return;
  if (!component.is_object()) Throw("the {} is not an object", what);
  const std::string type = StringField(component, "type", what);
  if (type != "Sequence") return visit(type, component);
  const Json& members = Field(component, list);
  if (!members.is_array()) Throw("the {} 'Sequence' has no list '{}'", what, list);
  for (const Json& member : members) VisitSequence(member, what, list, visit);
}

[[noreturn]] void Unsupported(const char* what, const std::string& type, const char* supported) {
  Throw("the {} '{}' is not supported; supported are {}", what, type, supported);
}

SplitBehavior BehaviorFrom(const std::string& name) {
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  Throw("the split behavior '{}' is not known", name);
}

std::string PatternFrom(const Json& split) {
  const Json& pattern = Field(split, "pattern");
  if (pattern.is_object() && Field(pattern, "Regex").is_string()) {
    return Field(pattern, "Regex").get<std::string>();
  }
  if (pattern.is_object() && Field(pattern, "String").is_string()) {
    return QuoteForRegex(Field(pattern, "String").get<std::string>());
  }
  Throw("the pre-tokenizer 'Split' has neither a Regex nor a String as its pattern");
}

PreTokenizer ReadPreTokenizer(const Json& component) {
  PreTokenizer out;
  bool byte_level = false;
  VisitSequence(
      component, "pre-tokenizer", "pretokenizers", [&](const std::string& type, const Json& step) {
        if (byte_level) Throw("the pre-tokenizer '{}' stands after 'ByteLevel'", type);
        if (type == "Split") {
          out.AddSplit(PatternFrom(step), BehaviorFrom(StringField(step, "behavior", "Split")),
                       BoolField(step, "invert", false));
        } else if (type == "ByteLevel") {
          byte_level = true;
          if (BoolField(step, "add_prefix_space", true)) out.AddPrefixSpace();
          if (BoolField(step, "use_regex", true)) {
            out.AddSplit(kGpt2Pattern, SplitBehavior::kIsolated, false);
          }
        } else {
          Unsupported("pre-tokenizer", type, "Split, ByteLevel and Sequence");
        }
      });
  if (!byte_level) Throw("the pre-tokenizer is not byte-level; only byte-level BPE is supported");
  return out;
}

bool ReadNormalizer(const Json& component) {
  bool nfc = false;
  VisitSequence(component, "normalizer", "normalizers", [&](const std::string& type, const Json&) {
    if (type != "NFC") Unsupported("normalizer", type, "NFC and Sequence");
    nfc = true;
  });
  return nfc;
}

void CheckDecoder(const Json& component) {
  bool byte_level = false;
  VisitSequence(component, "decoder", "decoders", [&](const std::string& type, const Json&) {
    if (type != "ByteLevel") Unsupported("decoder", type, "ByteLevel");
    byte_level = true;
  });
  if (!byte_level) Throw("there is no decoder; ByteLevel is the one that is supported");
}

bool IsNullOrEmpty(const Json& value) {
  return value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty());
}

// Returns ignore_merges.
bool ReadModel(const Json& model) {
  if (!model.is_object()) Throw("there is no object 'model'");
  // Files of old versions leave the type out.
  const Json& type = Field(model, "type");
  if (!type.is_null() && type != "BPE") {
    Unsupported("model", type.is_string() ? type.get<std::string>() : type.dump(), "BPE");
  }
  if (!Field(model, "vocab").is_object()) Throw("the model has no vocabulary");
  if (!Field(model, "merges").is_array()) Throw("the model has no list of merges");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!IsNullOrEmpty(Field(model, affix))) Throw("the model's '{}' is not supported", affix);
  }
  if (BoolField(model, "byte_fallback", false)) {
    Throw("the model's 'byte_fallback' is not supported; only byte-level BPE is");
  }
  const Json& dropout = Field(model, "dropout");
  if (!dropout.is_null() && dropout != 0) Throw("the model's 'dropout' is not supported");
  return BoolField(model, "ignore_merges", false);
}

std::vector<AddedToken> ReadAddedTokens(const Json& list) {
  if (list.is_null()) return {};
  if (!list.is_array()) Throw("'added_tokens' is not a list");
  std::vector<AddedToken> out;
  for (const Json& entry : list) {
    if (!entry.is_object()) Throw("an added token is not an object");
    AddedToken token;
    token.content = StringField(entry, "content", "an added token");
    token.id = static_cast<TokenId>(
        IdFrom(Field(entry, "id"), fmt::format("the id of added token '{}'", token.content)));
    token.special = BoolField(entry, "special", false);
    token.normalized = BoolField(entry, "normalized", !token.special);
    token.single_word = BoolField(entry, "single_word", false);
    token.lstrip = BoolField(entry, "lstrip", false);
    token.rstrip = BoolField(entry, "rstrip", false);
    out.push_back(std::move(token));
  }
  return out;
}

// The ids that a TemplateProcessing puts before a text.
std::vector<TokenId> ReadTemplate(const Json& processor) {
  const Json& parts = Field(processor, "single");
  if (!parts.is_array()) Throw("the post-processor 'TemplateProcessing' has no list 'single'");
  std::vector<TokenId> prefix;
  bool after_text = false;
  for (const Json& part : parts) {
    if (part.is_object() && part.contains("Sequence")) {
      after_text = true;
      continue;
    }
    if (!part.is_object() || !part.contains("SpecialToken")) {
      Throw("a part of the post-processor's template is neither a Sequence nor a SpecialToken");
    }
    const Json& special = part["SpecialToken"];
    if (!special.is_object()) Throw("a SpecialToken of the post-processor is not an object");
    const std::string name = StringField(special, "id", "a part of the post-processor's template");
    if (after_text) {
      Throw("the post-processor adds '{}' after the text, which is not supported", name);
    }
    const Json& known = Field(processor, "special_tokens");
    const Json& entry = known.is_object() ? Field(known, name.c_str()) : known;
    const Json& ids = entry.is_object() ? Field(entry, "ids") : entry;
    if (!ids.is_array()) Throw("the post-processor's special token '{}' has no ids", name);
    for (const Json& id : ids) {
      prefix.push_back(static_cast<TokenId>(IdFrom(id, "an id of the post-processor")));
    }
  }
  return prefix;
}

std::vector<TokenId> ReadPostProcessor(const Json& component) {
  std::vector<TokenId> prefix;
  VisitSequence(component, "post-processor", "processors",
                [&](const std::string& type, const Json& processor) {
                  if (type == "TemplateProcessing") {
                    prefix = ReadTemplate(processor);
                  } else if (type != "ByteLevel") {  // which moves offsets only
                    Unsupported("post-processor", type,
                                "TemplateProcessing, ByteLevel and Sequence");
                  }
                });
  return prefix;
}

// A small file beside tokenizer.json; an empty object if there is none.
Json ParseSmall(std::string_view text) {
  if (text.empty()) return Json::object();
  Json out = Json::parse(text, nullptr, false);
  if (out.is_discarded() || !out.is_object()) Throw("it is not a JSON object");
  return out;
}

// A token in tokenizer_config.json: its text, or an object that holds it. Empty if there is none.
std::string TokenName(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && Field(value, "content").is_string()) {
    return Field(value, "content").get<std::string>();
  }
  return {};
}

// One template, or a list of named ones of which "default" is meant.
std::string ChatTemplateFrom(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return {};
  for (const Json& entry : value) {
    if (entry.is_object() && Field(entry, "name") == "default") {
      return StringField(entry, "template", "the chat template 'default'");
    }
  }
  return {};
}

}  // namespace

class TokenizerLoader {
 public:
  void ReadTokenizer(std::string_view text) {
    ParsedTokenizerJson json = ReadTokenizerJson(text);
    const Json& rest = json.rest;
    const bool ignore_merges = ReadModel(Field(rest, "model"));
    out_.nfc_ = ReadNormalizer(Field(rest, "normalizer"));
    out_.pre_tokenizer_ = ReadPreTokenizer(Field(rest, "pre_tokenizer"));
    CheckDecoder(Field(rest, "decoder"));
    added_ = ReadAddedTokens(Field(rest, "added_tokens"));
    for (const AddedToken& token : added_) json.vocabulary.AddLiteral(token.content, token.id);
    out_.vocabulary_ = json.vocabulary.Finish();
    if (out_.vocabulary_.size() == 0) Throw("it has no tokens");
    out_.model_ = BpeModel(out_.vocabulary_, json.merges, ignore_merges);
    out_.prefix_ = ReadPostProcessor(Field(rest, "post_processor"));
    for (const TokenId id : out_.prefix_) CheckId(id, "the post-processor");
    out_.adds_bos_ = !out_.prefix_.empty();
    if (out_.adds_bos_) out_.bos_id_ = out_.prefix_.front();
    ShareOutAddedTokens();
  }

  void ReadConfig(std::string_view text) {
    const Json config = ParseSmall(text);
    const std::string bos = TokenName(Field(config, "bos_token"));
    if (!bos.empty()) out_.bos_id_ = IdOf(bos, "bos_token");
    const std::string eos = TokenName(Field(config, "eos_token"));
    if (!eos.empty()) out_.eos_ids_.push_back(IdOf(eos, "eos_token"));
    out_.adds_bos_ = BoolField(config, "add_bos_token", out_.adds_bos_);
    if (out_.prefix_.empty() && out_.bos_id_) out_.prefix_ = {*out_.bos_id_};
    if (out_.adds_bos_ && out_.prefix_.empty()) Throw("add_bos_token is true without a bos_token");
    out_.chat_template_ = ChatTemplateFrom(Field(config, "chat_template"));
  }

  void ReadGenerationConfig(std::string_view text) {
    const Json config = ParseSmall(text);
    const Json& eos = Field(config, "eos_token_id");
    if (eos.is_null()) return;
    for (const Json& id : eos.is_array() ? eos : Json::array({eos})) {
      out_.eos_ids_.push_back(static_cast<TokenId>(IdFrom(id, "eos_token_id")));
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
    std::string bytes;
    const TokenId id = SpelledToBytes(name, &bytes) ? out_.vocabulary_.Find(bytes) : kNoToken;
    if (id == kNoToken) Throw("{} is '{}', which is not a token", what, name);
    return id;
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
      if (out_.nfc_) normalized.back().content = NormalizeNfc(token.content);
    }
    out_.raw_added_ = AddedTokens(std::move(raw));
    out_.normalized_added_ = AddedTokens(std::move(normalized));
    std::sort(out_.special_ids_.begin(), out_.special_ids_.end());
  }

  Tokenizer out_;
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
