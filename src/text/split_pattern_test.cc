#include "text/split_pattern.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/file.h"
#include "text/split_rules.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> AllMatches(const std::string& pattern, std::string_view text) {
  const SplitPattern compiled(pattern);
  MatchScratch scratch;
  std::vector<std::string> out;
  std::size_t at = 0;
  while (const auto match = compiled.Find(text, at, &scratch)) {
    out.emplace_back(text.substr(match->begin, match->end - match->begin));
    if (match->end == match->begin) break;
    at = match->end;
  }
  return out;
}

TEST(SplitPattern, KnowsUnicode) {
  EXPECT_THAT(AllMatches(R"(\p{L}+|\p{N}|\s)", "Zoë日本٣½ \u3000!"),
              ElementsAre("Zoë日本", "٣", "½", " ", "\u3000"));
  EXPECT_THAT(AllMatches(R"((?i:'s|'LL))", "it'S we'll I'm"), ElementsAre("'S", "'ll"));
  EXPECT_THAT(AllMatches(R"(\s)", "\u180E"), ElementsAre());
  EXPECT_THAT(AllMatches(R"(\s+)", "\t\u0085\u00A0\u2028"), ElementsAre("\t\u0085\u00A0\u2028"));
}

// U+3001 and U+30FB are used in Han texts, but are no Han characters.
TEST(SplitPattern, ScriptsAreThoseOfTheCharacters) {
  EXPECT_THAT(AllMatches(R"(\p{Han}+)", "漢、・字〇々"), ElementsAre("漢", "字〇々"));
}

TEST(SplitPattern, ExcludesHanAsItsAuthorsMeant) {
  EXPECT_THAT(AllMatches(R"([\p{Han}]+|[\p{Lo}\p{Ll}&&[^\p{Han}]]+)", "abc漢字かなdef"),
              ElementsAre("abc", "漢字", "かなdef"));
}

// The words were written by node, from the pattern in JavaScript's spelling.
TEST(SplitPattern, SplitsAsKimiDoes) {
  const auto cases = nlohmann::json::parse(
      ReadTextFile(DOPPLER_SOURCE_DIR "/tests/data/tokenizers/splits/kimi.json"));
  ASSERT_GT(cases.size(), 300u);
  for (const nlohmann::json& one : cases) {
    const auto text = one["text"].get<std::string>();
    EXPECT_EQ(AllMatches(std::string(kKimiPattern), text),
              one["words"].get<std::vector<std::string>>())
        << text;
  }
}

TEST(SplitPattern, MatchesEmptyTextAndEmptyMatches) {
  EXPECT_THAT(AllMatches("a*", ""), ElementsAre(""));
  EXPECT_THAT(AllMatches("", "b"), ElementsAre(""));
  EXPECT_THAT(AllMatches("a", ""), ElementsAre());
}

TEST(SplitPattern, BadPatternsAreErrorsThatNameThem) {
  for (const char* pattern : {"(", "a{2,1}", "\\p{Nonsense}", "(?<=a+)b", "\\C"}) {
    try {
      const SplitPattern compiled(pattern);
      ADD_FAILURE() << pattern;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(pattern));
    }
  }
  EXPECT_THROW(SplitPattern(std::string(100'000, 'a')), Error);
  EXPECT_THROW(SplitPattern(std::string(1000, '(') + std::string(1000, ')')), Error);
}

TEST(SplitPattern, CatastrophicBacktrackingIsAnError) {
  const SplitPattern pattern("(a+)+$");
  MatchScratch scratch;
  EXPECT_THROW(pattern.Find(std::string(60, 'a') + "b", 0, &scratch), Error);
}

TEST(SplitPattern, LongRunsAreNoCatastrophe) {
  const std::string spaces(1'000'000, ' ');
  EXPECT_THAT(AllMatches(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", spaces + "x"),
              ElementsAre(spaces.substr(1), " "));
  const std::string letters(1'000'000, 'x');
  EXPECT_THAT(AllMatches(R"([^\r\n\p{L}\p{N}]?[\p{Ll}\p{Lo}&&[^\p{Han}]]+|\p{N})", letters),
              ElementsAre(letters));
}

TEST(SplitPattern, MatchingBackwardsIsAnError) {
  EXPECT_THROW(AllMatches("(?=ab\\K)", "ab"), Error);
}

}  // namespace
}  // namespace doppler
