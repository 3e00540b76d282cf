#include "text/tokenizer.h"

#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using Json = nlohmann::json;

std::string ReadData(const std::string& name) {
  std::ifstream file(std::string(DOPPLER_SOURCE_DIR) + "/tests/data/tokenizers/" + name);
  EXPECT_TRUE(file.good()) << name;
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

Tokenizer LoadCase(const std::string& folder) {
  return Tokenizer::FromJson(ReadData(folder + "/tokenizer.json"),
                             ReadData(folder + "/tokenizer_config.json"), folder);
}

// encodings.json was written by the npm package @huggingface/tokenizers 0.2.0.
class ReferenceEncodings : public testing::TestWithParam<const char*> {};

TEST_P(ReferenceEncodings, AreReproducedAndDecodeToTheText) {
  const Tokenizer tokenizer = LoadCase(GetParam());
  const Json cases = Json::parse(ReadData(std::string(GetParam()) + "/encodings.json"));
  ASSERT_GT(cases.size(), 300u);
  for (const Json& one : cases) {
    const auto text = one["text"].get<std::string>();
    const auto ids = one["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer.Encode(text, {.add_bos = false}), ids) << text;
    EXPECT_EQ(tokenizer.Decode(ids), text);
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, ReferenceEncodings, testing::Values("demo", "gpt2-320"));

// prompts.json was written by Hugging Face transformers 5.17.
TEST(Tokenizer, EncodesPromptsAsTransformersDoes) {
  const Tokenizer tokenizer = LoadCase("demo");
  const Json data = Json::parse(ReadData("demo/prompts.json"));
  for (const Json& one : data["prompts"]) {
    EXPECT_EQ(tokenizer.Encode(one["text"].get<std::string>()),
              one["ids"].get<std::vector<TokenId>>());
  }
  for (const Json& one : data["continuations"]) {
    EXPECT_EQ(tokenizer.Decode(one["ids"].get<std::vector<TokenId>>()),
              one["text"].get<std::string>());
  }
}

TEST(Tokenizer, KnowsItsSpecialTokens) {
  const Tokenizer tokenizer = LoadCase("demo");
  EXPECT_EQ(tokenizer.vocab_size(), 8192u);
  EXPECT_EQ(tokenizer.bos_id(), 8190);
  EXPECT_THAT(tokenizer.eos_ids(), ElementsAre(8190));
  EXPECT_TRUE(tokenizer.IsEos(8190));
  EXPECT_FALSE(tokenizer.IsEos(8191));
  EXPECT_TRUE(tokenizer.IsSpecial(8191));
  EXPECT_FALSE(tokenizer.IsSpecial(0));
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.TokenBytes(8191), "<|pad|>");
}

TEST(Tokenizer, SpecialTokensInTextAreTextOnRequest) {
  const Tokenizer tokenizer = LoadCase("demo");
  const std::string text = "a<|pad|>b";
  EXPECT_THAT(tokenizer.Encode(text, {.add_bos = false}), testing::Contains(8191));
  const auto plain = tokenizer.Encode(text, {.add_bos = false, .parse_special = false});
  EXPECT_THAT(plain, testing::Not(testing::Contains(8191)));
  EXPECT_EQ(tokenizer.Decode(plain), text);
}

TEST(Tokenizer, AnyBytesRoundTrip) {
  const Tokenizer tokenizer = LoadCase("demo");
  std::string all;
  for (int i = 0; i < 2000; ++i) all += static_cast<char>(i * 7 + i / 256);
  for (const std::string& text : {all, std::string("a\xFF\xFE b \xC3"), std::string(3, '\0')}) {
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, {.add_bos = false})), text);
  }
  // What surrounds invalid bytes is encoded as if it stood alone.
  auto expected = tokenizer.Encode(" the", {.add_bos = false});
  const auto after = tokenizer.Encode("\xFF the", {.add_bos = false});
  EXPECT_EQ(std::vector<TokenId>(after.begin() + 1, after.end()), expected);
}

TEST(Tokenizer, LongTextWithoutSpaces) {
  const Tokenizer tokenizer = LoadCase("demo");
  std::string text;
  while (text.size() < 500'000) text += "abcdefghijklmnopqrstuvwxyz";
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, {.add_bos = false})), text);
}

TEST(Tokenizer, ThreadsShareOne) {
  const Tokenizer tokenizer = LoadCase("demo");
  const std::string text = ReadData("demo/prompts.json");
  const auto expected = tokenizer.Encode(text);
  std::vector<std::vector<TokenId>> got(4);
  std::vector<std::thread> threads;
  for (auto& out : got) threads.emplace_back([&] { out = tokenizer.Encode(text); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& out : got) EXPECT_EQ(out, expected);
}

}  // namespace
}  // namespace doppler
