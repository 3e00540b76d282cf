// A disk that misbehaves under the program, and files that change under it: it waits, or says what
// failed, and never computes with the wrong bytes.

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/program.h"
#include "support/terminal.h"

namespace doppler {
namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;

// Few slots, so that experts are read all the time.
std::vector<std::string> RunArguments(const fs::path& model = DemoModel()) {
  return {"run",    model,           "-p",  "Once upon a time", "-n", "24",
          "--cold", "--host-memory", "28M", "--context",        "64"};
}

const std::string& RightText() {
  static const std::string text = Output(RunArguments());
  return text;
}

class FaultsTest : public testing::TestWithParam<bool> {
 protected:
  // With io_uring or, where it is not permitted, with threads.
  static ProcessResult RunUnder(Environment faults) {
    faults.emplace_back("LD_PRELOAD", DOPPLER_FAULTS);
    if (!GetParam()) faults.emplace_back("DOPPLER_FAULT_URING", "refused");
    return Doppler(RunArguments(), {.environment = faults});
  }
};

TEST_P(FaultsTest, TheLibraryReachesTheReader) {
  const TempFolder folder;
  std::vector<std::string> arguments = RunArguments();
  arguments.insert(arguments.end(), {"--stats", folder.path() / "stats.json"});
  Environment environment = {{"LD_PRELOAD", DOPPLER_FAULTS}};
  if (!GetParam()) environment.emplace_back("DOPPLER_FAULT_URING", "refused");
  ExpectDone(Doppler(arguments, {.environment = environment}));
  const auto stats = ReadJson(folder.path() / "stats.json");
  EXPECT_EQ(stats.at("expert_reader"), GetParam() ? "io_uring" : "pread threads");
  EXPECT_GT(stats.at("decode").at("expert_misses"), 50);
}

TEST_P(FaultsTest, ShortReadsChangeNothing) {
  const ProcessResult result =
      RunUnder({{"DOPPLER_FAULT", "short"}, {"DOPPLER_FAULT_COUNT", "1000000"}});
  ExpectDone(result);
  EXPECT_EQ(result.output, RightText());
}

TEST_P(FaultsTest, ADelayOfSecondsIsWaitedFor) {
  const ProcessResult result = RunUnder({{"DOPPLER_FAULT", "delay"},
                                         {"DOPPLER_FAULT_FIRST", "300"},
                                         {"DOPPLER_FAULT_MILLISECONDS", "2100"}});
  ExpectDone(result);
  EXPECT_EQ(result.output, RightText());
}

TEST_P(FaultsTest, AnErrorEndsTheRunAndNamesTheShard) {
  const ProcessResult result =
      RunUnder({{"DOPPLER_FAULT", "error"}, {"DOPPLER_FAULT_FIRST", "300"}});
  ExpectRefused(result, kFailed,
                {"cannot read the shard", "/shards/",
                 GetParam() ? "Bad file descriptor" : "Input/output error"});
  EXPECT_EQ(RightText().substr(0, result.output.size()), result.output);
}

TEST_P(FaultsTest, AnErrorWhileLoadingIsOne) {
  ExpectRefused(RunUnder({{"DOPPLER_FAULT", "error"}}), kFailed, {"cannot read", "manifest.json"});
}

INSTANTIATE_TEST_SUITE_P(Readers, FaultsTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "io_uring" : "threads"; });

TEST(TwoProcesses, ReadOneArtifactWithoutKnowingOfEachOther) {
  const std::string& right = RightText();
  ProcessResult other;
  std::thread second([&other] { other = Doppler(RunArguments()); });
  const ProcessResult result = Doppler(RunArguments());
  second.join();
  for (const ProcessResult& each : {result, other}) {
    ExpectDone(each);
    EXPECT_EQ(each.output, right);
  }
}

// A conversation, something that happens to the files, and the rest of the conversation.
class ChangedFilesTest : public testing::Test {
 protected:
  std::vector<fs::path> ExpertShards() const {
    std::vector<fs::path> files;
    const auto manifest = ReadJson(model_.path() / "manifest.json");
    for (const auto& shard : manifest.at("shards")) {
      if (shard.at("type") == "expert") {
        files.push_back(model_.path() / shard.at("file").get<std::string>());
      }
    }
    return files;
  }

  void Begin() {
    ASSERT_TRUE(chat_.WaitForPrompt("> "));
    chat_.Type("Who was the king?\r");
    ASSERT_TRUE(chat_.WaitForPrompt("> "));
  }

  const TempFolder state_;
  const DemoCopy model_;
  Terminal chat_{
      {ProgramPath(), "chat", model_.path(), "--template", DataFolder() / "chat" / "plain.jinja",
       "-n", "8", "--host-memory", "28M", "--context", "256"},
      {{"TERM", "xterm"}, {"XDG_STATE_HOME", state_.path()}}};
};

TEST_F(ChangedFilesTest, DeletedShardsAreStillRead) {
  Begin();
  fs::remove_all(model_.path() / "shards");
  chat_.Type("And who was the queen?\r");
  ASSERT_TRUE(chat_.WaitForPrompt("> "));
  EXPECT_THAT(chat_.output(), testing::Not(testing::HasSubstr("doppler: ")));
}

TEST_F(ChangedFilesTest, OverwrittenShardsEndTheAnswerAndNotTheProgram) {
  Begin();
  for (const fs::path& file : ExpertShards()) FlipBit(file, 20'000);
  chat_.Type("And who was the queen?\r");
  ASSERT_TRUE(chat_.WaitFor("is damaged")) << chat_.output();
  ASSERT_TRUE(chat_.WaitForPrompt("> "));
  for (const fs::path& file : ExpertShards()) FlipBit(file, 20'000);
  chat_.Type("And who was the prince?\r");
  ASSERT_TRUE(chat_.WaitForPrompt("> "));
  chat_.Type("\x04");
  EXPECT_EQ(chat_.Wait(), kDone);
}

TEST_F(ChangedFilesTest, TruncatedShardsEndTheAnswerAndNotTheProgram) {
  Begin();
  for (const fs::path& file : ExpertShards()) fs::resize_file(file, 4096);
  chat_.Type("And who was the queen?\r");
  ASSERT_TRUE(chat_.WaitFor("truncated")) << chat_.output();
  ASSERT_TRUE(chat_.WaitForPrompt("> "));
  chat_.Type("\x04");
  EXPECT_EQ(chat_.Wait(), kDone);
}

}  // namespace
}  // namespace doppler
