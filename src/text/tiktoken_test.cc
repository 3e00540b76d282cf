#include "text/tiktoken.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "text/tokenizer.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    unsigned group = 0;
    for (std::size_t i = at; i < at + 3; ++i) {
      group = group << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u);
    }
    for (int i = 3; i >= 0; --i) out += kDigits[group >> (6 * i) & 63u];
  }
  if (bytes.size() % 3 != 0) {
    const std::size_t padding = 3 - bytes.size() % 3;
    out.replace(out.size() - padding, padding, std::string(padding, '='));
  }
  return out;
}

// All bytes, by value, then "aa" (256), "aaa" (257), "bc" (258), "ab" (259), "abc" (260).
std::string Model() {
  std::string out;
  int rank = 0;
  const auto add = [&](std::string_view bytes) {
    out += Base64(bytes) + " " + std::to_string(rank++) + "\n";
  };
  for (int byte = 0; byte < 256; ++byte) {
    const char one = static_cast<char>(byte);
    add({&one, 1});
  }
  for (const char* token : {"aa", "aaa", "bc", "ab", "abc"}) add(token);
  return out;
}

Tokenizer Load(const std::string& config = "") {
  return Tokenizer::FromJson(TokenizerJsonFromTiktoken(Model(), config), "", "kimi");
}

TEST(Tiktoken, ReadsRanksInAnyOrder) {
  EXPECT_THAT(ReadTiktokenRanks("Yg== 1\nYQ== 0\n\nYWJj 2"), ElementsAre("a", "b", "abc"));
}

TEST(Tiktoken, JoinsTheLowestRankFromTheLeft) {
  const Tokenizer tokenizer = Load();
  EXPECT_THAT(tokenizer.Encode("xbcab"), ElementsAre('x', 258, 259));
  // a whole word that is a token is that token, though "bc" comes before "ab"
  EXPECT_THAT(tokenizer.Encode("abc"), ElementsAre(260));
  EXPECT_THAT(tokenizer.Encode("xaaaaa"), ElementsAre('x', 256, 257));
}

TEST(Tiktoken, HanStandsAlone) {
  EXPECT_THAT(ReadTiktokenRanks("5ryi 0"), ElementsAre("漢"));
  const std::string json = TokenizerJsonFromTiktoken(Model() + Base64("x漢") + " 261\n", "");
  EXPECT_EQ(Tokenizer::FromJson(json, "", "kimi").Encode("x漢").size(), 4u);
}

TEST(Tiktoken, SpecialTokensFollowTheRanks) {
  const Tokenizer tokenizer = Load(R"({"added_tokens_decoder": {
      "261": {"content": "[BOS]", "special": true},
      "262": {"content": "<tool>", "special": false},
      "9999": {"content": "<far>", "special": true}}})");
  EXPECT_EQ(tokenizer.vocab_size(), 261u + 258u);
  EXPECT_THAT(tokenizer.Encode("[BOS]<tool><|reserved_token_263|>"), ElementsAre(261, 262, 263));
  EXPECT_TRUE(tokenizer.IsSpecial(261));
  EXPECT_FALSE(tokenizer.IsSpecial(262));
  EXPECT_TRUE(tokenizer.IsSpecial(518));
}

TEST(Tiktoken, DamageIsNamed) {
  const auto message = [](const std::string& model, const std::string& config = "") {
    return MessageOf([&] { TokenizerJsonFromTiktoken(model, config); });
  };
  EXPECT_THAT(message(""), HasSubstr("no tokens"));
  for (const char* line : {"YQ==", "YQ== ", "YQ 0", "Y*== 0", " 0", "== 0", "<html> 0"}) {
    EXPECT_THAT(message("Yg== 0\n" + std::string(line)), HasSubstr("line 2")) << line;
  }
  EXPECT_THAT(message("YQ== x"), HasSubstr("line 1 has no rank"));
  EXPECT_THAT(message("YQ== 99999999"), HasSubstr("the rank 99999999"));
  EXPECT_THAT(message("YQ== 0\nYg== 0"), HasSubstr("line 2 repeats the rank 0"));
  EXPECT_THAT(message("YQ== 0\nYg== 2"), HasSubstr("no token has the rank 1"));
  EXPECT_THAT(message(Model(), "[]"), HasSubstr("must be an object"));
  EXPECT_THAT(message(Model(), R"({"added_tokens_decoder": []})"),
              HasSubstr("at added_tokens_decoder: this must be an object"));
  EXPECT_THAT(message(Model(), R"({"added_tokens_decoder": {"x": {}}})"),
              HasSubstr("at added_tokens_decoder.x: the key is not a token id"));
  EXPECT_THAT(message(Model(), R"({"added_tokens_decoder": {"261": {}}})"), HasSubstr("'content'"));
}

}  // namespace
}  // namespace doppler
