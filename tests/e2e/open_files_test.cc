// Under a limit of open files (`ulimit -n`) that does not hold all shards.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "e2e/program.h"
#include "store/shard_files.h"

namespace doppler {
namespace {

using testing::HasSubstr;
using testing::Not;

// As `ulimit -n FILES` before the program.
ProcessOptions WithLimit(std::size_t files) {
  ProcessOptions options;
  options.prepare = [files] {
    const struct rlimit limit { files, files };
    ::setrlimit(RLIMIT_NOFILE, &limit);
  };
  return options;
}

std::size_t ShardsOf(const char* type) {
  const auto report = JsonOutput({"inspect", DemoModel(), "--json"});
  return report.at("shards").at(type).at("count");
}

// The least that the demo model needs.
std::size_t LeastLimit() { return ShardsOf("dense") + kOtherFiles + kLeastExpertFiles; }

std::vector<std::string> RunText(const fs::path& stats) {
  return {"run", DemoModel(),     "-p", "Once upon a time", "-n",
          "24",  "--temperature", "0",  "--cold",           "--host-memory",
          "1G",  "--context",     "64", "--stats",          stats};
}

TEST(OpenFileLimit, FewFilesGiveTheSameText) {
  const TempFolder folder;
  const std::string text = Output(RunText(folder.path() / "all.json"));
  EXPECT_FALSE(ReadJson(folder.path() / "all.json").contains("expert_shards_open"));
  EXPECT_EQ(Output(RunText(folder.path() / "few.json"), WithLimit(LeastLimit())), text);
  const auto stats = ReadJson(folder.path() / "few.json");
  EXPECT_EQ(stats.at("expert_shards"), ShardsOf("expert"));
  EXPECT_EQ(stats.at("expert_shards_open"), kLeastExpertFiles);
  EXPECT_GT(stats.at("expert_shard_opens"), kLeastExpertFiles);
  EXPECT_GT(stats.at("expert_shard_evictions"), 0);
  EXPECT_THAT(stats.at("expert_reader_registered").get<std::string>(), Not(HasSubstr("files")));
}

TEST(OpenFileLimit, TooFewFilesAreRefusedWithALimitThatWouldDo) {
  const TempFolder folder;
  const std::size_t least = LeastLimit();
  ExpectRefused(Doppler(RunText(folder.path() / "stats.json"), WithLimit(least - 1)), kFailed,
                {"shards", "may open " + std::to_string(least - 1) + " files",
                 "'ulimit -n " + std::to_string(least) + "'"});
  EXPECT_TRUE(Entries(folder.path()).empty());
}

TEST(OpenFileLimit, VerifyNeedsFewFiles) {
  const std::vector<std::string> arguments = {"verify", DemoModel(), "--json"};
  const auto report = nlohmann::json::parse(Output(arguments, WithLimit(LeastLimit())));
  EXPECT_EQ(report.at("shards"), ShardsOf("dense") + ShardsOf("expert"));
  EXPECT_TRUE(report.at("damaged").empty());
}

TEST(OpenFileLimit, ThePlanNamesTheFilesThatAreOpenedOnDemand) {
  const std::string line = fmt::format("at most {} of {} expert shards open at once",
                                       kLeastExpertFiles, ShardsOf("expert"));
  const std::vector<std::string> plan = {"plan", DemoModel(), "--host-memory", "1G"};
  EXPECT_THAT(Output(plan), Not(HasSubstr("expert shards open")));
  EXPECT_THAT(Output(plan, WithLimit(LeastLimit())), HasSubstr(line));
  const std::vector<std::string> probe = {"plan", DemoModel(), "--probe", "--json"};
  const auto report = nlohmann::json::parse(Output(probe, WithLimit(LeastLimit())));
  EXPECT_EQ(report.at("expert_shards_open"), kLeastExpertFiles);
  EXPECT_GT(report.at("machine").at("disk_bytes_per_second"), 0);
  EXPECT_TRUE(JsonOutput({"plan", DemoModel(), "--json"}).at("expert_shards_open").is_null());
}

}  // namespace
}  // namespace doppler
