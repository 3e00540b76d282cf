#include "text/added_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

using testing::ElementsAre;

// Text as it stands, tokens as #id.
std::vector<std::string> Parts(const AddedTokens& tokens, std::string_view text,
                               bool parse_special = true) {
  std::vector<std::string> out;
  tokens.Split(
      text, parse_special, [&](std::string_view part) { out.emplace_back(part); },
      [&](TokenId id) { out.push_back("#" + std::to_string(id)); });
  return out;
}

TEST(AddedTokens, LongestOfTheFirst) {
  const AddedTokens tokens({{.content = "<a>", .id = 1},
                            {.content = "<a><b>", .id = 2},
                            {.content = "b>x", .id = 3},
                            {.content = "<", .id = 4}});
  EXPECT_THAT(Parts(tokens, "x<a>y"), ElementsAre("x", "#1", "y"));
  EXPECT_THAT(Parts(tokens, "<a><b>x"), ElementsAre("#2", "x"));
  EXPECT_THAT(Parts(tokens, "<a><c<a"), ElementsAre("#1", "#4", "c", "#4", "a"));
  EXPECT_THAT(Parts(tokens, "ab>x<"), ElementsAre("a", "#3", "#4"));
  EXPECT_THAT(Parts(tokens, ""), ElementsAre());
}

TEST(AddedTokens, AreFoundByTheirText) {
  const AddedTokens tokens({{.content = "<b>", .id = 2}, {.content = "<a>", .id = 1}});
  EXPECT_EQ(tokens.Find("<a>"), 1);
  EXPECT_EQ(tokens.Find("<b>"), 2);
  EXPECT_EQ(tokens.Find("<"), kNoToken);
  EXPECT_EQ(tokens.Find("<c>"), kNoToken);
}

TEST(AddedTokens, SpecialOnesCanBeText) {
  const AddedTokens tokens(
      {{.content = "<s>", .id = 1, .special = true}, {.content = "<s", .id = 2}});
  EXPECT_THAT(Parts(tokens, "a<s>b"), ElementsAre("a", "#1", "b"));
  EXPECT_THAT(Parts(tokens, "a<s>b", false), ElementsAre("a", "#2", ">b"));
}

TEST(AddedTokens, StripsSwallowWhitespace) {
  const AddedTokens tokens(
      {{.content = "L", .id = 1, .lstrip = true}, {.content = "R", .id = 2, .rstrip = true}});
  EXPECT_THAT(Parts(tokens, "a \u3000\tL b"), ElementsAre("a", "#1", " b"));
  EXPECT_THAT(Parts(tokens, "a R\n\u00A0 b"), ElementsAre("a ", "#2", "b"));
  EXPECT_THAT(Parts(tokens, "R  L"), ElementsAre("#2", "#1"));
  EXPECT_THAT(Parts(tokens, "  L"), ElementsAre("#1"));
}

TEST(AddedTokens, SingleWordsStandAlone) {
  const AddedTokens tokens({{.content = "cat", .id = 1, .single_word = true}});
  EXPECT_THAT(Parts(tokens, "cat cats bobcat écat cat."),
              ElementsAre("#1", " cats bobcat écat ", "#1", "."));
}

TEST(AddedTokens, EmptyAndRepeatedOnesAreErrors) {
  EXPECT_THROW(AddedTokens({{.content = "", .id = 1}}), Error);
  EXPECT_THROW(AddedTokens({{.content = "a", .id = 1}, {.content = "a", .id = 2}}), Error);
}

}  // namespace
}  // namespace doppler
