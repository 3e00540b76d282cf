#include "text/tokenizer.h"

#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/utf8_stream.h"

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

// splits/NAME.json has what stands before the vocabulary in NAME's own tokenizer.json, and what the
// package gives with the vocabulary of gpt2-320 behind it.
class SplitEncodings : public testing::TestWithParam<const char*> {};

TEST_P(SplitEncodings, AreReproduced) {
  const Json split = Json::parse(ReadData("splits/" + std::string(GetParam()) + ".json"));
  Json json = Json::parse(ReadData("gpt2-320/tokenizer.json"));
  json["normalizer"] = split.at("normalizer");
  json["pre_tokenizer"] = split.at("pre_tokenizer");
  const Tokenizer tokenizer = Tokenizer::FromJson(json.dump(), "", GetParam());
  ASSERT_GT(split.at("cases").size(), 100u);
  for (const Json& one : split.at("cases")) {
    const auto text = one["text"].get<std::string>();
    EXPECT_EQ(tokenizer.Encode(text, {.add_bos = false}), one["ids"].get<std::vector<TokenId>>())
        << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, SplitEncodings,
                         testing::Values("llama3", "qwen3", "gpt_oss", "deepseek_v3"));

// sentencepiece/ is a small vocabulary of our own making: characters, merges across spaces, bytes
// for what it lacks. The encodings were written by the same package, with the normaliser of the
// file and with the pre-tokenizer that newer files have instead.
class SentencePieceEncodings : public testing::TestWithParam<bool> {};

TEST_P(SentencePieceEncodings, AreReproduced) {
  const bool metaspace = GetParam();
  Json json = Json::parse(ReadData("sentencepiece/tokenizer.json"));
  if (metaspace) {
    json["normalizer"] = nullptr;
    json["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", false}};
  }
  const Tokenizer tokenizer = Tokenizer::FromJson(json.dump(), "", "sentencepiece");
  const Json cases = Json::parse(ReadData(metaspace ? "sentencepiece/encodings_metaspace.json"
                                                    : "sentencepiece/encodings.json"));
  ASSERT_GT(cases.size(), 100u);
  for (const Json& one : cases) {
    const auto text = one["text"].get<std::string>();
    const auto ids = one["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer.Encode(text, {.add_bos = false}), ids) << text;
    // Text may spell a byte token, whose byte need not be UTF-8; the package shows U+FFFD then.
    Utf8Stream shown;
    const std::string decoded = shown.Push(tokenizer.Decode(ids));
    EXPECT_EQ(decoded + shown.Flush(), one["decoded"].get<std::string>()) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, SentencePieceEncodings, testing::Bool());

TEST(Tokenizer, SentencePieceBytesThatAreNoTextRoundTrip) {
  const Tokenizer tokenizer =
      Tokenizer::FromJson(ReadData("sentencepiece/tokenizer.json"), "", "sentencepiece");
  std::string all;
  for (int i = 0; i < 2000; ++i) all += static_cast<char>(i * 7 + i / 256);
  for (const std::string& text : {all, std::string("a\xFF\xFE b \xC3"), std::string(3, '\0')}) {
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, {.add_bos = false})), text);
  }
}

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
