#include "text/token_stream.h"

#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "text/tokenizer.h"

namespace doppler {
namespace {

using Json = nlohmann::json;

// The bytes, by value, then ▁ (256), "a" (257), "▁a" (258), "▁▁" (259).
Tokenizer Metaspaces(int strip) {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = byte;
  for (const char* token : {"▁", "a", "▁a", "▁▁"}) vocab[token] = vocab.size();
  const Json mark = {{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}};
  const Json decoders = {mark,
                         {{"type", "ByteFallback"}},
                         {{"type", "Fuse"}},
                         {{"type", "Strip"}, {"content", " "}, {"start", strip}, {"stop", 0}}};
  const Json json = {
      {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
      {"model",
       {{"type", "BPE"}, {"byte_fallback", true}, {"vocab", vocab}, {"merges", {"▁ a", "▁ ▁"}}}}};
  return Tokenizer::FromJson(json.dump(), "", "here");
}

std::vector<std::string> Pieces(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens,
                                bool continues = false) {
  TokenStream stream(tokenizer, continues);
  std::vector<std::string> out;
  for (const TokenId token : tokens) out.push_back(stream.Push(token));
  out.push_back(stream.Flush());
  return out;
}

TEST(TokenStream, HoldsBackUnfinishedCharacters) {
  EXPECT_THAT(Pieces(Metaspaces(1), {0xE6, 0x97, 0xA5, 258}),
              testing::ElementsAre("", "", "日", " a", ""));
  EXPECT_THAT(Pieces(Metaspaces(1), {0xE6, 258, 0xC3}),
              testing::ElementsAre("", "\uFFFD a", "", "\uFFFD"));
}

TEST(TokenStream, StripsTheFirstSpaceOnly) {
  EXPECT_THAT(Pieces(Metaspaces(1), {258, 258}), testing::ElementsAre("a", " a", ""));
  EXPECT_THAT(Pieces(Metaspaces(1), {259, 257}), testing::ElementsAre(" ", "a", ""));
  EXPECT_THAT(Pieces(Metaspaces(1), {256, 256, 257}), testing::ElementsAre("", " ", "a", ""));
  EXPECT_THAT(Pieces(Metaspaces(1), {257, 258}), testing::ElementsAre("a", " a", ""));
  EXPECT_THAT(Pieces(Metaspaces(2), {256, 259, 258}), testing::ElementsAre("", " ", " a", ""));
}

TEST(TokenStream, AContinuationKeepsItsSpace) {
  EXPECT_THAT(Pieces(Metaspaces(1), {258}, true), testing::ElementsAre(" a", ""));
}

TEST(TokenStream, GivesWhatDecodeGives) {
  const Tokenizer tokenizer = Metaspaces(2);
  for (const TokenId first : {32, 65, 256, 257, 258, 259}) {
    const std::vector<TokenId> tokens = {first, 256, 259, 65, 258};
    std::string joined;
    for (const std::string& piece : Pieces(tokenizer, tokens)) joined += piece;
    EXPECT_EQ(joined, tokenizer.Decode(tokens)) << first;
  }
}

}  // namespace
}  // namespace doppler
