#include "text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

using testing::ElementsAre;

std::vector<std::string> Words(const PreTokenizer& pre_tokenizer, std::string_view text,
                               bool first = true) {
  MatchScratch scratch;
  std::vector<std::string> out;
  pre_tokenizer.Split(text, first, &scratch,
                      [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

std::vector<std::string> SplitWith(SplitBehavior behavior, bool invert, std::string_view text) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AddSplit("-", behavior, invert);
  return Words(pre_tokenizer, text);
}

// The first example is that of Hugging Face's documentation of Split.
TEST(PreTokenizer, Behaviors) {
  const char* text = "the-final--countdown";
  EXPECT_THAT(SplitWith(SplitBehavior::kIsolated, false, text),
              ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(SplitWith(SplitBehavior::kRemoved, false, text),
              ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(SplitWith(SplitBehavior::kMergedWithPrevious, false, text),
              ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(SplitWith(SplitBehavior::kMergedWithNext, false, text),
              ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(SplitWith(SplitBehavior::kContiguous, false, text),
              ElementsAre("the", "-", "final", "--", "countdown"));
}

TEST(PreTokenizer, BehaviorsAtTheEnds) {
  EXPECT_THAT(SplitWith(SplitBehavior::kMergedWithPrevious, false, "-a-"), ElementsAre("-", "a-"));
  EXPECT_THAT(SplitWith(SplitBehavior::kMergedWithNext, false, "-a-"), ElementsAre("-a", "-"));
  EXPECT_THAT(SplitWith(SplitBehavior::kContiguous, false, "--"), ElementsAre("--"));
  EXPECT_THAT(SplitWith(SplitBehavior::kRemoved, false, "--"), ElementsAre());
  EXPECT_THAT(SplitWith(SplitBehavior::kIsolated, false, ""), ElementsAre());
}

TEST(PreTokenizer, InvertMakesTheRestTheMatch) {
  EXPECT_THAT(SplitWith(SplitBehavior::kRemoved, true, "a-b--c"), ElementsAre("-", "-", "-"));
  EXPECT_THAT(SplitWith(SplitBehavior::kMergedWithPrevious, true, "a-b"), ElementsAre("a", "-b"));
}

TEST(PreTokenizer, StepsSplitTheWordsOfTheStepBefore) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AddSplit(R"(\p{N}{1,3})", SplitBehavior::kIsolated, false);
  pre_tokenizer.AddSplit("[一-龥]+", SplitBehavior::kIsolated, false);
  pre_tokenizer.AddSplit("^b|.$", SplitBehavior::kIsolated, false);
  EXPECT_THAT(Words(pre_tokenizer, "abc12345漢字bb"),
              ElementsAre("ab", "c", "12", "3", "4", "5", "漢", "字", "b", "b"));
}

TEST(PreTokenizer, Gpt2Pattern) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AddSplit(kGpt2Pattern, SplitBehavior::kIsolated, false);
  EXPECT_THAT(
      Words(pre_tokenizer, "I'm  here, at 10:30!\n\n x"),
      ElementsAre("I", "'m", " ", " here", ",", " at", " 10", ":", "30", "!", "\n\n", " x"));
}

TEST(PreTokenizer, PrefixSpaceOnlyWhereThereIsNone) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AddPrefixSpace();
  EXPECT_THAT(Words(pre_tokenizer, "a b"), ElementsAre(" a b"));
  EXPECT_THAT(Words(pre_tokenizer, " a"), ElementsAre(" a"));
  EXPECT_THAT(Words(pre_tokenizer, "\ta"), ElementsAre(" \ta"));
  EXPECT_THAT(Words(pre_tokenizer, ""), ElementsAre());
}

TEST(PreTokenizer, EmptyMatchesSplitBetweenCharacters) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AddSplit("x*", SplitBehavior::kIsolated, false);
  EXPECT_THAT(Words(pre_tokenizer, "日xxb"), ElementsAre("日", "xx", "b"));
}

TEST(PreTokenizer, NumberOfStepsIsBounded) {
  PreTokenizer pre_tokenizer;
  EXPECT_THROW(
      for (int i = 0; i < 100; ++i) pre_tokenizer.AddSplit("a", SplitBehavior::kIsolated, false),
      Error);
}

std::vector<std::string> Metaspace(PrependScheme scheme, bool split, std::string_view text,
                                   bool first = true) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AddMetaspace("▁", scheme, split);
  EXPECT_FALSE(pre_tokenizer.NeedsUtf8());
  return Words(pre_tokenizer, text, first);
}

TEST(PreTokenizer, MetaspaceMarksSpaces) {
  EXPECT_THAT(Metaspace(PrependScheme::kAlways, true, "a  bc"), ElementsAre("▁a", "▁", "▁bc"));
  EXPECT_THAT(Metaspace(PrependScheme::kAlways, false, "a  bc"), ElementsAre("▁a▁▁bc"));
  EXPECT_THAT(Metaspace(PrependScheme::kAlways, false, " a"), ElementsAre("▁a"));
  EXPECT_THAT(Metaspace(PrependScheme::kAlways, false, "▁a"), ElementsAre("▁a"));
  EXPECT_THAT(Metaspace(PrependScheme::kNever, true, "a b "), ElementsAre("a", "▁b", "▁"));
  EXPECT_THAT(Metaspace(PrependScheme::kNever, false, "\xFF b"), ElementsAre("\xFF▁b"));
  EXPECT_THROW(PreTokenizer().AddMetaspace("", PrependScheme::kAlways, true), Error);
}

TEST(PreTokenizer, MetaspaceMarksTheFirstTextOnly) {
  EXPECT_THAT(Metaspace(PrependScheme::kFirst, false, "a b"), ElementsAre("▁a▁b"));
  EXPECT_THAT(Metaspace(PrependScheme::kFirst, false, "a b", false), ElementsAre("a▁b"));
  PreTokenizer after_split;
  after_split.AddSplit("-", SplitBehavior::kRemoved, false);
  after_split.AddMetaspace("▁", PrependScheme::kFirst, false);
  EXPECT_THAT(Words(after_split, "a-b"), ElementsAre("▁a", "b"));
  EXPECT_THAT(Words(after_split, "-b"), ElementsAre("b"));
}

}  // namespace
}  // namespace doppler
