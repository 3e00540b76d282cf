// The commands that report: inspect, plan, verify, bench, perplexity and logits.

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/program.h"
#include "format/safetensors.h"

namespace doppler {
namespace {

using nlohmann::json;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST(ReportsTest, Inspect) {
  const json report = JsonOutput({"inspect", MoeModel(), "--json", "--tensors"});
  EXPECT_EQ(report.at("model"), "mixtral");
  EXPECT_EQ(report.at("id").get<std::string>().size(), 64u);
  EXPECT_EQ(report.at("architecture").at("numExperts"), 8);
  EXPECT_EQ(report.at("sharding"), "expert");
  EXPECT_EQ(report.at("shards").at("expert").at("count"), 24);
  EXPECT_EQ(report.at("shards").at("dense").at("count"), 1);
  EXPECT_EQ(report.at("bytes"), report["shards"]["expert"]["bytes"].get<Bytes>() +
                                    report["shards"]["dense"]["bytes"].get<Bytes>());
  EXPECT_EQ(report.at("tensors").at("embed_tokens.weight").at("shape"), json({320, 64}));
  EXPECT_EQ(report.at("tensors").at("embed_tokens.weight").at("layout"), "row");
  EXPECT_GT(report.at("parameters"), 400'000);

  const std::string text = Output({"inspect", MoeModel(), "--tensors"});
  EXPECT_THAT(text, HasSubstr("8 in each of 3 layers, 2 per token"));
  EXPECT_THAT(text, HasSubstr("layers.2.mlp.experts.7.down_proj.weight  [64, 96]  bf16  row"));
  EXPECT_THAT(text, HasSubstr("layouts\n  row           96 tensors"));
}

void ExpectPlan(const json& report) {
  EXPECT_GT(report.at("machine").at("physical_bytes"), 0);
  EXPECT_GT(report.at("machine").at("usable_bytes"), 0);
  EXPECT_GT(report.at("smallest_budget_bytes"), 0);
  EXPECT_LE(report.at("plan").at("total_bytes"), report.at("plan").at("budget_bytes"));
  EXPECT_EQ(report.at("plan").at("budget_bytes"), kGiB);
  EXPECT_GT(report.at("expected").at("decode_tokens_per_second"), 0);
}

TEST(ReportsTest, PlanOfAModel) {
  const json report = JsonOutput({"plan", MoeModel(), "--json", "--host-memory", "1G"});
  ExpectPlan(report);
  EXPECT_EQ(report.at("family"), "mixtral");
  EXPECT_EQ(report.at("plan").at("experts"), 24);
  EXPECT_THAT(Output({"plan", MoeModel(), "--host-memory", "1G"}),
              HasSubstr("host memory  1.00 GiB"));
}

TEST(ReportsTest, PlanNamesTheInstructionSet) {
  const std::vector<std::string> plan = {"plan", MoeModel(), "--cpu-path", "portable"};
  EXPECT_THAT(Output(plan), HasSubstr("kernels      cpu, portable\n"));
  std::vector<std::string> json_plan = plan;
  json_plan.emplace_back("--json");
  EXPECT_EQ(JsonOutput(json_plan).at("cpu_path"), "portable");
}

TEST(ReportsTest, PlanOfAModelThatIsNotHere) {
  const fs::path config = Golden("qwen3-moe") / "config.json";
  const auto plan = [&config](const char* quant) {
    return JsonOutput(
        {"plan", "--config", config, "--json", "--host-memory", "1G", "--quant", quant});
  };
  const json report = plan("q8_0");
  ExpectPlan(report);
  EXPECT_EQ(report.at("family"), "qwen3_moe");
  EXPECT_EQ(report.at("plan").at("experts"), 48);
  // Each of 16 experts in 3 layers: three matrices of 64 x 96 weights, 34 bytes for 32 of them,
  // on a boundary of 4096 bytes.
  EXPECT_EQ(report.at("expert_bytes"), 48 * 3 * 8192);
}

TEST(ReportsTest, PlanIsRefusedWithTheSmallestBudget) {
  const fs::path config = Golden("qwen3-moe") / "config.json";
  for (const std::vector<std::string>& model :
       {std::vector<std::string>{MoeModel()}, {"--config", config}}) {
    std::vector<std::string> arguments = {"plan", "--json", "--host-memory", "1M"};
    arguments.insert(arguments.end(), model.begin(), model.end());
    const ProcessResult result = Doppler(arguments);
    ExpectRefused(result, kFailed, {"1.00 MiB", "the smallest that would do is --host-memory "});
    EXPECT_TRUE(json::parse(result.output).at("plan").is_null());
  }
}

TEST(ReportsTest, PlanProbesTheMachine) {
  const json report = JsonOutput({"plan", MoeModel(), "--json", "--probe"});
  EXPECT_GT(report.at("machine").at("memory_bytes_per_second"), 0);
  EXPECT_GT(report.at("machine").at("disk_bytes_per_second"), 0);
}

TEST(ReportsTest, PlanRefusesConfigurationsItCannotRead) {
  const TempFolder folder;
  const fs::path config = folder.path() / "config.json";
  ExpectRefused(Doppler({"plan", "--config", config}), kFailed, {config, "No such file"});
  Overwrite(config, R"({"model_type": "bert"})");
  ExpectRefused(Doppler({"plan", "--config", config}), kFailed,
                {"'bert' is not supported", "mixtral"});
  Overwrite(config, "{");
  ExpectRefused(Doppler({"plan", "--config", config}), kFailed, {config, "not valid JSON"});
}

TEST(ReportsTest, VerifyOfAWholeModel) {
  const json report = JsonOutput({"verify", MoeModel(), "--json"});
  EXPECT_EQ(report.at("shards"), 25);
  EXPECT_EQ(report.at("bytes"), JsonOutput({"inspect", MoeModel(), "--json"}).at("bytes"));
  EXPECT_EQ(report.at("damaged"), json::array());
  EXPECT_THAT(Output({"verify", MoeModel(), "--threads", "1"}), HasSubstr("25 shards"));
}

TEST(ReportsTest, Bench) {
  const json report = JsonOutput({"bench", MoeModel(), "--json", "--prefill", "32", "--decode", "4",
                                  "--repetitions", "3", "--host-memory", "1G"});
  EXPECT_EQ(report.at("repetitions"), 3);
  EXPECT_EQ(report.at("prefill").at("tokens"), 32);
  EXPECT_EQ(report.at("decode").at("tokens"), 4);
  EXPECT_EQ(report.at("plan").at("budget_bytes"), kGiB);
  for (const char* phase : {"prefill", "decode"}) {
    EXPECT_GT(report.at(phase).at("tokens_per_second"), 0);
    EXPECT_LE(report.at(phase).at("seconds_min"), report.at(phase).at("seconds_median"));
    EXPECT_LE(report.at(phase).at("seconds_median"), report.at(phase).at("seconds_max"));
  }
  EXPECT_THAT(Output({"bench", MoeModel(), "--prefill", "8", "--decode", "0"}),
              HasSubstr("prefill "));
}

TEST(ReportsTest, BenchSweepsBudgetsAndContexts) {
  const TempFolder folder;
  const fs::path csv = folder.path() / "table.csv";
  const fs::path svg = folder.path() / "chart.svg";
  const json report =
      JsonOutput({"bench", MoeModel(), "--json", "--budgets", "1G,1K", "--contexts", "8,16",
                  "--decode", "2", "--repetitions", "1", "--csv", csv, "--svg", svg});
  ASSERT_EQ(report.at("points").size(), 4u);
  for (const json& point : report.at("points")) {
    const bool refused = point.at("budget_bytes") == kKiB;
    ASSERT_EQ(point.contains("problem"), refused) << point;
    if (refused) continue;
    EXPECT_EQ(point.at("prefill").at("tokens"), point.at("context"));
    EXPECT_GT(point.at("decode").at("tokens_per_second"), 0);
    EXPECT_LE(point.at("peak_resident_bytes"), kGiB);
  }
  const std::string table = ReadTextFile(csv);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 5);
  EXPECT_THAT(table, StartsWith("budget_bytes,context,prefill_tokens,"));
  EXPECT_THAT(table, HasSubstr("\"the budget of 1.00 KiB cannot hold this model"));
  const std::string chart = ReadTextFile(svg);
  EXPECT_THAT(chart, StartsWith("<svg "));
  EXPECT_THAT(chart, HasSubstr("16 tokens of context"));
  EXPECT_THAT(chart, EndsWith("</svg>\n"));
}

// The reference kernels have minutes of work before them when the signal comes.
TEST(ReportsTest, CtrlCEndsASweepWithoutATable) {
  const TempFolder folder;
  const fs::path csv = folder.path() / "table.csv";
  const ProcessResult result =
      Doppler({"bench", DemoModel(), "--budgets", "1G,2G", "--contexts", "512", "--decode", "64",
               "--repetitions", "100", "--backend", "reference", "--csv", csv},
              {.signal = SIGINT, .signal_when = CatchesInterrupt});
  ExpectRefused(result, kFailed, {"interrupted"});
  EXPECT_FALSE(fs::exists(csv));
}

TEST(ReportsTest, BenchFailsWhereNothingFits) {
  const ProcessResult result = Doppler({"bench", MoeModel(), "--budgets", "1K", "--decode", "1"});
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.errors, HasSubstr("no point could be measured"));
}

TEST(ReportsTest, Perplexity) {
  const TempFolder folder;
  const fs::path ids = folder.path() / "ids.u16";
  // Two rows of four ids below 320.
  Overwrite(ids,
            std::string("\x05\x00\x07\x01\x09\x00\x01\x01\x30\x00\x31\x00\x32\x00\x33\x00", 16));
  const json report = JsonOutput({"perplexity", MoeModel(), "--json", "--ids", ids, "--row", "4"});
  EXPECT_EQ(report.at("rows"), 2);
  EXPECT_EQ(report.at("tokens"), 6);
  EXPECT_NEAR(report.at("perplexity").get<double>(),
              std::exp(report.at("mean_negative_log_likelihood").get<double>()), 1e-6);
  EXPECT_THAT(Output({"perplexity", MoeModel(), "--ids", ids, "--row", "8"}),
              HasSubstr("7 tokens predicted in 1 rows"));
}

std::vector<float> Logits(const fs::path& file) {
  const std::vector<std::byte> bytes = SafetensorsFile(file).Read("logits", "F32");
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(ReportsTest, LogitsAreThoseOfAnotherImplementation) {
  const TempFolder folder;
  const fs::path ids = folder.path() / "ids.json";
  const fs::path file = folder.path() / "logits.safetensors";
  const GoldenCase golden = LoadGoldenCase("mixtral");
  Overwrite(ids, json(golden.input_ids).dump());
  EXPECT_EQ(Output({"logits", MoeModel(), "--ids", ids, "-o", file}), "");
  EXPECT_EQ(SafetensorsFile(file).Tensor("logits").shape, (std::vector<std::int64_t>{40, 320}));
  const std::vector<float> logits = Logits(file);
  ASSERT_EQ(logits.size(), golden.logits.size());
  float largest = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    largest = std::max(largest, std::abs(logits[i] - golden.logits[i]));
  }
  EXPECT_LT(largest, 5e-4f);
  ExpectRefused(Doppler({"logits", MoeModel(), "--ids", ids, "-o", file}), kFailed,
                {file, "exists already"});
  ExpectRefused(Doppler({"logits", MoeModel(), "--ids", ids, "-o", folder.path() / "x" / "y"}),
                kFailed, {"/x/y", "No such file"});
  EXPECT_EQ(Entries(folder.path()), (std::vector<std::string>{"ids.json", "logits.safetensors"}));
}

TEST(ReportsTest, ReplayOfATrace) {
  const TempFolder folder;
  const fs::path trace = folder.path() / "trace.json";
  const fs::path stats_file = folder.path() / "stats.json";
  const ConvertedModel model(Golden("mixtral"));
  Output({"run", model.path(), "-p", "Once upon a time", "-n", "30", "--temperature", "0", "--cold",
          "--trace", trace, "--stats", stats_file});
  const json events = ReadJson(trace).at("traceEvents");
  EXPECT_EQ(std::count_if(events.begin(), events.end(),
                          [](const json& event) { return event.at("name") == "experts"; }),
            3 * 30);
  const json stats = ReadJson(stats_file);
  const json report = JsonOutput({"replay", trace, "--json", "--slots", "24", "--slots", "1"});
  const json caches = report.at("caches");
  ASSERT_EQ(caches.size(), 2u);
  // Where all fits, each record misses once, whoever decides.
  EXPECT_EQ(caches[0].at("recency"), caches[0].at("optimal"));
  EXPECT_EQ(caches[0].at("optimal").at("decode_uses"), 2 * 3 * 29);
  EXPECT_EQ(stats.at("decode").at("expert_hits").get<int>() +
                stats.at("decode").at("expert_misses").get<int>(),
            2 * 3 * 29);
  EXPECT_TRUE(caches[1].at("default").is_null());
  EXPECT_THAT(Output({"replay", trace}), HasSubstr("optimal"));
  Overwrite(trace, "{}");
  ExpectRefused(Doppler({"replay", trace}), kFailed, {"trace.json", "otherData"});
  ExpectRefused(Doppler({"replay", trace, "--policy", "luck"}), kWrongUsage, {"luck"});
}

}  // namespace
}  // namespace doppler
