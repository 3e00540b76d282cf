#include "text/gguf_vocabulary.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// All bytes, by value, then "ab" (256), "abc" (257), <s> (258, control), <tool> (259,
// user-defined), padding (260, unused).
GgufVocabulary Small(const std::string& pre) {
  GgufVocabulary out;
  out.model = "gpt2";
  out.pre = pre;
  for (int byte = 0; byte < 256; ++byte) {
    out.tokens.push_back(BytesToSpelled(std::string(1, static_cast<char>(byte))));
  }
  out.token_types.assign(258, 1);
  for (const char* token : {"ab", "abc", "<s>", "<tool>", "[PAD260]"}) out.tokens.push_back(token);
  for (const int type : {3, 4, 5}) out.token_types.push_back(type);
  out.merges = {"b c", "a b", "ab c"};
  out.tokens.push_back("bc");
  out.token_types.push_back(1);
  out.bos_id = 258;
  out.eos_id = 258;
  return out;
}

Tokenizer Load(const GgufVocabulary& vocabulary) {
  return Tokenizer::FromJson(TokenizerJson(vocabulary), TokenizerConfigJson(vocabulary), "gguf",
                             GenerationConfigJson(vocabulary));
}

std::string LoadFailure(const GgufVocabulary& vocabulary) {
  try {
    Load(vocabulary);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(GgufVocabulary, TypesBecomeAddedTokens) {
  const Tokenizer tokenizer = Load(Small("gpt-2"));
  EXPECT_THAT(tokenizer.Encode("abc<s><tool>"), ElementsAre('a', 261, 258, 259));
  EXPECT_THAT(tokenizer.Encode("<tool>", {.parse_special = false}), ElementsAre(259));
  EXPECT_TRUE(tokenizer.IsSpecial(258));
  EXPECT_FALSE(tokenizer.IsSpecial(259));
  EXPECT_EQ(tokenizer.TokenBytes(260), "");
  EXPECT_EQ(tokenizer.vocab_size(), 262u);
}

TEST(GgufVocabulary, LlamaNamesIgnoreMergesAndBeginTexts) {
  for (const char* name : {"llama-bpe", "llama3", "llama-v3"}) {
    GgufVocabulary vocabulary = Small(name);
    EXPECT_THAT(Load(vocabulary).Encode("abc"), ElementsAre(258, 257)) << name;
    vocabulary.add_bos = false;
    EXPECT_THAT(Load(vocabulary).Encode("abc"), ElementsAre(257)) << name;
  }
  EXPECT_FALSE(Load(Small("qwen2")).adds_bos());
}

TEST(GgufVocabulary, QwenNamesNormalize) {
  EXPECT_THAT(Load(Small("qwen2")).Encode("e\u0301"), ElementsAre(0xC3, 0xA9));
  EXPECT_THAT(Load(Small("llama3")).Encode("e\u0301", {.add_bos = false}),
              ElementsAre('e', 0xCC, 0x81));
}

// Which names join which characters shows in whether the merge "x y" is reached.
TEST(GgufVocabulary, NamesDifferInWhatTheyJoin) {
  const auto joins = [](const char* name, const std::string& left, const std::string& right) {
    GgufVocabulary vocabulary = Small(name);
    const auto spell = [](const std::string& bytes) { return BytesToSpelled(bytes); };
    vocabulary.tokens.push_back(spell(left + right));
    vocabulary.token_types.push_back(1);
    vocabulary.merges.push_back(spell(left) + " " + spell(right));
    return Load(vocabulary).Encode(left + right, {.add_bos = false}).size() == 1;
  };
  for (const char* name : {"gpt-2", "llama3", "gpt-4o", "deepseek-v3"}) {
    EXPECT_TRUE(joins(name, "1", "2")) << name;
  }
  EXPECT_FALSE(joins("qwen2", "1", "2"));
  EXPECT_FALSE(joins("qwen35", "1", "2"));
  EXPECT_TRUE(joins("default", "x", "y"));
  EXPECT_FALSE(joins("default", " ", "$"));
  EXPECT_TRUE(joins("gpt-2", " ", "$"));
  EXPECT_TRUE(joins("llama3", "(", "x"));
  EXPECT_FALSE(joins("gpt-2", "(", "x"));
  EXPECT_TRUE(joins("gpt-4o", "!", "/"));
  EXPECT_FALSE(joins("gpt-4o", "x", "Y"));
  EXPECT_TRUE(joins("llama3", "x", "Y"));
}

TEST(GgufVocabulary, SeveralEndsOfText) {
  GgufVocabulary vocabulary = Small("qwen2");
  vocabulary.eot_id = 259;
  EXPECT_THAT(Load(vocabulary).eos_ids(), ElementsAre(258, 259));
  vocabulary.chat_template = "{% if x %}\n\"{{ y }}\"{% endif %}";
  EXPECT_EQ(Load(vocabulary).chat_template(), vocabulary.chat_template);
}

TEST(GgufVocabulary, WhatIsNotSupportedIsNamed) {
  GgufVocabulary vocabulary = Small("mystery-7");
  EXPECT_THAT(LoadFailure(vocabulary), HasSubstr("'mystery-7', which is not supported"));
  vocabulary = Small("gpt-2");
  vocabulary.model = "bert";
  EXPECT_THAT(LoadFailure(vocabulary), HasSubstr("'bert', which is not supported"));
  vocabulary.model = "llama";
  EXPECT_THAT(LoadFailure(vocabulary), HasSubstr("scores has 0 entries for 262 tokens"));
  vocabulary = Small("gpt-2");
  vocabulary.token_types[5] = 6;
  EXPECT_THAT(LoadFailure(vocabulary), HasSubstr("type 6"));
  vocabulary = Small("gpt-2");
  vocabulary.token_types.pop_back();
  EXPECT_THAT(LoadFailure(vocabulary), HasSubstr("261 entries for 262 tokens"));
  vocabulary = Small("gpt-2");
  vocabulary.eos_id = 262;
  EXPECT_THAT(LoadFailure(vocabulary), HasSubstr("is 262, but there are 262 tokens"));
  vocabulary = Small("gpt-2");
  vocabulary.tokens[0] = "\xFF";
  EXPECT_THAT(LoadFailure(vocabulary), HasSubstr("not valid UTF-8"));
}

// <unk> (0), <s> (1), </s> (2), the bytes (3 to 258), letters, and what they join to. The scores
// put "ab" before "bc", and "▁a" last.
GgufVocabulary SmallSentencePiece() {
  GgufVocabulary out;
  out.model = "llama";
  const auto add = [&](const std::string& token, int type, double score) {
    out.tokens.push_back(token);
    out.token_types.push_back(type);
    out.scores.push_back(score);
  };
  add("<unk>", 2, 0);
  add("<s>", 3, 0);
  add("</s>", 3, 0);
  for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte), 6, 0);
  int id = 259;
  for (const char* token : {"▁", "a", "b", "c"}) add(token, 1, -1000 - id++);
  add("▁a", 1, -9);  // 263
  add("bc", 1, -5);  // 264
  add("ab", 1, -4);  // 265
  add("▁▁", 1, -8);  // 266
  out.bos_id = 1;
  out.eos_id = 2;
  return out;
}

TEST(GgufVocabulary, SentencePieceJoinsByScore) {
  const Tokenizer tokenizer = Load(SmallSentencePiece());
  EXPECT_THAT(tokenizer.Encode("abc"), ElementsAre(1, 259, 265, 262));
  EXPECT_THAT(tokenizer.Encode("bc  a", {.add_bos = false}), ElementsAre(259, 264, 266, 260));
  EXPECT_THAT(tokenizer.Encode("é</s>a", {.add_bos = false}),
              ElementsAre(259, 3 + 0xC3, 3 + 0xA9, 2, 263));
  for (const char* text : {"abc", " abc", "a  b", "日本 a", "\xFF\xFE a\xC3"}) {
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, {.add_bos = false})), text);
  }
}

TEST(GgufVocabulary, SentencePieceMayGoWithoutThePrefix) {
  GgufVocabulary vocabulary = SmallSentencePiece();
  vocabulary.add_space_prefix = false;
  const Tokenizer tokenizer = Load(vocabulary);
  EXPECT_THAT(tokenizer.Encode("a a", {.add_bos = false}), ElementsAre(260, 263));
  EXPECT_EQ(tokenizer.Decode(std::vector<TokenId>{263}), " a");
}

TEST(GgufVocabulary, PhiSwallowsWhitespaceAfterSpecialTokens) {
  GgufVocabulary vocabulary = SmallSentencePiece();
  vocabulary.tokens.push_back("<|user|>");
  vocabulary.token_types.push_back(3);
  vocabulary.scores.push_back(0);
  const auto ids = [&] { return Load(vocabulary).Encode("<|user|>\n c<s> c", {.add_bos = false}); };
  EXPECT_THAT(ids(), ElementsAre(267, 259, 3 + '\n', 259, 262, 1, 266, 262));
  vocabulary.architecture = "phimoe";
  EXPECT_THAT(ids(), ElementsAre(267, 259, 262, 1, 266, 262));
}

// Merges come from the ranks: a GGUF of Kimi may have none.
TEST(GgufVocabulary, KimiJoinsByRank) {
  GgufVocabulary vocabulary = Small("kimi-k2");
  vocabulary.merges.clear();
  EXPECT_THAT(Load(vocabulary).Encode("abc abca漢x"),
              ElementsAre(257, ' ', 257, 'a', 0xE6, 0xBC, 0xA2, 'x'));
}

}  // namespace
}  // namespace doppler
