#include "text/tokenizer_parts.h"

#include <cstdint>
#include <utility>

#include "base/error.h"
#include "text/json_fields.h"
#include "text/regex_dialect.h"

namespace doppler {
namespace {

using Json = nlohmann::json;

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

bool IsNullOrEmpty(const Json& value) {
  return value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty());
}

// The String pattern of a Replace and what replaces it.
TextReplacement ReplacementFrom(const Json& replace, const char* what) {
  const Json& pattern = Field(replace, "pattern");
  if (!pattern.is_object() || !Field(pattern, "String").is_string()) {
    Throw("the {} 'Replace' has no String as its pattern; others are not supported", what);
  }
  return {.from = StringField(pattern, "String", what),
          .to = StringField(replace, "content", what)};
}

PrependScheme SchemeFrom(const Json& metaspace) {
  const Json& scheme = Field(metaspace, "prepend_scheme");
  if (scheme.is_null()) {  // as older files have it
    return BoolField(metaspace, "add_prefix_space", true) ? PrependScheme::kAlways
                                                          : PrependScheme::kNever;
  }
  if (scheme == "always") return PrependScheme::kAlways;
  if (scheme == "first") return PrependScheme::kFirst;
  if (scheme == "never") return PrependScheme::kNever;
  Throw("the prepend_scheme {} of the pre-tokenizer 'Metaspace' is not known", scheme.dump());
}

void AddPreTokenizerStep(const std::string& type, const Json& step, PreTokenizerPart* out) {
  PreTokenizer& steps = out->pre_tokenizer;
  if (type == "Split") {
    steps.AddSplit(PatternFrom(step), BehaviorFrom(StringField(step, "behavior", "Split")),
                   BoolField(step, "invert", false));
  } else if (type == "Digits") {
    const bool each = BoolField(step, "individual_digits", false);
    steps.AddSplit(each ? "\\p{N}" : "\\p{N}+", SplitBehavior::kIsolated, false);
  } else if (type == "Metaspace") {
    steps.AddMetaspace(StringField(step, "replacement", "the pre-tokenizer 'Metaspace'"),
                       SchemeFrom(step), BoolField(step, "split", true));
  } else if (type == "ByteLevel") {
    out->byte_level = true;
    if (BoolField(step, "add_prefix_space", true)) steps.AddPrefixSpace();
    if (BoolField(step, "use_regex", true)) {
      steps.AddSplit(kGpt2Pattern, SplitBehavior::kIsolated, false);
    }
  } else {
    Unsupported("pre-tokenizer", type, "Split, Digits, Metaspace, ByteLevel and Sequence");
  }
}

// Reads the steps of a decoder for tokens that are spelled as text.
class TextDecoderReader {
 public:
  void Add(const std::string& type, const Json& step) {
    if (type == "Replace") {
      Enter(Stage::kReplace, type);
      decoder_.replacements.push_back(ReplacementFrom(step, "decoder"));
      if (decoder_.replacements.back().from.empty())
        Throw("the decoder 'Replace' replaces nothing");
    } else if (type == "ByteFallback") {
      Enter(Stage::kBytes, type);
      decoder_.byte_fallback = true;
    } else if (type == "Fuse") {
      Enter(Stage::kFuse, type);
    } else if (type == "Strip") {
      if (stage_ != Stage::kFuse) Throw("the decoder 'Strip' does not stand right after 'Fuse'");
      Enter(Stage::kStrip, type);
      ReadStrip(step);
    } else {
      Unsupported("decoder", type, "ByteLevel, Replace, ByteFallback, Fuse, Strip and Sequence");
    }
  }

  TokenDecoder Take() { return std::move(decoder_); }

 private:
  enum class Stage : std::uint8_t { kReplace, kBytes, kFuse, kStrip };

  // What a token stands for must not depend on other tokens, so the order is fixed.
  void Enter(Stage stage, const std::string& type) {
    if (stage < stage_) {
      Throw(
          "the decoder '{}' stands in a place where it is not supported; the order is Replace, "
          "ByteFallback, Fuse, Strip",
          type);
    }
    stage_ = stage;
  }

  void ReadStrip(const Json& step) {
    const Json& start = Field(step, "start");
    const Json& stop = Field(step, "stop");
    if (!start.is_number_unsigned() || stop != 0) {
      Throw("the decoder 'Strip' is supported at the beginning of the text only");
    }
    decoder_.strip.character = StringField(step, "content", "the decoder 'Strip'");
    decoder_.strip.most = start.get<std::size_t>();
    if (decoder_.strip.character.empty()) Throw("the decoder 'Strip' strips nothing");
  }

  Stage stage_ = Stage::kReplace;
  TokenDecoder decoder_;
};

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

}  // namespace

ModelPart ReadModel(const Json& model) {
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
  const Json& dropout = Field(model, "dropout");
  if (!dropout.is_null() && dropout != 0) Throw("the model's 'dropout' is not supported");
  ModelPart out;
  out.options.ignore_merges = BoolField(model, "ignore_merges", false);
  out.options.rank_by_token = BoolField(model, "rank_by_token", false);
  out.options.byte_fallback = BoolField(model, "byte_fallback", false);
  out.options.fuse_unknown = BoolField(model, "fuse_unk", false);
  const Json& unknown = Field(model, "unk_token");
  if (unknown.is_string()) out.unknown_token = unknown.get<std::string>();
  return out;
}

Normalizer ReadNormalizer(const Json& component) {
  Normalizer out;
  VisitSequence(component, "normalizer", "normalizers",
                [&](const std::string& type, const Json& step) {
                  if (type == "NFC") {
                    out.AddNfc();
                  } else if (type == "Prepend") {
                    out.AddPrepend(StringField(step, "prepend", "the normalizer 'Prepend'"));
                  } else if (type == "Replace") {
                    out.AddReplace(ReplacementFrom(step, "normalizer"));
                  } else {
                    Unsupported("normalizer", type, "NFC, Prepend, Replace and Sequence");
                  }
                });
  return out;
}

PreTokenizerPart ReadPreTokenizer(const Json& component) {
  PreTokenizerPart out;
  VisitSequence(component, "pre-tokenizer", "pretokenizers",
                [&](const std::string& type, const Json& step) {
                  if (out.byte_level) {
                    Throw("the pre-tokenizer '{}' stands after 'ByteLevel'", type);
                  }
                  AddPreTokenizerStep(type, step, &out);
                });
  return out;
}

DecoderPart ReadDecoder(const Json& component) {
  if (component.is_null()) Throw("there is no decoder, which is not supported");
  DecoderPart out;
  TextDecoderReader text;
  bool any_text = false;
  VisitSequence(component, "decoder", "decoders", [&](const std::string& type, const Json& step) {
    if (type == "ByteLevel") {
      out.byte_level = true;
    } else {
      text.Add(type, step);
      any_text = true;
    }
    if (out.byte_level && any_text) {
      Throw("the decoder '{}' does not stand alone with ByteLevel, which is not supported", type);
    }
  });
  out.decoder = text.Take();
  return out;
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

}  // namespace doppler
