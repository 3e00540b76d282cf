// Chat templates: against what Jinja2 makes of the same text, and what they may not do.
#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_testing.h"
#include "io/file.h"
#include "text/chat_files.h"

namespace doppler {
namespace {

using OrderedJson = nlohmann::ordered_json;
using testing::HasSubstr;

std::string Render(const std::string& source, const OrderedJson& messages = OrderedJson::array(),
                   const OrderedJson& extra = nullptr) {
  ChatRenderOptions options;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  // Noon of 2025-07-24, UTC: the same day in most time zones.
  options.now = std::chrono::system_clock::from_time_t(1753351200);
  return ChatTemplate::Parse(source, "test").Render(messages, nullptr, extra, options);
}

std::string Failure(const std::string& source) {
  return MessageOf([&source] { Render(source); });
}

// tests/data/chat/vectors.json: Jinja2 3.1.6, set up as transformers does it.
TEST(ChatTemplateTest, WritesWhatJinjaWrites) {
  const OrderedJson document =
      OrderedJson::parse(ReadTextFile(DOPPLER_SOURCE_DIR "/tests/data/chat/vectors.json"));
  OrderedJson data = document.at("data");
  const OrderedJson messages = data.at("messages");
  const OrderedJson tools = data.at("tools");
  data.erase("messages");
  data.erase("tools");
  data["enable_thinking"] = false;
  ChatRenderOptions options;
  options.now = std::chrono::system_clock::from_time_t(1753351200);
  for (const OrderedJson& entry : document.at("cases")) {
    const auto source = entry.at("template").get<std::string>();
    SCOPED_TRACE(source);
    const auto render = [&] {
      return ChatTemplate::Parse(source, "vectors").Render(messages, tools, data, options);
    };
    if (entry.at("text").is_null()) {
      EXPECT_THROW(render(), Error);
    } else {
      EXPECT_EQ(render(), entry.at("text").get<std::string>());
    }
  }
  EXPECT_GT(document.at("cases").size(), 70u);
}

TEST(ChatTemplateTest, VariablesOfTransformers) {
  EXPECT_EQ(Render("{{ bos_token }}{{ eos_token }}{{ tools is none }}{{ documents is none }}"),
            "<s></s>TrueTrue");
  EXPECT_EQ(Render("{{ x }}", OrderedJson::array(), {{"x", "y"}}), "y");
}

TEST(ChatTemplateTest, ErrorsSayWhatAndWhere) {
  EXPECT_THAT(Failure("a\n{{ 1 | sparkle }}"), HasSubstr("test, line 2: the filter 'sparkle'"));
  EXPECT_THAT(Failure("{{ 1 is shiny }}"), HasSubstr("the test 'shiny' is not known"));
  EXPECT_THAT(Failure("\n\n{{ shine() }}"), HasSubstr("line 3: 'shine' cannot be called"));
  EXPECT_THAT(Failure("{% include 'x' %}"), HasSubstr("the tag 'include' is not known"));
  EXPECT_THAT(Failure("{% if true %}"), HasSubstr("without 'endif'"));
  EXPECT_THAT(Failure("{{ 1 "), HasSubstr("the tag has no end '}}'"));
  EXPECT_THAT(Failure("{{ 'abc }}"), HasSubstr("a string has no end"));
  EXPECT_THAT(Failure("{{ 1 ? 2 }}"), HasSubstr("the character '?'"));
  EXPECT_THAT(Failure("{% break %}"), HasSubstr("'break' is in no loop"));
  EXPECT_THAT(Failure("{{ raise_exception('roles must alternate') }}"),
              HasSubstr("refuses this conversation: roles must alternate"));
  EXPECT_THAT(Failure("{{ messages.x.y }}"), HasSubstr("a list has no 'x'"));
  EXPECT_THAT(Failure("{{ 9223372036854775807 + 1 }}"), HasSubstr("too large"));
  EXPECT_THAT(Failure("{{ 1 // 0 }}"), HasSubstr("divided by 0"));
}

TEST(ChatTemplateTest, ARunawayTemplateIsStopped) {
  EXPECT_THAT(Failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), HasSubstr("deep"));
  EXPECT_THAT(Failure("{{ 'a' * 10000000000 }}"), HasSubstr("makes more than"));
  EXPECT_THAT(Failure("{{ [1] * 10000000000 }}"), HasSubstr("makes more than"));
  EXPECT_THAT(Failure("{{ range(10000000) }}"), HasSubstr("more than"));
  EXPECT_THAT(Failure("{% set n = namespace(s='aaaaaaaa') %}{% for i in range(99) %}"
                      "{% set n.s = n.s + n.s %}{% endfor %}"),
              HasSubstr("makes more than"));
  EXPECT_THAT(Failure("{% set n = namespace(s=[]) %}{% for i in range(9999) %}"
                      "{% set n.s = [n.s] %}{% endfor %}"),
              HasSubstr("deep"));
  EXPECT_THAT(Failure("{{ " + std::string(500, '(') + "1" + std::string(500, ')') + " }}"),
              HasSubstr("deep"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 5000; ++i) sum += "+1";
  EXPECT_THAT(Failure(sum + " }}"), HasSubstr("operations in a row"));
  EXPECT_THAT(Failure(std::string(2 << 20, 'x')), HasSubstr("more than 1.00 MiB"));
}

TEST(ChatTemplateTest, LoopsInLoopsAreStopped) {
  ChatRenderOptions options;
  options.limits.steps = 200'000;
  const ChatTemplate loops = ChatTemplate::Parse(
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "test");
  EXPECT_THAT(MessageOf([&] { loops.Render(nullptr, nullptr, nullptr, options); }),
              HasSubstr("more than 200000 steps"));
}

TEST(ChatTemplateTest, NamespacesThatHoldThemselvesAreFreed) {
  // The address sanitizer looks for what is not.
  EXPECT_EQ(Render("{% set n = namespace() %}{% set n.me = n %}{% macro f() %}{{ n.me.x }}"
                   "{% endmacro %}{% set n.f = f %}{% set n.x = 'y' %}{{ n.f() }}"),
            "y");
}

TEST(ChatTemplateTest, TextThatIsNoUtf8StaysAsItIs) {
  EXPECT_EQ(Render("{{ messages[0] }}{{ messages[0] | length }}{{ messages[0] | upper }}",
                   OrderedJson::array({"a\xff"})),
            "a\xff"
            "2A\xff");
}

TEST(ChatFilesTest, TheFileGoesBeforeTheConfiguration) {
  const TempFolder folder;
  const auto text = [&folder](const std::filesystem::path& file = {}) {
    ChatFiles files = LoadChatFiles(folder.path(), file);
    ChatRenderOptions options;
    options.bos_token = files.bos_token;
    options.eos_token = files.eos_token;
    return files.chat_template.Render(OrderedJson::array(), nullptr, nullptr, options);
  };
  EXPECT_THAT(MessageOf([&text] { text(); }), HasSubstr("--template FILE"));
  WriteTextFile(folder.path() / "tokenizer_config.json",
                R"({"bos_token": {"content": "B"}, "eos_token": "E", "chat_template": [
                    {"name": "tool_use", "template": "t"},
                    {"name": "default", "template": "{{ bos_token }}1{{ eos_token }}"}]})");
  EXPECT_EQ(text(), "B1E");
  WriteTextFile(folder.path() / "chat_template.jinja", "2{{ bos_token }}");
  EXPECT_EQ(text(), "2B");
  WriteTextFile(folder.path() / "mine", "3");
  EXPECT_EQ(text(folder.path() / "mine"), "3");
  EXPECT_THROW(text(folder.path() / "none"), Error);
}

}  // namespace
}  // namespace doppler
