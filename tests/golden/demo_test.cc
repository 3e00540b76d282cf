// The demo model against the figures of its card and against prompts that Hugging Face
// transformers continued from the unquantised weights.

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/perplexity.h"
#include "support/model_case.h"

namespace doppler {
namespace {

constexpr std::size_t kRow = 1024;

// Of the first ids, in rows of at most kRow.
PerplexityResult DemoPerplexity(BackendKind backend, std::size_t count) {
  EngineOptions options;
  options.backend = backend;
  options.context = kRow;
  options.logit_rows = 16;
  options.with_tokenizer = false;
  Engine engine(DemoModel(), options);
  Session session(engine);
  return Perplexity(session, HeldOutIds(count), std::min(count, kRow),
                    [](const PerplexityResult&) {});
}

// The card's figure for this file with exact weights and float activations.
constexpr double kCardPerplexity = 27.4036;

TEST(DemoModel, PerplexityIsTheCardsFigure) {
  const PerplexityResult result = DemoPerplexity(BackendKind::kCpu, 32 * kRow);
  EXPECT_EQ(result.tokens, 32u * 1023);
  EXPECT_NEAR(result.perplexity, kCardPerplexity, 0.005 * kCardPerplexity);
}

TEST(DemoModel, BackendsAgreeOnPerplexity) {
  constexpr std::size_t kIds = 256;  // the reference backend takes 30 ms for each
  const double reference = DemoPerplexity(BackendKind::kReference, kIds).mean_nll;
  const double cpu = DemoPerplexity(BackendKind::kCpu, kIds).mean_nll;
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
