// `doppler chat` with a model that thinks before it answers: what is shown, and what the template
// sees of it later.
#include <algorithm>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/program.h"
#include "support/terminal.h"
#include "text/token_stream.h"

namespace doppler {
namespace {

using testing::HasSubstr;
using testing::Not;

using Tokens = std::vector<TokenId>;

// Every answer begins with thinking.
constexpr std::string_view kTemplate =
    "{% for m in messages %}{{ m.role[0] + m.content + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'A<think>' }}{% endif %}";

// Shows what it was given of the answers.
constexpr std::string_view kTellTale =
    "{% for m in messages if m.role == 'assistant' %}"
    "{{ raise_exception([m.content, m.thinking, m.reasoning_content] | tojson) }}{% endfor %}"
    "u{{ messages[0].content }}\n{% if add_generation_prompt %}{{ 'A<think>' }}{% endif %}";

// Gives the token `id` the name of a mark, and takes away what made it before.
void Rename(nlohmann::json& tokenizer, TokenId id, const std::string& mark) {
  nlohmann::json& vocab = tokenizer["model"]["vocab"];
  std::string old;
  for (const auto& [token, at] : vocab.items()) {
    if (at == id) old = token;
  }
  vocab.erase(old);
  vocab[mark] = id;
  nlohmann::json merges = nlohmann::json::array();
  for (const nlohmann::json& merge : tokenizer["model"]["merges"]) {
    const std::string text = merge.is_array()
                                 ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                                 : merge.get<std::string>();
    const std::size_t space = text.find(' ');
    const std::string left = text.substr(0, space);
    const std::string right = text.substr(space + 1);
    if (left != old && right != old && left + right != old) merges.push_back(merge);
  }
  tokenizer["model"]["merges"] = merges;
  tokenizer["added_tokens"].push_back({{"id", id}, {"content", mark}, {"special", false}});
}

// The tiny mixtral, in whose vocabulary the third token that it answers to "Nc" is </think>.
class ThinkingModel {
 public:
  static constexpr int kTokens = 7;

  ThinkingModel() : model_(Golden("mixtral")) {
    Engine engine(model_.path(), EngineOptions{});
    const Tokenizer& tokenizer = engine.tokenizer();
    const TokenId begin = 319;  // used by nothing here
    prompt_ = tokenizer.Encode("uNc\nA", {.add_bos = false});
    prompt_.push_back(begin);
    const Tokens generated = GreedyTokens(engine, prompt_, kTokens);
    const auto end = generated.begin() + 2;
    thinking_ = TextOf(tokenizer, {generated.begin(), end});
    answer_ = TextOf(tokenizer, {end + 1, generated.end()});

    nlohmann::json file = ReadJson(model_.path() / "tokenizer.json");
    Rename(file, begin, "<think>");
    Rename(file, *end, "</think>");
    Overwrite(model_.path() / "tokenizer.json", file.dump());
  }

  const fs::path& path() const { return model_.path(); }
  const Tokens& prompt() const { return prompt_; }  // for "Nc"
  const std::string& thinking() const { return thinking_; }
  const std::string& answer() const { return answer_; }

 private:
  static std::string TextOf(const Tokenizer& tokenizer, const Tokens& tokens) {
    TokenStream stream(tokenizer, false);
    std::string text;
    for (const TokenId token : tokens) text += stream.Push(token);
    return text + stream.Flush();
  }

  ConvertedModel model_;
  Tokens prompt_;
  std::string thinking_;
  std::string answer_;
};

class ThinkingTest : public testing::Test {
 protected:
  std::vector<std::string> Command(std::string_view chat_template,
                                   const std::vector<std::string>& more = {}) const {
    const fs::path file = folder_.path() / "template.jinja";
    Overwrite(file, chat_template);
    std::vector<std::string> command = {
        "chat",          model_.path(), "--template", file,
        "--temperature", "0",           "-n",         std::to_string(ThinkingModel::kTokens)};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }

  const ThinkingModel model_;
  const TempFolder folder_;
};

TEST_F(ThinkingTest, IsToldFromTheAnswer) {
  std::istringstream lines(Output(Command(kTemplate, {"--json"}), {.input = "Nc\nNc\n"}));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const auto first = nlohmann::json::parse(line);
  EXPECT_EQ(first.at("thinking"), model_.thinking());
  EXPECT_EQ(first.at("answer"), model_.answer());
  EXPECT_FALSE(model_.answer().empty());
  // What the template writes of the past begins as the session's tokens do, up to the thinking.
  ASSERT_TRUE(std::getline(lines, line));
  const auto second = nlohmann::json::parse(line);
  EXPECT_EQ(second.at("kept_tokens"), model_.prompt().size() - 2);
}

TEST_F(ThinkingTest, TheTemplateSeesBothParts) {
  const nlohmann::json parts = {model_.answer(), model_.thinking(), model_.thinking()};
  const ProcessResult result = Doppler(Command(kTellTale), {.input = "Nc\nNc\n"});
  EXPECT_EQ(result.status, kFailed);
  const std::size_t at = result.errors.find('[');
  ASSERT_NE(at, std::string::npos) << result.errors;
  EXPECT_EQ(nlohmann::json::parse(result.errors.substr(at)), parts);
}

TEST_F(ThinkingTest, APipeGetsTheAnswerOnly) {
  EXPECT_EQ(Output(Command(kTemplate), {.input = "Nc\n"}), model_.answer() + "\n");
}

TEST_F(ThinkingTest, StopStringsAreLookedForInTheAnswer) {
  const std::string first = model_.thinking().substr(0, 1);
  ASSERT_EQ(model_.answer().find(first), std::string::npos);
  EXPECT_EQ(Output(Command(kTemplate, {"--stop", first}), {.input = "Nc\n"}),
            model_.answer() + "\n");
}

TEST_F(ThinkingTest, IsDimOnATerminalUnlessHidden) {
  for (const bool hidden : {false, true}) {
    std::vector<std::string> command = Command(kTemplate);
    if (hidden) command.emplace_back("--hide-thinking");
    command.insert(command.begin(), ProgramPath());
    Terminal terminal(command, {{"XDG_STATE_HOME", folder_.path()}, {"TERM", "xterm"}});
    ASSERT_TRUE(terminal.WaitForPrompt("> "));
    terminal.Type("Nc\r");
    ASSERT_TRUE(terminal.WaitFor("Nc\r\n"));
    ASSERT_TRUE(terminal.WaitForPrompt("> "));
    terminal.Type("\x04");
    EXPECT_EQ(terminal.Wait(), kDone);
    if (hidden) {
      EXPECT_THAT(terminal.output(), Not(HasSubstr("\x1b[2m")));
    } else {
      EXPECT_THAT(terminal.output(), HasSubstr("\x1b[2m" + model_.thinking() + "\x1b[0m"));
    }
  }
}

}  // namespace
}  // namespace doppler
