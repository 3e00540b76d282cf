#include "text/gguf_vocabulary.h"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/split_rules.h"
#include "text/tokenizer_writer.h"
#include "text/utf8.h"

namespace doppler {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Token types, as GGUF numbers them.
enum TokenType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,  // "<0x0A>", in vocabularies of SentencePiece
};

constexpr TokenId kDefaultUnknown = 0;

bool IsSentencePiece(const GgufVocabulary& vocabulary) { return vocabulary.model == "llama"; }

std::int32_t TypeOf(const GgufVocabulary& vocabulary, std::size_t id) {
  if (vocabulary.token_types.empty()) return kNormal;
  const std::int32_t type = vocabulary.token_types[id];
  const std::int32_t last = IsSentencePiece(vocabulary) ? kByte : kUnused;
  if (type < kNormal || type > last) {
    Throw("token {} ('{}') has type {}, which a vocabulary of the kind '{}' does not have", id,
          vocabulary.tokens[id], type, vocabulary.model);
  }
  return type;
}

void Check(const GgufVocabulary& vocabulary) {
  if (vocabulary.model != "gpt2" && !IsSentencePiece(vocabulary)) {
    Throw(
        "tokenizer.ggml.model is '{}', which is not supported; 'gpt2' (byte-level BPE) and 'llama' "
        "(SentencePiece BPE) are",
        vocabulary.model);
  }
  const std::size_t size = vocabulary.tokens.size();
  if (size == 0) Throw("tokenizer.ggml.tokens is empty");
  if (!vocabulary.token_types.empty() && vocabulary.token_types.size() != size) {
    Throw("tokenizer.ggml.token_type has {} entries for {} tokens", vocabulary.token_types.size(),
          size);
  }
  if (IsSentencePiece(vocabulary) && vocabulary.scores.size() != size) {
    Throw("tokenizer.ggml.scores has {} entries for {} tokens", vocabulary.scores.size(), size);
  }
}

const std::string& TokenOf(const GgufVocabulary& vocabulary, TokenId id, const char* what) {
  if (id < 0 || static_cast<std::size_t>(id) >= vocabulary.tokens.size()) {
    Throw("{} is {}, but there are {} tokens", what, id, vocabulary.tokens.size());
  }
  return vocabulary.tokens[static_cast<std::size_t>(id)];
}

// Phi's special tokens swallow the whitespace after them, but for these; a GGUF cannot say it.
// Source: tokenizer.json of Phi-3 and Phi-3.5-MoE.
bool SwallowsSpace(const GgufVocabulary& vocabulary, std::string_view token) {
  if (!vocabulary.architecture.starts_with("phi")) return false;
  return token != "<unk>" && token != "<s>" && token != "<|endoftext|>";
}

std::vector<AddedToken> AddedTokensOf(const GgufVocabulary& vocabulary) {
  std::vector<AddedToken> out;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::int32_t type = TypeOf(vocabulary, id);
    if (type == kNormal || type == kUnused || type == kByte) continue;
    AddedToken token;
    token.content = vocabulary.tokens[id];
    token.id = static_cast<TokenId>(id);
    token.special = type != kUserDefined;
    token.rstrip = IsSentencePiece(vocabulary) && SwallowsSpace(vocabulary, token.content);
    out.push_back(std::move(token));
  }
  return out;
}

void AddVocabulary(const GgufVocabulary& vocabulary, TokenizerDocument* document) {
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::int32_t type = TypeOf(vocabulary, id);
    if (type != kNormal && type != kByte && type != kUnknown) continue;
    if (type == kUnknown && !IsSentencePiece(vocabulary)) continue;
    document->vocabulary.emplace_back(vocabulary.tokens[id], static_cast<TokenId>(id));
  }
}

// The normal tokens by id.
std::vector<TokenId> NormalTokens(const GgufVocabulary& vocabulary) {
  std::vector<TokenId> out;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (TypeOf(vocabulary, id) == kNormal) out.push_back(static_cast<TokenId>(id));
  }
  return out;
}

// "left right".
std::pair<std::string_view, std::string_view> PartsOf(std::string_view merge) {
  const std::size_t space = merge.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == merge.size() ||
      merge.find(' ', space + 1) != std::string_view::npos) {
    Throw("tokenizer.ggml.merges has '{}' instead of two tokens with a space between", merge);
  }
  return {merge.substr(0, space), merge.substr(space + 1)};
}

void AddByteLevelModel(const GgufVocabulary& vocabulary, TokenizerDocument* document) {
  const SplitRule& rule = SplitRuleByName(vocabulary.pre);
  if (rule.nfc) document->normalizer = {{"type", "NFC"}};
  document->pre_tokenizer = ByteLevelPreTokenizer(rule.patterns);
  document->decoder = ByteLevelDecoder();
  document->options.ignore_merges = rule.ignore_merges;
  document->options.rank_by_token = rule.tiktoken;
  if (rule.tiktoken) {
    document->merges = MergesOfTokens(vocabulary.tokens, NormalTokens(vocabulary));
    return;
  }
  for (const std::string& merge : vocabulary.merges) document->merges.push_back(PartsOf(merge));
}

// SentencePiece joins the pair whose token has the highest score; the merges list them in that
// order.
void AddSentencePieceModel(const GgufVocabulary& vocabulary, TokenizerDocument* document) {
  std::vector<TokenId> order = NormalTokens(vocabulary);
  const auto score = [&](TokenId id) { return vocabulary.scores[static_cast<std::size_t>(id)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return score(a) > score(b); });
  document->merges = MergesOfTokens(vocabulary.tokens, order);
  const OrderedJson to_mark = {
      {"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMetaspace}};
  OrderedJson steps = OrderedJson::array();
  if (vocabulary.add_space_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kMetaspace}});
  steps.push_back(to_mark);
  document->normalizer = {{"type", "Sequence"}, {"normalizers", steps}};
  OrderedJson decoders = OrderedJson::array(
      {{{"type", "Replace"}, {"pattern", {{"String", kMetaspace}}}, {"content", " "}},
       {{"type", "ByteFallback"}},
       {{"type", "Fuse"}}});
  if (vocabulary.add_space_prefix) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  document->decoder = {{"type", "Sequence"}, {"decoders", decoders}};
  document->options.byte_fallback = true;
  document->options.fuse_unknown = true;
  const TokenId unknown = vocabulary.unknown_id.value_or(kDefaultUnknown);
  document->unknown_token = TokenOf(vocabulary, unknown, "tokenizer.ggml.unknown_token_id");
}

std::string Dump(const OrderedJson& json) {
  try {
    return json.dump(2) + "\n";
  } catch (const OrderedJson::type_error&) {
    Throw("the chat template or a token is not valid UTF-8");
  }
}

bool BeginsTexts(const GgufVocabulary& vocabulary) {
  if (!vocabulary.bos_id) return false;
  return IsSentencePiece(vocabulary) || SplitRuleByName(vocabulary.pre).add_bos;
}

}  // namespace

std::string TokenizerJson(const GgufVocabulary& vocabulary) {
  Check(vocabulary);
  TokenizerDocument document;
  document.added_tokens = AddedTokensOf(vocabulary);
  AddVocabulary(vocabulary, &document);
  if (IsSentencePiece(vocabulary)) {
    AddSentencePieceModel(vocabulary, &document);
  } else {
    AddByteLevelModel(vocabulary, &document);
  }
  return WriteTokenizerJson(document);
}

std::string TokenizerConfigJson(const GgufVocabulary& vocabulary) {
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
  out["add_bos_token"] = vocabulary.add_bos.value_or(BeginsTexts(vocabulary));
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
