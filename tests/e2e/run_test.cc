// `doppler run`: prompts, what goes to which stream, counters, signals.

#include <algorithm>
#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "e2e/program.h"
#include "io/memory_pressure.h"

namespace doppler {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// A short greedy run, but for what `more` says.
std::vector<std::string> RunArguments(const fs::path& model, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"run", model};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const auto add = [&](const char* flag, const char* value) {
    if (std::find(more.begin(), more.end(), flag) != more.end()) return;
    arguments.insert(arguments.end(), {flag, value});
  };
  add("-n", "12");
  add("--temperature", "0");
  return arguments;
}

std::string Text(const std::vector<std::string>& more, const ProcessOptions& options = {}) {
  return Output(RunArguments(MoeModel(), more), options);
}

void ExpectUtf8(const std::string& text) {
  EXPECT_NO_THROW(static_cast<void>(nlohmann::json(text).dump())) << text;
}

TEST(RunTest, PromptFromTheCommandLineAFileOrAPipe) {
  const TempFolder folder;
  const std::string file = folder.path() / "prompt.txt";
  Overwrite(file, "Once upon a time");
  const std::string text = Text({"-p", "Once upon a time"});
  EXPECT_GT(text.size(), 1u);
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(Text({"-f", file}), text);
  EXPECT_EQ(Text({}, {.input = "Once upon a time"}), text);
  EXPECT_NE(Text({"-p", "It was a dark night"}), text);
}

TEST(RunTest, TheTextIsTheSameInEveryRunAndWithAnyThreads) {
  const auto run = [](const char* threads) {
    return Text({"-p", "Once upon a time", "-n", "40", "--threads", threads});
  };
  const std::string text = run("1");
  EXPECT_EQ(run("1"), text);
  EXPECT_EQ(run("2"), text);
  EXPECT_EQ(run("2"), text);
}

TEST(RunTest, TheSeedDecidesWhatIsSampled) {
  const auto sampled = [](const char* seed) {
    return Text({"-p", "Once", "--temperature", "1", "-n", "24", "--seed", seed});
  };
  EXPECT_EQ(sampled("1"), sampled("1"));
  EXPECT_NE(sampled("1"), sampled("2"));
}

TEST(RunTest, EchoPrintsThePromptAsItIs) {
  const std::string prompt = "Grüße, 世界! 🙂";
  const std::string text = Text({"-p", prompt, "--echo"});
  EXPECT_THAT(text, StartsWith(prompt));
  EXPECT_EQ(text.substr(prompt.size()), Text({"-p", prompt}));
}

TEST(RunTest, TheTextIsValidUtf8WhereverItEnds) {
  for (const char* tokens : {"1", "2", "3", "40"}) {
    ExpectUtf8(Text({"-p", "Größe \xff", "--temperature", "1", "-n", tokens}));
  }
}

TEST(RunTest, StopsAtAStopString) {
  const std::string text = Text({"-p", "Once upon a time"});
  ASSERT_GT(text.size(), 4u);
  const std::string stop = text.substr(2, 2);
  const std::string before = text.substr(0, text.find(stop));
  EXPECT_EQ(Text({"-p", "Once upon a time", "--stop", "never", "--stop", stop}), before + "\n");
}

TEST(RunTest, NoTokens) { EXPECT_EQ(Text({"-p", "Once", "-n", "0"}), "\n"); }

TEST(RunTest, StatsTellWhatHappened) {
  const TempFolder folder;
  const fs::path file = folder.path() / "stats.json";
  Text({"-p", "Once upon a time", "--stats", file, "--host-memory", "1G", "--threads", "2"});
  const nlohmann::json stats = ReadJson(file);
  EXPECT_EQ(stats.at("model"), "mixtral");
  EXPECT_EQ(stats.at("family"), "mixtral");
  EXPECT_EQ(stats.at("backend"), "cpu");
  EXPECT_EQ(stats.at("threads"), 2);
  EXPECT_EQ(stats.at("stop_reason"), "max_tokens");
  EXPECT_EQ(stats.at("generated_tokens"), 12);
  EXPECT_EQ(stats.at("decode").at("tokens"), 11);
  EXPECT_EQ(stats.at("plan").at("budget_bytes"), kGiB);
  EXPECT_LE(stats.at("plan").at("total_bytes"), stats.at("plan").at("budget_bytes"));
  EXPECT_GT(stats.at("dense_bytes_read"), 0);
  EXPECT_GT(stats.at("peak_resident_bytes"), 0);
  EXPECT_TRUE(stats.at("expert_reader").is_string());
  // Two experts in each of three layers per token.
  EXPECT_EQ(stats["decode"]["expert_hits"].get<int>() + stats["decode"]["expert_misses"].get<int>(),
            11 * 3 * 2);
  for (const char* phase : {"prefill", "decode"}) {
    for (const char* key : {"seconds", "tokens_per_second", "expert_hit_rate", "expert_evictions",
                            "expert_bytes_read", "stall_seconds"}) {
      EXPECT_GE(stats.at(phase).at(key), 0) << phase << " " << key;
    }
  }
}

TEST(RunTest, StatsTellWhatWasGivenBackAndWhoSaysThatMemoryIsShort) {
  const auto run = [](const std::vector<std::string>& more) {
    const TempFolder folder;
    const fs::path file = folder.path() / "stats.json";
    std::vector<std::string> arguments = {"-p", "Once upon a time", "--stats", file};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Text(arguments);
    return ReadJson(file);
  };
  const nlohmann::json stats = run({});
  const nlohmann::json& give_back = stats.at("give_back");
  const auto file = FindMemoryPressureFile();
  EXPECT_EQ(give_back.at("pressure_file"),
            file ? nlohmann::json(file->string()) : nlohmann::json());
  EXPECT_TRUE(give_back.at("problem").is_null());
  // All slots are in one region, which is the least that can go.
  EXPECT_EQ(give_back.at("given_back_bytes"), 0);
  EXPECT_EQ(give_back.at("taken_again_bytes"), 0);
  EXPECT_EQ(give_back.at("present_bytes"), stats.at("plan").at("expert_bytes"));
  EXPECT_TRUE(run({"--no-give-back"}).at("give_back").at("pressure_file").is_null());
}

TEST(RunTest, StandardErrorHoldsASummaryAndNoProgress) {
  const ProcessResult result = Doppler(RunArguments(MoeModel(), {"-p", "Once"}));
  ExpectDone(result);
  EXPECT_THAT(result.errors, HasSubstr("tokens/s"));
  EXPECT_THAT(result.errors, HasSubstr("peak memory"));
  EXPECT_THAT(result.errors, Not(HasSubstr("\r")));
  EXPECT_THAT(result.errors, Not(HasSubstr("\x1b")));
  EXPECT_THAT(result.output, Not(HasSubstr("tokens/s")));
}

TEST(RunTest, APromptLongerThanTheContextIsRefused) {
  ExpectRefused(Doppler(RunArguments(MoeModel(), {"-p",
                                                  "Once upon a time there was a king in a far "
                                                  "country",
                                                  "--context", "8"})),
                kFailed, {"do not fit in a context of 8", "--context", "made for 256"});
  ExpectRefused(Doppler(RunArguments(MoeModel(), {"-p", "Once", "--context", "1000"})), kFailed,
                {"1000", "256", "lower --context"});
}

TEST(RunTest, EndsWhenTheContextIsFull) {
  const TempFolder folder;
  const fs::path file = folder.path() / "stats.json";
  Text({"-p", "Once", "-n", "-1", "--context", "16", "--stats", file});
  EXPECT_EQ(ReadJson(file).at("stop_reason"), "context_full");
}

TEST(RunTest, OutputThatNobodyReads) {
  const std::vector<std::string> arguments = RunArguments(MoeModel(), {"-p", "Once"});
  const ProcessResult gone = Doppler(arguments, {.close_output = true});
  EXPECT_FALSE(gone.timed_out);
  EXPECT_TRUE(gone.signal == SIGPIPE || gone.status == kFailed) << gone.signal << gone.status;
  EXPECT_THAT(gone.errors, Not(HasSubstr("Sanitizer")));

  const auto without_output = [] { ::close(STDOUT_FILENO); };
  ExpectRefused(Doppler(arguments, {.prepare = without_output}), kFailed, {"standard output"});
}

TEST(RunTest, OutputThatCannotBeWritten) {
  const auto full = [] { ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO); };
  for (const auto& arguments : {RunArguments(MoeModel(), {"-p", "Once"}),
                                {"inspect", MoeModel(), "--json"},
                                {"verify", MoeModel()},
                                {"plan", MoeModel()}}) {
    SCOPED_TRACE(arguments[0]);
    ExpectRefused(Doppler(arguments, {.prepare = full}), kFailed,
                  {"standard output", "No space left"});
  }
}

TEST(RunTest, CtrlCWhileThePromptIsAwaited) {
  // Then the program has nothing to do but wait for its input.
  const ProcessResult result = Doppler({"run", MoeModel()}, {.input = "Once",
                                                             .keep_input_open = true,
                                                             .signal = SIGINT,
                                                             .signal_when = CatchesInterrupt});
  ExpectRefused(result, kFailed, {"interrupted"});
}

// The reference kernels take long enough for the model that ships with the project to be still at
// work when the signal comes.
TEST(RunTest, CtrlCEndsTheTextWhereItIs) {
  const TempFolder folder;
  const fs::path file = folder.path() / "stats.json";
  const auto has_text = [](const RunningProcess& process) { return process.output.size() > 1; };
  for (const int signal : {SIGINT, SIGTERM}) {
    fs::remove(file);
    const ProcessResult result =
        Doppler({"run", DemoModel(), "-p", "Once upon a time", "-n", "-1", "--temperature", "0",
                 "--context", "1000", "--backend", "reference", "--stats", file},
                {.signal = signal, .signal_when = has_text});
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(result.status, kFailed);
    EXPECT_THAT(result.output, StartsWith(", and"));
    EXPECT_THAT(result.errors, HasSubstr("\ndoppler: interrupted\n"));
    EXPECT_EQ(ReadJson(file).at("stop_reason"), "interrupted");
    EXPECT_LT(ReadJson(file).at("generated_tokens"), 500);
  }
}

TEST(RunTest, TheModelOfTheProjectWritesProse) {
  const std::string text =
      Output(RunArguments(DemoModel(), {"-p", "Once upon a time", "-n", "32"}));
  EXPECT_THAT(text, StartsWith(", and the "));
  EXPECT_GT(std::count(text.begin(), text.end(), ' '), 15);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

}  // namespace
}  // namespace doppler
