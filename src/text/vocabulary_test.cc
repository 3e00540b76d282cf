#include "text/vocabulary.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

TEST(Vocabulary, FindsByBytesAndById) {
  Vocabulary::Builder builder;
  builder.Add("Ġthe", 7);
  builder.Add("æĹ¥", 2);
  builder.AddLiteral("<|end|>", 9);
  const Vocabulary vocabulary = builder.Finish(TokenSpelling::kByteAlphabet);
  EXPECT_EQ(vocabulary.size(), 10u);
  EXPECT_EQ(vocabulary.Bytes(7), " the");
  EXPECT_EQ(vocabulary.Bytes(2), "日");
  EXPECT_EQ(vocabulary.Bytes(9), "<|end|>");
  EXPECT_EQ(vocabulary.Find(" the"), 7);
  EXPECT_EQ(vocabulary.Find("日"), 2);
  EXPECT_EQ(vocabulary.Find("<|end|>"), kNoToken);
  EXPECT_EQ(vocabulary.Find("the"), kNoToken);
  for (const TokenId id : {-1, 0, 8, 10, 2'000'000'000}) EXPECT_EQ(vocabulary.Bytes(id), "") << id;
}

TEST(Vocabulary, EmptyFindsNothing) {
  const Vocabulary vocabulary = Vocabulary::Builder().Finish(TokenSpelling::kByteAlphabet);
  EXPECT_EQ(vocabulary.size(), 0u);
  EXPECT_EQ(vocabulary.Find("a"), kNoToken);
}

TEST(Vocabulary, AddedTokensMayRepeatTheirEntry) {
  Vocabulary::Builder builder;
  builder.Add("<s>", 0);
  builder.Add("<｜x｜>", 1);
  builder.Add("é", 2);  // spells the byte E9
  builder.AddLiteral("<s>", 0);
  builder.AddLiteral("<｜x｜>", 1);
  builder.AddLiteral("é", 2);  // stands for its own text
  const Vocabulary vocabulary = builder.Finish(TokenSpelling::kByteAlphabet);
  EXPECT_EQ(vocabulary.Find("<s>"), 0);
  EXPECT_EQ(vocabulary.Bytes(1), "<｜x｜>");
  EXPECT_EQ(vocabulary.Bytes(2), "é");
  EXPECT_EQ(vocabulary.Find("\xE9"), kNoToken);
}

TEST(Vocabulary, PlainTextIsFoundAsItIsWritten) {
  Vocabulary::Builder builder;
  builder.Add("▁the", 1);
  builder.Add("é", 2);
  builder.Add("</s>", 3);
  builder.AddLiteral("</s>", 3);
  builder.AddLiteral("<|x|>", 5);
  const Vocabulary vocabulary = builder.Finish(TokenSpelling::kText);
  EXPECT_EQ(vocabulary.Find("▁the"), 1);
  EXPECT_EQ(vocabulary.Find("é"), 2);
  EXPECT_EQ(vocabulary.Find("</s>"), 3);
  EXPECT_EQ(vocabulary.Find("<|x|>"), kNoToken);
  EXPECT_EQ(vocabulary.Bytes(1), "▁the");
}

TEST(Vocabulary, ConflictsAreErrors) {
  const auto finish = [](std::initializer_list<std::pair<const char*, int>> tokens,
                         std::initializer_list<std::pair<const char*, int>> added) {
    Vocabulary::Builder builder;
    for (const auto& [text, id] : tokens) builder.Add(text, id);
    for (const auto& [text, id] : added) builder.AddLiteral(text, id);
    builder.Finish(TokenSpelling::kByteAlphabet);
  };
  EXPECT_NO_THROW(finish({{"a", 0}, {"b", 1}}, {{"b", 1}}));
  EXPECT_THROW(finish({{"a", 0}, {"b", 0}}, {}), Error);
  EXPECT_THROW(finish({{"a", 0}, {"a", 1}}, {}), Error);
  EXPECT_THROW(finish({{"a", 0}}, {{"b", 0}}), Error);
  EXPECT_THROW(finish({{"a", 0}}, {{"a", 1}}), Error);
  EXPECT_THROW(finish({}, {{"a", 1}, {"a", 1}}), Error);
}

TEST(Vocabulary, IdsOutOfRangeAreErrors) {
  Vocabulary::Builder builder;
  EXPECT_THROW(builder.Add("a", -1), Error);
  EXPECT_THROW(builder.Add("a", kMaxVocabulary), Error);
  EXPECT_THROW(builder.AddLiteral("a", INT64_MAX), Error);
}

}  // namespace
}  // namespace doppler
