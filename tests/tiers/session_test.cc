#include "engine/session.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "engine/generate.h"
#include "support/model_case.h"

namespace doppler {
namespace {

using testing::HasSubstr;

EngineOptions Options() {
  EngineOptions options;
  options.threads = 2;
  options.context = 48;
  options.ubatch = 16;
  options.logit_rows = 16;
  return options;
}

const std::filesystem::path& TinyModel() {
  static const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe");
  return model.path();
}

TEST(Session, PrefillAndDecodeGiveTheSameBits) {
  Engine engine(TinyModel(), Options());
  const std::vector<TokenId> ids = LoadGoldenCase("qwen3-moe").input_ids;
  const std::vector<float> prefilled = AllLogits(engine, ids);
  const std::vector<float> decoded = AllLogits(engine, ids, ids.size());
  ASSERT_EQ(prefilled.size(), decoded.size());
  EXPECT_EQ(std::memcmp(prefilled.data(), decoded.data(), decoded.size() * sizeof(float)), 0);
}

TEST(Session, TruncateReturnsToAnEarlierPoint) {
  Engine engine(TinyModel(), Options());
  const std::vector<TokenId> ids = LoadGoldenCase("qwen3-moe").input_ids;
  const std::span<const TokenId> tokens(ids);
  Session session(engine);
  const std::span<const float> first = session.Append(tokens.first(20));
  const std::vector<float> expected(first.begin(), first.end());
  session.Append(tokens.subspan(20));
  session.Truncate(15);
  EXPECT_EQ(session.length(), 15);
  const std::span<const float> again = session.Append(tokens.subspan(15, 5));
  EXPECT_EQ(std::memcmp(again.data(), expected.data(), expected.size() * sizeof(float)), 0);
}

TEST(Session, AFullContextIsAnErrorThatChangesNothing) {
  Engine engine(TinyModel(), Options());
  Session session(engine);
  session.Append(std::vector<TokenId>(40, 5));
  EXPECT_THAT(MessageOf([&] { session.Append(std::vector<TokenId>(9, 5)); }),
              HasSubstr("context of 48"));
  EXPECT_EQ(session.length(), 40);
  session.Append(std::vector<TokenId>(8, 5));
  EXPECT_EQ(session.length(), 48);
}

TEST(Session, ForeignTokensAreRefused) {
  Engine engine(TinyModel(), Options());
  Session session(engine);
  EXPECT_THAT(MessageOf([&] { session.Append(std::vector<TokenId>{320}); }), HasSubstr("320"));
  EXPECT_THAT(MessageOf([&] { session.Append(std::vector<TokenId>{-1}); }), HasSubstr("-1"));
  EXPECT_EQ(session.length(), 0);
}

TEST(Session, ADamagedExpertEndsTheStepAndNotTheSession) {
  const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe");
  EngineOptions options = Options();
  options.most_slots = 4;
  Engine engine(model.path(), options);
  Session session(engine);
  session.Append(std::vector<TokenId>{1, 2, 3});
  std::vector<std::filesystem::path> shards;
  for (const ShardEntry& shard : engine.artifact().manifest().shards) {
    if (shard.type == ShardType::kExpert) shards.push_back(model.path() / shard.file);
  }
  for (const auto& shard : shards) FlipBit(shard, 64);
  EXPECT_THAT(MessageOf([&] { session.Append(std::vector<TokenId>(20, 7)); }),
              HasSubstr("is damaged"));
  EXPECT_EQ(session.length(), 3);
  for (const auto& shard : shards) FlipBit(shard, 64);
  session.Append(std::vector<TokenId>(20, 7));
  EXPECT_EQ(session.length(), 23);
}

TEST(Generate, StopsForEachReason) {
  Engine engine(TinyModel(), Options());
  const std::vector<TokenId> prompt = LoadGoldenCase("qwen3-moe").input_ids;
  const std::span<const TokenId> start = std::span(prompt).first(8);
  GenerateOptions options;
  options.sampler.temperature = 0;
  std::string text;
  const auto keep = [&text](std::string_view part) { text += part; };
  const auto generate = [&] {
    text.clear();
    Session session(engine);
    return Generate(session, engine, start, options, keep);
  };

  options.max_tokens = 5;
  const GenerateResult five = generate();
  EXPECT_EQ(five.stop, StopReason::kMaxTokens);
  EXPECT_EQ(five.tokens.size(), 5u);
  EXPECT_EQ(five.prefill.tokens, 8u);
  EXPECT_EQ(five.decode.tokens, 4u);

  options.max_tokens = 0;
  EXPECT_TRUE(generate().tokens.empty());

  options.max_tokens = -1;
  const GenerateResult all = generate();
  EXPECT_EQ(all.stop, StopReason::kContextFull);
  // The last token needs no place of its own.
  EXPECT_EQ(all.tokens.size(), 48u - 8 + 1);

  ASSERT_GE(text.size(), 3u);
  options.stop = {text.substr(1, 2)};
  const std::string whole = text;
  const GenerateResult stopped = generate();
  EXPECT_EQ(stopped.stop, StopReason::kStopString);
  EXPECT_EQ(text, whole.substr(0, whole.find(options.stop[0])));
}

}  // namespace
}  // namespace doppler
