// A model with two lists of rotary factors computes a text with one of them, the list for its
// length, however the text came to be that long.

#include <cstring>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/model_case.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr int kOriginal = 24;

std::vector<double> RopeFactorList(double step) {
  std::vector<double> factors;
  for (int i = 0; i < 8; ++i) factors.push_back(1 + step * i);
  return factors;
}

struct RopeCase {
  std::vector<double> factors;
  double magnitude = 1;
};
const RopeCase kNear = {.factors = RopeFactorList(0.125), .magnitude = 1.0625};
const RopeCase kFar = {.factors = RopeFactorList(2), .magnitude = 1.25};

// The phimoe case with LongRoPE.
ConvertedModel MakeLongRopeModel(const RopeCase& near, const RopeCase& far) {
  const TempFolder folder;
  const fs::path copy = folder.path() / "phimoe";
  fs::copy(DataFolder() / "golden" / "phimoe", copy);
  auto config = nlohmann::json::parse(ReadTextFile(copy / "config.json"));
  config["rope_scaling"] = {
      {"type", "longrope"},           {"short_factor", near.factors},
      {"long_factor", far.factors},   {"short_mscale", near.magnitude},
      {"long_mscale", far.magnitude}, {"original_max_position_embeddings", kOriginal}};
  fs::remove(copy / "config.json");
  WriteTextFile(copy / "config.json", config.dump());
  return ConvertedModel(copy);
}

EngineOptions LongRopeOptions() {
  EngineOptions options;
  options.threads = 2;
  options.context = 64;
  options.ubatch = 16;
  options.logit_rows = 16;
  return options;
}

std::vector<float> LastLogits(Session& session, std::span<const TokenId> tokens) {
  const std::span<const float> logits = session.Append(tokens);
  return {logits.begin(), logits.end()};
}

class LongRope : public testing::Test {
 protected:
  // By a model that has one list for all lengths.
  std::vector<float> Expected(const RopeCase& scaling, std::size_t length) {
    const ConvertedModel model = MakeLongRopeModel(scaling, scaling);
    Engine engine(model.path(), LongRopeOptions());
    Session session(engine);
    return LastLogits(session, tokens_.first(length));
  }

  const std::vector<TokenId> ids_ = LoadGoldenCase("phimoe").input_ids;
  const std::span<const TokenId> tokens_{ids_};
  const ConvertedModel model_ = MakeLongRopeModel(kNear, kFar);
  Engine engine_{model_.path(), LongRopeOptions()};
};

TEST_F(LongRope, TheLengthOfTheTextChooses) {
  EXPECT_NE(Expected(kNear, kOriginal), Expected(kFar, kOriginal));
  Session session(engine_);
  EXPECT_EQ(LastLogits(session, tokens_.first(kOriginal)), Expected(kNear, kOriginal));
  session.Truncate(0);
  EXPECT_EQ(LastLogits(session, tokens_.first(kOriginal + 1)), Expected(kFar, kOriginal + 1));
}

TEST_F(LongRope, ATextThatGrowsLongIsComputedAnew) {
  Session session(engine_);
  session.Append(tokens_.first(kOriginal - 1));
  EXPECT_EQ(LastLogits(session, tokens_.subspan(kOriginal - 1, 1)), Expected(kNear, kOriginal));
  EXPECT_EQ(LastLogits(session, tokens_.subspan(kOriginal, 1)), Expected(kFar, kOriginal + 1));
  EXPECT_EQ(LastLogits(session, tokens_.subspan(kOriginal + 1, 1)), Expected(kFar, kOriginal + 2));
}

TEST_F(LongRope, ATextThatIsCutShortIsComputedAnew) {
  Session session(engine_);
  session.Append(tokens_);
  session.Truncate(kOriginal - 4);
  EXPECT_EQ(LastLogits(session, tokens_.subspan(kOriginal - 4, 4)), Expected(kNear, kOriginal));
  session.Append(tokens_.subspan(kOriginal));
  session.Truncate(kOriginal - 4);
  EXPECT_EQ(LastLogits(session, tokens_.subspan(kOriginal - 4, 6)), Expected(kFar, kOriginal + 2));
}

}  // namespace
}  // namespace doppler
