#include "text/tokenizer_parts.h"

#include <cstdint>
#include <utility>

#include "base/error.h"
#include "text/regex_dialect.h"

namespace doppler {
namespace {

// Calls `visit` for `component`, or in order for the members of the Sequence that it is. The
// nesting of sequences is bounded by that of the file. `list` is what the component calls its
// members.
template <typename Visit>
void VisitSequence(const std::optional<JsonReader>& component, const char* list,
                   const Visit& visit) {
  if (!component) return;
  const std::string& type = component->Member("type").String();
  if (type != "Sequence") return visit(type, *component);
  const JsonReader members = component->Member(list);
  members.RequireArray();
  for (std::size_t i = 0; i < members.value().size(); ++i) {
    VisitSequence(members.Element(i), list, visit);
  }
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

std::string PatternFrom(const JsonReader& split) {
  const JsonReader pattern = split.Member("pattern");
  if (const auto regex = pattern.Find("Regex")) return regex->String();
  if (const auto text = pattern.Find("String")) return QuoteForRegex(text->String());
  pattern.Fail("the pre-tokenizer 'Split' has neither a Regex nor a String as its pattern");
}

bool IsNullOrEmpty(const JsonReader& object, const char* key) {
  const auto value = object.Find(key);
  return !value || value->value() == "";
}

// The String pattern of a Replace and what replaces it.
TextReplacement ReplacementFrom(const JsonReader& replace, const char* what) {
  const JsonReader pattern = replace.Member("pattern");
  if (!pattern.Has("String")) {
    pattern.Fail("the {} 'Replace' has no String as its pattern; others are not supported", what);
  }
  return {.from = pattern.Member("String").String(), .to = replace.Member("content").String()};
}

PrependScheme SchemeFrom(const JsonReader& metaspace) {
  const auto scheme = metaspace.Find("prepend_scheme");
  if (!scheme) {  // as older files have it
    return metaspace.BoolOr("add_prefix_space", true) ? PrependScheme::kAlways
                                                      : PrependScheme::kNever;
  }
  const std::string& name = scheme->String();
  if (name == "always") return PrependScheme::kAlways;
  if (name == "first") return PrependScheme::kFirst;
  if (name == "never") return PrependScheme::kNever;
  scheme->Fail("'{}' is not known for the pre-tokenizer 'Metaspace'", name);
}

void AddPreTokenizerStep(const std::string& type, const JsonReader& step, PreTokenizerPart* out) {
  PreTokenizer& steps = out->pre_tokenizer;
  if (type == "Split") {
    steps.AddSplit(PatternFrom(step), BehaviorFrom(step.Member("behavior").String()),
                   step.BoolOr("invert", false));
  } else if (type == "Digits") {
    const bool each = step.BoolOr("individual_digits", false);
    steps.AddSplit(each ? "\\p{N}" : "\\p{N}+", SplitBehavior::kIsolated, false);
  } else if (type == "Metaspace") {
    steps.AddMetaspace(step.Member("replacement").String(), SchemeFrom(step),
                       step.BoolOr("split", true));
  } else if (type == "ByteLevel") {
    out->byte_level = true;
    if (step.BoolOr("add_prefix_space", true)) steps.AddPrefixSpace();
    if (step.BoolOr("use_regex", true)) {
      steps.AddSplit(kGpt2Pattern, SplitBehavior::kIsolated, false);
    }
  } else {
    Unsupported("pre-tokenizer", type, "Split, Digits, Metaspace, ByteLevel and Sequence");
  }
}

// Reads the steps of a decoder for tokens that are spelled as text.
class TextDecoderReader {
 public:
  void Add(const std::string& type, const JsonReader& step) {
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

  void ReadStrip(const JsonReader& step) {
    if (step.Member("stop").Unsigned() != 0) {
      step.Fail("the decoder 'Strip' is supported at the beginning of the text only");
    }
    decoder_.strip.character = step.Member("content").String();
    decoder_.strip.most = step.Member("start").Unsigned();
    if (decoder_.strip.character.empty()) Throw("the decoder 'Strip' strips nothing");
  }

  Stage stage_ = Stage::kReplace;
  TokenDecoder decoder_;
};

// The ids that `name` stands for in a TemplateProcessing.
std::vector<TokenId> TemplateIds(const JsonReader& processor, const std::string& name) {
  const JsonReader tokens = processor.Member("special_tokens");
  const JsonReader entry = tokens.Member(name);
  const JsonReader ids = entry.Member("ids");
  ids.RequireArray();
  std::vector<TokenId> out;
  for (std::size_t i = 0; i < ids.value().size(); ++i) out.push_back(ReadTokenId(ids.Element(i)));
  return out;
}

// The ids that a TemplateProcessing puts before a text.
std::vector<TokenId> ReadTemplate(const JsonReader& processor) {
  const JsonReader parts = processor.Member("single");
  parts.RequireArray();
  std::vector<TokenId> prefix;
  bool after_text = false;
  for (std::size_t i = 0; i < parts.value().size(); ++i) {
    const JsonReader part = parts.Element(i);
    if (part.OptionalMember("Sequence")) {
      after_text = true;
      continue;
    }
    const JsonReader special = part.Member("SpecialToken");
    const std::string& name = special.Member("id").String();
    if (after_text) {
      part.Fail("the post-processor adds '{}' after the text, which is not supported", name);
    }
    const std::vector<TokenId> ids = TemplateIds(processor, name);
    prefix.insert(prefix.end(), ids.begin(), ids.end());
  }
  return prefix;
}

}  // namespace

TokenId ReadTokenId(const JsonReader& value) {
  return static_cast<TokenId>(value.Int(static_cast<int>(kMaxVocabulary) - 1));
}

ModelPart ReadModel(const JsonReader& model) {
  // Files of old versions leave the type out.
  const std::string type = model.StringOr("type", "BPE");
  if (type != "BPE") Unsupported("model", type, "BPE");
  model.Member("vocab").RequireObject();
  model.Member("merges").RequireArray();
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!IsNullOrEmpty(model, affix)) model.Fail("the model's '{}' is not supported", affix);
  }
  if (model.NumberOr("dropout", 0) != 0) model.Fail("the model's 'dropout' is not supported");
  ModelPart out;
  out.options.ignore_merges = model.BoolOr("ignore_merges", false);
  out.options.rank_by_token = model.BoolOr("rank_by_token", false);
  out.options.byte_fallback = model.BoolOr("byte_fallback", false);
  out.options.fuse_unknown = model.BoolOr("fuse_unk", false);
  out.unknown_token = model.StringOr("unk_token", "");
  return out;
}

Normalizer ReadNormalizer(const std::optional<JsonReader>& component) {
  Normalizer out;
  VisitSequence(component, "normalizers", [&](const std::string& type, const JsonReader& step) {
    if (type == "NFC") {
      out.AddNfc();
    } else if (type == "Prepend") {
      out.AddPrepend(step.Member("prepend").String());
    } else if (type == "Replace") {
      out.AddReplace(ReplacementFrom(step, "normalizer"));
    } else {
      Unsupported("normalizer", type, "NFC, Prepend, Replace and Sequence");
    }
  });
  return out;
}

PreTokenizerPart ReadPreTokenizer(const std::optional<JsonReader>& component) {
  PreTokenizerPart out;
  VisitSequence(component, "pretokenizers", [&](const std::string& type, const JsonReader& step) {
    if (out.byte_level) {
      Throw("the pre-tokenizer '{}' stands after 'ByteLevel'", type);
    }
    AddPreTokenizerStep(type, step, &out);
  });
  return out;
}

DecoderPart ReadDecoder(const std::optional<JsonReader>& component) {
  if (!component) Throw("there is no decoder, which is not supported");
  DecoderPart out;
  TextDecoderReader text;
  bool any_text = false;
  VisitSequence(component, "decoders", [&](const std::string& type, const JsonReader& step) {
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

AddedToken ReadAddedToken(const JsonReader& entry) {
  AddedToken token;
  token.content = entry.Member("content").String();
  token.special = entry.BoolOr("special", false);
  token.normalized = entry.BoolOr("normalized", !token.special);
  token.single_word = entry.BoolOr("single_word", false);
  token.lstrip = entry.BoolOr("lstrip", false);
  token.rstrip = entry.BoolOr("rstrip", false);
  return token;
}

std::vector<AddedToken> ReadAddedTokens(const JsonReader& list) {
  list.RequireArray();
  std::vector<AddedToken> out;
  for (std::size_t i = 0; i < list.value().size(); ++i) {
    const JsonReader entry = list.Element(i);
    out.push_back(ReadAddedToken(entry));
    out.back().id = ReadTokenId(entry.Member("id"));
  }
  return out;
}

std::vector<TokenId> ReadPostProcessor(const std::optional<JsonReader>& component) {
  std::vector<TokenId> prefix;
  VisitSequence(component, "processors", [&](const std::string& type, const JsonReader& processor) {
    if (type == "TemplateProcessing") {
      prefix = ReadTemplate(processor);
    } else if (type != "ByteLevel") {  // which moves offsets only
      Unsupported("post-processor", type, "TemplateProcessing, ByteLevel and Sequence");
    }
  });
  return prefix;
}

}  // namespace doppler
