// `doppler chat`: turns from a pipe, commands, a terminal with Ctrl-C and history.
#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "e2e/program.h"
#include "support/terminal.h"

namespace doppler {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> ChatArguments(const fs::path& model, std::vector<std::string> more) {
  std::vector<std::string> arguments = {
      "chat", model, "--template", DataFolder() / "chat" / "plain.jinja", "--temperature", "0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// One object for each turn.
std::vector<nlohmann::json> Turns(const std::string& input, std::vector<std::string> more = {},
                                  const fs::path& model = MoeModel()) {
  more.insert(more.end(), {"--json", "-n", "6"});
  std::istringstream lines(Output(ChatArguments(model, more), {.input = input}));
  std::vector<nlohmann::json> turns;
  for (std::string line; std::getline(lines, line);) turns.push_back(nlohmann::json::parse(line));
  return turns;
}

TEST(ChatTest, ASecondTurnComputesOnlyItsNewTokens) {
  const auto turns = Turns("Who was the king?\nWhy?\n", {}, DemoModel());
  ASSERT_EQ(turns.size(), 2u);
  EXPECT_EQ(turns[0].at("kept_tokens"), 0);
  EXPECT_EQ(turns[0].at("generated_tokens"), 6);
  EXPECT_EQ(turns[0].at("stop_reason"), "max_tokens");
  const int first_prompt = turns[0]["prefill"]["tokens"];
  EXPECT_GE(turns[1].at("kept_tokens"), first_prompt);
  EXPECT_LT(turns[1]["prefill"]["tokens"], turns[1].at("kept_tokens"));
  EXPECT_EQ(turns[1]["context_tokens"].get<int>(),
            turns[1]["kept_tokens"].get<int>() + turns[1]["prefill"]["tokens"].get<int>() + 5);
}

TEST(ChatTest, AnswersDoNotDependOnWhatTheSessionHolds) {
  const auto turns = Turns("Who was the king?\nWhy?\n/reset\nWho was the king?\nWhy?\n");
  ASSERT_EQ(turns.size(), 4u);
  EXPECT_EQ(turns[2]["answer"], turns[0]["answer"]);
  EXPECT_EQ(turns[3]["answer"], turns[1]["answer"]);
  // The first prompt again: all but its last token was there.
  EXPECT_EQ(turns[2]["prefill"]["tokens"], 1);
}

TEST(ChatTest, SystemMessages) {
  const auto by_option = Turns("Hello\n", {"--system", "A king speaks."});
  const auto by_command = Turns("/system A king speaks.\nHello\n/system\n/reset\nHello\n");
  ASSERT_EQ(by_command.size(), 2u);
  EXPECT_EQ(by_command[0]["answer"], by_option[0]["answer"]);
  EXPECT_EQ(by_command[0]["prefill"]["tokens"], by_option[0]["prefill"]["tokens"]);
  const auto without = Turns("Hello\n");
  EXPECT_EQ(by_command[1]["answer"], without[0]["answer"]);
  EXPECT_LT(without[0]["prefill"]["tokens"], by_option[0]["prefill"]["tokens"]);
}

TEST(ChatTest, PlainAnswersAndCommands) {
  const ProcessResult result =
      Doppler(ChatArguments(MoeModel(), {"-n", "4"}),
              {.input = "/help\nHello\n/stats\n\n/nonsense\n/quit\nnever said\n"});
  EXPECT_EQ(result.status, kDone) << result.errors;
  EXPECT_EQ(result.output, Turns("Hello\n", {})[0]["answer"].get<std::string>().substr(
                               0, result.output.size() - 1) +
                               "\n");
  EXPECT_THAT(result.errors, HasSubstr("/reset"));
  EXPECT_THAT(result.errors, HasSubstr("0 tokens were there already"));
  EXPECT_THAT(result.errors, HasSubstr("tokens/s"));
  EXPECT_THAT(result.errors, HasSubstr("there is no command '/nonsense'"));
  EXPECT_THAT(result.output, Not(HasSubstr("> ")));
}

TEST(ChatTest, ALineCanGoOnAndBeginWithASlash) {
  const auto joined = Turns("one\\\ntwo\n");
  ASSERT_EQ(joined.size(), 1u);
  EXPECT_GT(joined[0]["prefill"]["tokens"], Turns("one\n")[0]["prefill"]["tokens"]);
  EXPECT_EQ(Turns("//quit\n").size(), 1u);
}

TEST(ChatTest, AConversationThatDoesNotFit) {
  const std::string text = "Once upon a time there was a king in a far country";
  ExpectRefused(Doppler(ChatArguments(MoeModel(), {"--context", "16"}), {.input = text}), kFailed,
                {"room for 16", "/reset", "--context"});
}

TEST(ChatTest, AModelWithoutATemplate) {
  ExpectRefused(Doppler({"chat", MoeModel()}, {.input = "Hello"}), kFailed,
                {"no chat template", "--template FILE"});
}

// The reference kernels take long enough for an answer to be still on its way when Ctrl-C comes.
std::vector<std::string> TerminalCommand() {
  std::vector<std::string> command =
      ChatArguments(DemoModel(), {"--backend", "reference", "--context", "1000"});
  command.insert(command.begin(), ProgramPath());
  return command;
}

TEST(ChatTest, CtrlCStopsTheAnswerAndNotTheProgram) {
  const TempFolder state;
  Terminal terminal(TerminalCommand(), {{"XDG_STATE_HOME", state.path()}, {"TERM", "xterm"}});
  ASSERT_TRUE(terminal.WaitForPrompt("> "));
  terminal.Type("Who was the king?\r");
  // The echo of the line ends in \r\n; what follows is the answer.
  ASSERT_TRUE(terminal.WaitFor("king?\r\n"));
  ASSERT_TRUE(terminal.WaitForMore(3));
  terminal.Type("\x03");
  ASSERT_TRUE(terminal.WaitForPrompt("> "));
  terminal.Type("/stats\r");
  ASSERT_TRUE(terminal.WaitFor("tokens used"));
  ASSERT_TRUE(terminal.WaitForPrompt("> "));
  terminal.Type("\x03");
  ASSERT_TRUE(terminal.WaitFor("once more"));
  terminal.Type("\x03");
  EXPECT_EQ(terminal.Wait(), kDone) << terminal.output();

  const fs::path history = state.path() / "doppler" / "chat_history";
  struct stat status {};
  ASSERT_EQ(::stat(history.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_THAT(ReadTextFile(history), HasSubstr("king?"));
}

TEST(ChatTest, CtrlDLeaves) {
  const TempFolder state;
  Terminal terminal(TerminalCommand(), {{"XDG_STATE_HOME", state.path()}, {"TERM", "xterm"}});
  ASSERT_TRUE(terminal.WaitForPrompt("> "));
  terminal.Type("\x04");
  EXPECT_EQ(terminal.Wait(), kDone) << terminal.output();
}

}  // namespace
}  // namespace doppler
