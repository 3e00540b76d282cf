// The demo model against the figures of its card and against prompts that Hugging Face
// transformers continued from the unquantised weights.

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/perplexity.h"
#include "support/model_case.h"

namespace doppler {
namespace {

std::vector<TokenId> HeldOutIds(std::size_t rows) {
  const std::string bytes = ReadTextFile(DataFolder() / "heldout-32x1024.u16");
  std::vector<TokenId> ids(rows * 1024);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<unsigned char>(bytes[2 * i]) | static_cast<unsigned char>(bytes[2 * i + 1])
                                                            << 8;
  }
  return ids;
}

PerplexityResult DemoPerplexity(BackendKind backend, std::size_t rows) {
  EngineOptions options;
  options.backend = backend;
  options.context = 1024;
  options.logit_rows = 16;
  options.with_tokenizer = false;
  Engine engine(DemoModel(), options);
  Session session(engine);
  return Perplexity(session, HeldOutIds(rows), 1024, [](const PerplexityResult&) {});
}

// The card's figure for this file with exact weights and float activations.
constexpr double kCardPerplexity = 27.4036;

TEST(DemoModel, PerplexityIsTheCardsFigure) {
  const PerplexityResult result = DemoPerplexity(BackendKind::kCpu, 32);
  EXPECT_EQ(result.tokens, 32u * 1023);
  EXPECT_NEAR(result.perplexity, kCardPerplexity, 0.005 * kCardPerplexity);
}

TEST(DemoModel, BackendsAgreeOnPerplexity) {
  const double reference = DemoPerplexity(BackendKind::kReference, 1).mean_nll;
  const double cpu = DemoPerplexity(BackendKind::kCpu, 1).mean_nll;
  EXPECT_NEAR(cpu, reference, 0.004);
}

TEST(DemoModel, PredictsWhatTheUnquantisedModelPredicts) {
  const auto cases =
      nlohmann::json::parse(ReadTextFile(DataFolder() / "demo_expected.json")).at("cases");
  ASSERT_FALSE(cases.empty());
  EngineOptions options;
  Engine engine(DemoModel(), options);
  for (const auto& expected : cases) {
    const std::string prompt = expected.at("prompt");
    const auto ids = expected.at("input_ids").get<std::vector<TokenId>>();
    EXPECT_EQ(engine.tokenizer().Encode(prompt), ids) << prompt;
    Session session(engine);
    const std::span<const float> logits = session.Append(ids);
    for (const auto& [id, logit] :
         expected.at("last_logits_top10").get<std::vector<std::pair<std::size_t, float>>>()) {
      // Four bits per weight move a logit by a few tenths.
      EXPECT_NEAR(logits[id], logit, 1.0f) << prompt << " token " << id;
    }
  }
}

}  // namespace
}  // namespace doppler
