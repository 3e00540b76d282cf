// `--speculate`: what is reported of guessed experts, and that the text stays the same.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/program.h"

namespace doppler {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// Of six layers with experts five are predicted. Few tokens, so that of none all experts are there.
constexpr int kPredictedLayers = 5;

void ExpectCounts(const json& speculation, int predictions) {
  EXPECT_EQ(speculation.at("predictions"), predictions);
  EXPECT_LE(speculation.at("predictions_right"), predictions);
  EXPECT_LE(speculation.at("experts_used"), speculation.at("experts_read"));
  EXPECT_LE(speculation.at("bytes_wasted"), speculation.at("bytes_read"));
  EXPECT_EQ(speculation.at("bytes_read") == 0, speculation.at("experts_read") == 0);
  EXPECT_GT(speculation.at("predict_seconds"), 0);
}

TEST(SpeculateTest, RunReportsAndPrintsTheSameText) {
  const TempFolder folder;
  const auto run = [&folder](const char* name, const char* predictions) {
    return Doppler({"run", DemoModel(), "-p", "Once", "-n", "4", "--temperature", "0", "--cold",
                    "--speculate", predictions, "--stats", folder.path() / name, "--trace",
                    folder.path() / (std::string(name) + ".trace")});
  };
  const ProcessResult off = run("off", "0");
  const ProcessResult on = run("on", "3");
  ASSERT_EQ(on.status, 0) << on.errors;
  EXPECT_EQ(on.output, off.output);
  EXPECT_THAT(off.errors, Not(HasSubstr("guesses")));
  EXPECT_THAT(on.errors, HasSubstr("% of 45 right, "));
  EXPECT_FALSE(ReadJson(folder.path() / "off").at("decode").contains("speculation"));
  ExpectCounts(ReadJson(folder.path() / "on").at("decode").at("speculation"),
               3 * kPredictedLayers * 3);

  int predicted = 0;
  const json trace = ReadJson(folder.path() / "on.trace");
  for (const json& event : trace.at("traceEvents")) {
    if (event.contains("args")) predicted += event.at("args").value("predicted", 0);
  }
  EXPECT_EQ(predicted, 3 * kPredictedLayers * 3);
  EXPECT_THAT(Output({"replay", folder.path() / "on.trace"}), HasSubstr("optimal"));
}

TEST(SpeculateTest, BenchReports) {
  const auto bench = [](const char* predictions) {
    return JsonOutput({"bench", DemoModel(), "--json", "--prefill", "2", "--decode", "3",
                       "--repetitions", "1", "--host-memory", "1G", "--speculate", predictions});
  };
  const json on = bench("2");
  EXPECT_EQ(on.at("speculate"), 2);
  ExpectCounts(on.at("decode").at("speculation"), 3 * kPredictedLayers * 2);
  // 24 experts are all that a router can choose.
  EXPECT_EQ(bench("100").at("speculate"), 24);
  const json off = bench("0");
  EXPECT_FALSE(off.contains("speculate"));
  EXPECT_FALSE(off.at("decode").contains("speculation"));
  EXPECT_THAT(Output({"bench", DemoModel(), "--prefill", "2", "--decode", "3", "--speculate", "2"}),
              HasSubstr("guesses: "));
}

TEST(SpeculateTest, ADenseModelHasNothingToGuess) {
  const ConvertedModel model(Golden("llama3"));
  const json report = JsonOutput({"bench", model.path(), "--json", "--prefill", "4", "--decode",
                                  "2", "--repetitions", "1", "--speculate", "4"});
  EXPECT_FALSE(report.contains("speculate"));
}

TEST(SpeculateTest, RefusesWhatIsNoNumberOfExperts) {
  for (const char* value : {"-1", "many"}) {
    ExpectRefused(Doppler({"bench", MoeModel(), "--speculate", value}), kWrongUsage,
                  {"--speculate"});
  }
}

}  // namespace
}  // namespace doppler
