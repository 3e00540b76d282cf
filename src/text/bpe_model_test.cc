#include "text/bpe_model.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

using testing::ElementsAre;

// A model over the letters a to e, with the tokens that its merges make.
class Letters {
 public:
  explicit Letters(const std::vector<std::string>& merges, bool ignore_merges = false) {
    Vocabulary::Builder builder;
    TokenId id = 0;
    for (const char letter : std::string("abcde")) builder.Add(std::string(1, letter), id++);
    MergeList list;
    for (const std::string& merge : merges) {
      list.AddJoined(merge);
      std::string made = merge;
      made.erase(made.find(' '), 1);
      builder.Add(made, id++);
    }
    vocabulary_ = builder.Finish(TokenSpelling::kByteAlphabet);
    model_ = BpeModel(vocabulary_, list, {.ignore_merges = ignore_merges});
  }

  std::vector<std::string> Encode(std::string_view word) {
    std::vector<TokenId> ids;
    model_.Encode(vocabulary_, word, &scratch_, &ids);
    std::vector<std::string> out;
    for (const TokenId id : ids) out.emplace_back(vocabulary_.Bytes(id));
    return out;
  }

 private:
  Vocabulary vocabulary_;
  BpeModel model_;
  BpeScratch scratch_;
};

// The definition, in the slowest and most obvious way.
std::vector<std::string> Reference(const std::vector<std::string>& merges, std::string_view word) {
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (;;) {
    std::size_t best = merges.size();
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found =
          std::find(merges.begin(), merges.end(), parts[i] + " " + parts[i + 1]) - merges.begin();
      if (static_cast<std::size_t>(found) < best) {
        best = static_cast<std::size_t>(found);
        at = i;
      }
    }
    if (best == merges.size()) return parts;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

const std::vector<std::string> kMerges = {"a b",  "b c",    "ab c", "d d", "dd dd", "e a",
                                          "ea b", "abc dd", "c c",  "a a", "aa aa", "aaaa a"};

TEST(BpeModel, MergesByRankThenFromTheLeft) {
  Letters letters(kMerges);
  EXPECT_THAT(letters.Encode("abc"), ElementsAre("abc"));
  EXPECT_THAT(letters.Encode("eabc"), ElementsAre("e", "abc"));
  EXPECT_THAT(letters.Encode("ddd"), ElementsAre("dd", "d"));
  EXPECT_THAT(letters.Encode("a"), ElementsAre("a"));
  EXPECT_THAT(letters.Encode(""), ElementsAre());
}

TEST(BpeModel, ShortAndLongWordsFollowTheDefinition) {
  Letters letters(kMerges);
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string word(1 + random() % 80, ' ');
    for (char& letter : word) letter = "abcde"[random() % 5];
    ASSERT_EQ(letters.Encode(word), Reference(kMerges, word)) << word;
  }
}

TEST(BpeModel, LongWordsTakeNoQuadraticTime) {
  // A million letters: a quadratic loop would not end within the test's limit.
  Letters letters({"a a", "aa aa", "aaaa aaaa"});
  EXPECT_EQ(letters.Encode(std::string(1'000'000, 'a')).size(), 125'000u);
}

TEST(BpeModel, IgnoreMergesTakesWholeTokensOnly) {
  // "cab" is a token that no merge reaches: c and ab are never joined.
  const std::vector<std::string> merges = {"b c", "a b", "c ab"};
  EXPECT_THAT(Letters(merges, false).Encode("abc"), ElementsAre("a", "bc"));
  EXPECT_THAT(Letters({"b c", "a b", "ab c"}, false).Encode("abc"), ElementsAre("a", "bc"));
  EXPECT_THAT(Letters({"b c", "a b", "ab c"}, true).Encode("abc"), ElementsAre("abc"));
  EXPECT_THAT(Letters({"b c", "a b", "ab c"}, true).Encode("abcd"), ElementsAre("a", "bc", "d"));
}

// The definition of tiktoken's joining: the pair whose token has the lowest id, the leftmost of
// several; it does not matter which two parts make the token.
std::vector<std::string> TiktokenReference(const std::vector<std::string>& tokens,
                                           std::string_view word) {
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (;;) {
    std::size_t best = tokens.size();
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = static_cast<std::size_t>(
          std::find(tokens.begin(), tokens.end(), parts[i] + parts[i + 1]) - tokens.begin());
      if (found < best) {
        best = found;
        at = i;
      }
    }
    if (best == tokens.size()) return parts;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(BpeModel, RanksByTokenWhicheverPartsMakeIt) {
  const std::vector<std::string> tokens = {"a", "b", "c", "ab", "bc", "abc", "aa", "aab", "bca"};
  Vocabulary::Builder builder;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    builder.Add(tokens[id], static_cast<std::int64_t>(id));
  }
  const Vocabulary vocabulary = builder.Finish(TokenSpelling::kByteAlphabet);
  MergeList merges;  // in an order of no meaning
  for (const char* merge : {"bc a", "aa b", "a ab", "a a", "a bc", "ab c", "b c", "a b"}) {
    merges.AddJoined(merge);
  }
  const BpeModel model(vocabulary, merges, {.rank_by_token = true});
  BpeScratch scratch;
  std::mt19937 random(2);
  for (int round = 0; round < 2000; ++round) {
    std::string word(1 + random() % 60, ' ');
    for (char& letter : word) letter = "abc"[random() % 3];
    std::vector<TokenId> ids;
    model.Encode(vocabulary, word, &scratch, &ids);
    std::vector<std::string> got;
    for (const TokenId id : ids) got.emplace_back(vocabulary.Bytes(id));
    ASSERT_EQ(got, TiktokenReference(tokens, word)) << word;
  }
}

// Spelled as text: <unk> (0), the byte tokens of é's two bytes (1, 2), and some letters.
class Characters {
 public:
  explicit Characters(BpeOptions options, const std::vector<std::string>& merges = {}) {
    Vocabulary::Builder builder;
    TokenId id = 0;
    for (const char* token : {"<unk>", "<0xC3>", "<0xA9>", "▁", "a", "ä", "▁a", "a▁", "▁▁"}) {
      builder.Add(token, id++);
    }
    vocabulary_ = builder.Finish(TokenSpelling::kText);
    MergeList list;
    for (const std::string& merge : merges) list.AddJoined(merge);
    options.spelling = TokenSpelling::kText;
    model_ = BpeModel(vocabulary_, list, options);
  }

  std::vector<TokenId> Encode(std::string_view word) {
    std::vector<TokenId> ids;
    model_.Encode(vocabulary_, word, &scratch_, &ids);
    return ids;
  }

 private:
  Vocabulary vocabulary_;
  BpeModel model_;
  BpeScratch scratch_;
};

TEST(BpeModel, CharactersBecomeTokensBytesOrUnknown) {
  Characters fallback({.byte_fallback = true, .unknown = 0});
  EXPECT_THAT(fallback.Encode("aäé"), ElementsAre(4, 5, 1, 2));
  EXPECT_THAT(fallback.Encode("日a"), ElementsAre(0, 4));  // not all of its bytes have a token
  EXPECT_THAT(fallback.Encode("\xC3 \xA9"), ElementsAre(1, 0, 2));
  EXPECT_THAT(fallback.Encode("<0xC3>"), ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_THAT(Characters({.unknown = 0}).Encode("éa日本"), ElementsAre(0, 4, 0, 0));
  EXPECT_THAT(Characters({.unknown = 0, .fuse_unknown = true}).Encode("éa日本ä日"),
              ElementsAre(0, 4, 0, 5, 0));
  EXPECT_THROW(Characters({}).Encode("é"), Error);
}

TEST(BpeModel, TextsAreJoinedAcrossTheirWords) {
  EXPECT_THAT(Characters({}, {"▁ a", "▁ ▁"}).Encode("▁a▁▁▁a▁"), ElementsAre(6, 8, 6, 3));
  // a merge that reaches back over the beginning of a word
  EXPECT_THAT(Characters({}, {"a ▁", "▁ a", "▁ ▁"}).Encode("▁a▁▁a"), ElementsAre(3, 7, 6));
}

TEST(BpeModel, LongTextsOfManyWordsTakeNoQuadraticTime) {
  std::string text;
  for (int i = 0; i < 500'000; ++i) text += "▁a";
  EXPECT_EQ(Characters({}, {"▁ a", "▁ ▁"}).Encode(text).size(), 500'000u);
  EXPECT_EQ(Characters({}, {"a ▁", "▁ ▁"}).Encode(text).size(), 500'001u);
}

TEST(BpeModel, BytesWithoutATokenAreAnError) {
  Letters letters(kMerges);
  EXPECT_THROW(letters.Encode("abz"), Error);
}

TEST(BpeModel, MergesOfUnknownTokensAreErrors) {
  Vocabulary::Builder builder;
  builder.Add("a", 0);
  builder.Add("b", 1);
  builder.AddLiteral("ab", 2);
  const Vocabulary vocabulary = builder.Finish(TokenSpelling::kByteAlphabet);
  for (const char* merge : {"a b", "a c", "c a", "a 日"}) {
    MergeList merges;
    merges.AddJoined(merge);
    EXPECT_THROW(BpeModel(vocabulary, merges, {}), Error) << merge;
  }
}

TEST(MergeList, RefusesWhatIsNoPair) {
  MergeList merges;
  for (const char* merge : {"", "a", " ", "a ", " a", "a b c", "a  b"}) {
    EXPECT_THROW(merges.AddJoined(merge), Error) << merge;
  }
  EXPECT_THROW(merges.Add("", "a"), Error);
  merges.Add("a b", "c");
  EXPECT_EQ(merges.Left(0), "a b");
  EXPECT_EQ(merges.Right(0), "c");
}

}  // namespace
}  // namespace doppler
