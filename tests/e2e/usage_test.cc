// Command lines that are wrong, and what the program says about itself.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/program.h"

namespace doppler {
namespace {

using testing::HasSubstr;

struct WrongUsage {
  std::vector<std::string> arguments;  // MODEL and CHECKPOINT stand for ones that exist
  std::vector<std::string> parts;      // of the message
};

const std::vector<WrongUsage> kWrongUsages = {
    {{}, {"there is no command", "doppler --help"}},
    {{"frobnicate"}, {"there is no command 'frobnicate'", "doppler --help"}},
    {{"--frobnicate"}, {"'--frobnicate'", "doppler --help"}},
    {{"run"}, {"MODEL is required", "doppler run --help"}},
    {{"run", "MODEL", "--frobnicate"}, {"--frobnicate", "doppler run --help"}},
    {{"run", "MODEL", "-n", "x"}, {"-n", "x"}},
    {{"run", "MODEL", "-n", "-2"}, {"-n", "-2"}},
    {{"run", "MODEL", "-n"}, {"-n", "doppler run --help"}},
    {{"run", "MODEL", "--host-memory", "banana"}, {"--host-memory", "'banana'", "512M"}},
    {{"run", "MODEL", "--host-memory", "-5"}, {"--host-memory", "'-5'"}},
    {{"run", "MODEL", "--host-memory", "99999999999T"}, {"--host-memory", "too large"}},
    {{"run", "MODEL", "--device-memory", "1G"}, {"--device-memory", "no accelerator", "leave"}},
    {{"run", "MODEL", "--temperature", "-1"}, {"--temperature", "-1"}},
    {{"run", "MODEL", "--temperature", "nan"}, {"--temperature", "nan"}},
    {{"run", "MODEL", "--top-p", "2"}, {"--top-p", "2"}},
    {{"run", "MODEL", "--top-k", "-5"}, {"--top-k", "-5"}},
    {{"run", "MODEL", "--min-p", "7"}, {"--min-p", "7"}},
    {{"run", "MODEL", "--repetition-penalty", "0"}, {"--repetition-penalty", "0"}},
    {{"run", "MODEL", "--seed", "x"}, {"--seed", "x"}},
    {{"run", "MODEL", "-p", "Hi", "--stop", ""}, {"--stop", "empty"}},
    {{"run", "MODEL", "--threads", "0"}, {"--threads", "0"}},
    {{"run", "MODEL", "--context", "0"}, {"--context", "0"}},
    {{"run", "MODEL", "--kv-type", "q4_0"}, {"--kv-type", "'q4_0'", "bf16|f16|f32"}},
    {{"run", "MODEL", "--backend", "gpu"}, {"--backend", "'gpu'", "cpu|reference"}},
    {{"run", "MODEL", "--cpu-path", "mmx"}, {"--cpu-path", "'mmx'", "portable", "this processor"}},
    {{"run", "MODEL", "-p", "Hi", "-f", "file"}, {"--prompt", "--prompt-file"}},
    {{"run", "MODEL", "-p", "Hi", "--stats", "/"}, {"--stats", "'/'", "exists"}},
    {{"run", "MODEL", "-p", "Hi", "--stats", "/no/such/x.json"}, {"--stats", "'/no/such'"}},
    {{"convert", "CHECKPOINT"}, {"OUT is required", "doppler convert --help"}},
    {{"convert", "CHECKPOINT", "out", "--sharding", "foo"}, {"'foo'", "expert|fixed|layer"}},
    {{"convert", "CHECKPOINT", "out", "--quant", "q2_k"}, {"'q2_k'", "q4_0|q4_k|q5_k|q6_k|q8_0"}},
    {{"convert", "CHECKPOINT", "out", "--shard-size", "big"}, {"--shard-size", "'big'"}},
    {{"plan"}, {"MODEL", "--config"}},
    {{"plan", "MODEL", "--config", "config.json"}, {"--config"}},
    {{"verify", "MODEL", "--threads", "x"}, {"--threads", "x"}},
    {{"logits", "MODEL", "--ids", "ids.json"}, {"--output is required"}},
    {{"perplexity", "MODEL", "--ids", "ids.u16"}, {"--row is required"}},
    {{"perplexity", "MODEL", "--ids", "IDS", "--row", "64", "--context", "8"},
     {"--context is smaller than --row"}},
    {{"bench", "MODEL", "--prefill", "4", "--decode", "4", "--context", "4"},
     {"--context is smaller than --prefill and --decode together"}},
};

std::vector<std::string> WithPaths(std::vector<std::string> arguments) {
  for (std::string& argument : arguments) {
    if (argument == "MODEL") argument = MoeModel();
    if (argument == "CHECKPOINT") argument = Golden("mixtral");
    if (argument == "IDS") argument = DataFolder() / "heldout-32x1024.u16";
  }
  return arguments;
}

TEST(UsageTest, WrongCommandLinesAreRefusedWithStatus2AndOneLine) {
  for (const WrongUsage& wrong : kWrongUsages) {
    const std::vector<std::string> arguments = WithPaths(wrong.arguments);
    SCOPED_TRACE(testing::PrintToString(arguments));
    const ProcessResult result = Doppler(arguments, {.input = "Hi"});
    ExpectRefused(result, kWrongUsage, wrong.parts);
    EXPECT_EQ(result.output, "");
  }
}

TEST(UsageTest, HelpOfEveryCommand) {
  const std::string top = Output({"--help"});
  for (const char* command :
       {"convert", "run", "plan", "inspect", "verify", "logits", "perplexity", "bench"}) {
    EXPECT_THAT(top, HasSubstr(command));
    EXPECT_THAT(Output({command, "--help"}), HasSubstr(std::string("doppler ") + command));
  }
  EXPECT_THAT(Output({"run", "--help"}), HasSubstr("--host-memory SIZE"));
}

TEST(UsageTest, Version) { EXPECT_THAT(Output({"--version"}), testing::StartsWith("doppler ")); }

TEST(UsageTest, ModelsThatAreNotThere) {
  const TempFolder folder;
  const std::string empty = folder.path();
  const ProcessOptions store{.environment = {{"DOPPLER_STORE", empty}}};
  ExpectRefused(Doppler({"verify", "no-such-model"}, store), kFailed,
                {"no model 'no-such-model'", "local store '" + empty + "'"});
  ExpectRefused(Doppler({"inspect", empty}), kFailed, {empty, "no manifest.json", "convert"});
  ExpectRefused(Doppler({"inspect", Golden("llama3")}), kFailed,
                {"is a checkpoint", "doppler convert " + Golden("llama3").string()});
}

TEST(UsageTest, AModelInTheLocalStoreIsFoundByItsName) {
  const ProcessOptions store{.environment = {{"DOPPLER_STORE", MoeModel().parent_path().string()}}};
  EXPECT_THAT(Output({"inspect", MoeModel().filename()}, store), HasSubstr("mixtral"));
}

TEST(UsageTest, FilesOfTheCommandLineThatAreNotThereOrWrong) {
  const TempFolder folder;
  const std::string model = MoeModel();
  const std::string ids = folder.path() / "ids.json";
  const std::string out = folder.path() / "out";
  ExpectRefused(Doppler({"run", model, "-f", ids}), kFailed, {ids, "No such file"});
  ExpectRefused(Doppler({"logits", model, "--ids", ids, "-o", out}), kFailed, {ids, "No such"});
  Overwrite(ids, "[1, 320]");
  ExpectRefused(Doppler({"logits", model, "--ids", ids, "-o", out}), kFailed, {"token 320"});
  Overwrite(ids, "[1, -1]");
  ExpectRefused(Doppler({"logits", model, "--ids", ids, "-o", out}), kFailed, {ids, "-1"});
  Overwrite(ids, "[1,");
  ExpectRefused(Doppler({"logits", model, "--ids", ids, "-o", out}), kFailed, {ids, "not a JSON"});
  ExpectRefused(Doppler({"perplexity", model, "--ids", ids, "--row", "64"}), kFailed,
                {ids, "3 bytes", "rows of 64"});
  EXPECT_EQ(Entries(folder.path()), std::vector<std::string>{"ids.json"});
}

}  // namespace
}  // namespace doppler
