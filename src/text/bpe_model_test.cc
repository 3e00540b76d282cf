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
  // Two million letters: a quadratic loop would not end within the test's limit.
  Letters letters({"a a", "aa aa", "aaaa aaaa"});
  EXPECT_EQ(letters.Encode(std::string(2'000'000, 'a')).size(), 250'000u);
}

TEST(BpeModel, IgnoreMergesTakesWholeTokensOnly) {
  // "cab" is a token that no merge reaches: c and ab are never joined.
  const std::vector<std::string> merges = {"b c", "a b", "c ab"};
  EXPECT_THAT(Letters(merges, false).Encode("abc"), ElementsAre("a", "bc"));
  EXPECT_THAT(Letters({"b c", "a b", "ab c"}, false).Encode("abc"), ElementsAre("a", "bc"));
  EXPECT_THAT(Letters({"b c", "a b", "ab c"}, true).Encode("abc"), ElementsAre("abc"));
  EXPECT_THAT(Letters({"b c", "a b", "ab c"}, true).Encode("abcd"), ElementsAre("a", "bc", "d"));
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
