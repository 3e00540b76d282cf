// Perplexity of the demo model on every path, with the matrices that every token needs in every
// format that Quantize writes, against the reference backend. That takes too long to run with the
// tests, so that its figures are kept; the portable path, which computes with the same floats, is
// compared over fewer tokens.
//
//   golden_test --gtest_also_run_disabled_tests --gtest_filter='*DISABLED_Prints*'
//
// prints tests/data/perplexity_expected.json, and a table of models whose experts have the format
// too.

#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "backend/quantize.h"
#include "backend/row_groups.h"
#include "support/model_case.h"
#include "support/requantized_demo.h"

namespace doppler {
namespace {

constexpr int kManyIds = 512;
constexpr int kFewIds = 64;

std::vector<DType> WritableTypes() {
  std::vector<DType> types;
  for (const DTypeTraits& traits : kDTypes) {
    if (CanQuantize(traits.dtype) && !HasScaleGrid(traits.dtype)) types.push_back(traits.dtype);
  }
  return types;
}

// The demo model in a format.
class FormatCase {
 public:
  FormatCase(DType type, bool with_experts) {
    WriteRequantizedDemo(type, with_experts, file_);
    model_.emplace(file_, ShardingStrategy::kExpert, std::nullopt, WeightLayout::kRow);
  }

  // Mean negative log likelihood of the first held-out ids, in `rows` rows of `ids`.
  double Nll(BackendKind backend, std::optional<CpuPath> path, int ids, int rows = 1) const {
    EngineOptions options;
    options.backend = backend;
    options.cpu_path = path;
    options.context = ids;
    options.logit_rows = 16;
    options.with_tokenizer = false;
    options.kv_dtype = DType::kF32;
    Engine engine(model_->path(), options);
    Session session(engine);
    return Perplexity(session, HeldOutIds(static_cast<std::size_t>(ids * rows)), ids,
                      [](const PerplexityResult&) {})
        .mean_nll;
  }
  // Compares the logits of a dozen tokens on every path, some at once and some one by one.
  void ExpectSameBitsInGroups() const {
    const ConvertedModel groups(file_, ShardingStrategy::kExpert, std::nullopt,
                                WeightLayout::kRows16);
    ASSERT_GT(GroupedTensors(groups.path()), 0U);
    for (const CpuPath path : RunnableCpuPaths()) {
      const auto logits = [path](const std::filesystem::path& model) {
        EngineOptions options;
        options.cpu_path = path;
        options.threads = 2;
        options.context = 64;
        options.with_tokenizer = false;
        Engine engine(model, options);
        return AllLogits(engine, HeldOutIds(12), 2);
      };
      EXPECT_EQ(logits(groups.path()), logits(model_->path())) << CpuPathName(path);
    }
  }
  double Reference(int ids) const { return Nll(BackendKind::kReference, std::nullopt, ids); }
  double OnPath(CpuPath path, int ids, int rows = 1) const {
    return Nll(BackendKind::kCpu, path, ids, rows);
  }

 private:
  TempFolder folder_;
  std::filesystem::path file_ = folder_.path() / "model.gguf";
  std::optional<ConvertedModel> model_;
};

class TypePerplexity : public testing::TestWithParam<DType> {};

TEST_P(TypePerplexity, EveryPathIsCloseToTheReference) {
  const auto expected =
      nlohmann::json::parse(ReadTextFile(DataFolder() / "perplexity_expected.json"))
          .at(std::string(DTypeName(GetParam())));
  const FormatCase model(GetParam(), false);
  for (const CpuPath path : RunnableCpuPaths()) {
    const int ids = path == CpuPath::kPortable ? kFewIds : kManyIds;
    const double reference = expected.at(std::to_string(ids));
    const double ratio = std::exp(model.OnPath(path, ids) - reference);
    // Half a percent, since a rounded activation may have a router choose other experts: over so
    // few tokens that moves it by up to three tenths either way. docs/benchmarks.md has more.
    EXPECT_NEAR(ratio, 1, path == CpuPath::kPortable ? 1e-4 : 0.005) << CpuPathName(path);
  }
  if (CanGroupRows(GetParam(), kGroupRows)) model.ExpectSameBitsInGroups();
}

INSTANTIATE_TEST_SUITE_P(Types, TypePerplexity, testing::ValuesIn(WritableTypes()),
                         [](const auto& test) { return std::string(DTypeName(test.param)); });

TEST(TypePerplexityReferences, DISABLED_PrintsThem) {
  nlohmann::json all;
  for (const DType type : WritableTypes()) {
    const FormatCase model(type, false);
    for (const int ids : {kFewIds, kManyIds}) {
      all[std::string(DTypeName(type))][std::to_string(ids)] = model.Reference(ids);
    }
  }
  fmt::print("{}\n", all.dump(2));
}

// The reference over so much text would take hours; the portable path stands in for it.
TEST(TypePerplexityReferences, DISABLED_PrintsTheTable) {
  constexpr int kRows = 8;
  fmt::print("| | portable |");
  for (const CpuPath path : RunnableCpuPaths()) {
    if (path != CpuPath::kPortable) fmt::print(" {} |", CpuPathName(path));
  }
  fmt::print("\n");
  for (const DType type : WritableTypes()) {
    const FormatCase model(type, true);
    const double portable = model.OnPath(CpuPath::kPortable, 1024, kRows);
    fmt::print("| {} | {:.4f} |", DTypeName(type), std::exp(portable));
    for (const CpuPath path : RunnableCpuPaths()) {
      if (path == CpuPath::kPortable) continue;
      fmt::print(" {:+.3f} % |", 100 * (std::exp(model.OnPath(path, 1024, kRows) - portable) - 1));
      std::fflush(stdout);
    }
    fmt::print("\n");
  }
}

}  // namespace
}  // namespace doppler
