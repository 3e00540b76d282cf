// `doppler tokenize`, on every form that a tokenizer comes in.
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/program.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Ids = std::vector<int>;

const fs::path& DemoTokenizer() {
  static const fs::path folder = DataFolder() / "tokenizers" / "demo";
  return folder;
}

Ids IdsOf(const fs::path& model, const std::string& text,
          const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"tokenize", model, "-p", text, "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return JsonOutput(arguments).at("ids").get<Ids>();
}

// In the base 64 of RFC 4648, for at most three bytes.
std::string Base64OfFew(const std::string& bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned group = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    group = group << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u);
  }
  std::string out;
  for (int i = 3; i >= 0; --i) out += kDigits[group >> (6 * i) & 63u];
  out.replace(bytes.size() + 1, std::string::npos, std::string(3 - bytes.size(), '='));
  return out;
}

// Letters and a few marks, by rank 0 to 55, then "th" (56), "he", "the", " t", " th" and "\n\n"
// (61): with 258 special tokens the 320 that the tiny models have.
void WriteTiktoken(const fs::path& folder) {
  std::vector<std::string> tokens;
  for (const char byte : std::string(" ,.\n")) tokens.emplace_back(1, byte);
  for (char letter = 'a'; letter <= 'z'; ++letter) tokens.emplace_back(1, letter);
  for (char letter = 'A'; letter <= 'Z'; ++letter) tokens.emplace_back(1, letter);
  for (const char* token : {"th", "he", "the", " t", " th", "\n\n"}) tokens.emplace_back(token);
  std::string file;
  for (std::size_t rank = 0; rank < tokens.size(); ++rank) {
    file += Base64OfFew(tokens[rank]) + " " + std::to_string(rank) + "\n";
  }
  Overwrite(folder / "tiktoken.model", file);
  Overwrite(folder / "tokenizer_config.json",
            R"({"bos_token": "[BOS]", "eos_token": "[EOS]", "chat_template": "{{ bos_token }}",
                "added_tokens_decoder": {"62": {"content": "[BOS]", "special": true},
                                         "63": {"content": "[EOS]", "special": true},
                                         "64": {"content": "<|im_end|>", "special": true}}})");
}

TEST(TokenizeTest, PrintsALineForEachToken) {
  std::istringstream lines(Output({"tokenize", DemoTokenizer(), "-p", "The \"king\"\n"}));
  std::string text;
  Ids ids;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t quote = line.find('"');
    ASSERT_NE(quote, std::string::npos) << line;
    ids.push_back(std::stoi(line));
    text += nlohmann::json::parse(line.substr(quote)).get<std::string>();
  }
  EXPECT_EQ(ids, IdsOf(DemoTokenizer(), "The \"king\"\n"));
  EXPECT_THAT(text, testing::EndsWith("The \"king\"\n"));
}

TEST(TokenizeTest, TheBeginningCanBeLeftOut) {
  const Ids with = IdsOf(DemoTokenizer(), "The king");
  Ids without = IdsOf(DemoTokenizer(), "The king", {"--no-bos"});
  EXPECT_EQ(with.size(), without.size() + 1);
  without.insert(without.begin(), with[0]);
  EXPECT_EQ(without, with);
}

TEST(TokenizeTest, FilesAndLinesGiveWhatTextGives) {
  const TempFolder folder;
  const std::string text = "Die Größe\n\n  ist\t42 🙂.\n";
  Overwrite(folder.path() / "text", text);
  const nlohmann::json expected = JsonOutput({"tokenize", DemoTokenizer(), "-p", text, "--json"});
  EXPECT_EQ(expected.at("text").get<std::string>().substr(
                expected.at("text").get<std::string>().find("Die")),
            text);
  EXPECT_EQ(JsonOutput({"tokenize", DemoTokenizer(), "-f", folder.path() / "text", "--json"}),
            expected);

  Overwrite(folder.path() / "lines", nlohmann::json(text).dump() + "\n\"\"\n\"a\"\n");
  std::istringstream lines(
      Output({"tokenize", DemoTokenizer(), "--lines", folder.path() / "lines"}));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(nlohmann::json::parse(line), expected);
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(nlohmann::json::parse(line).at("ids").size(), 1u);
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(TokenizeTest, BytesThatAreNoTextAreShownAsSuch) {
  const TempFolder folder;
  Overwrite(folder.path() / "text", "a\xff");
  const nlohmann::json tokens =
      JsonOutput({"tokenize", DemoTokenizer(), "-f", folder.path() / "text", "--no-bos", "--json"});
  EXPECT_EQ(tokens.at("text"), "a\uFFFD");
  EXPECT_EQ(tokens.at("ids").size(), 2u);
}

TEST(TokenizeTest, ArtifactsFoldersAndGgufGiveTheSame) {
  for (const char* const text : {"Hello there", "x\n\n y 12345", "été"}) {
    const Ids expected = IdsOf(Golden("mixtral"), text);
    EXPECT_EQ(IdsOf(MoeModel(), text), expected);
    EXPECT_EQ(IdsOf(Golden("gguf") / "mixtral-bf16.gguf", text), expected);
  }
}

TEST(TokenizeTest, TiktokenFolders) {
  const TempFolder folder;
  WriteTiktoken(folder.path());
  // " th" before "he": the lowest rank joins first, but words that are tokens are taken whole.
  EXPECT_THAT(IdsOf(folder.path(), "the th, eth\n\n", {"--no-bos"}),
              ElementsAre(58, 60, 1, 0, 8, 56, 61));
  EXPECT_THAT(IdsOf(folder.path(), "[BOS]a<|im_end|><|reserved_token_65|>", {"--no-bos"}),
              ElementsAre(62, 4, 64, 65));
  EXPECT_EQ(JsonOutput({"tokenize", folder.path(), "-p", "the then", "--no-bos", "--json"})["text"],
            "the then");
  ExpectRefused(Doppler({"tokenize", folder.path(), "-p", "7"}), kFailed, {"byte"});
  Overwrite(folder.path() / "tiktoken.model", "YQ== 0\nnonsense\n");
  ExpectRefused(Doppler({"tokenize", folder.path(), "-p", "a"}), kFailed,
                {"tiktoken.model", "line 2"});
}

TEST(TokenizeTest, ConvertWritesATokenizerForTiktoken) {
  const TempFolder folder;
  const fs::path checkpoint = folder.path() / "checkpoint";
  fs::copy(Golden("kimi-k2-fp8"), checkpoint);
  fs::remove(checkpoint / "tokenizer.json");
  WriteTiktoken(checkpoint);
  const fs::path model = folder.path() / "model";
  Output({"convert", checkpoint, model});
  EXPECT_TRUE(fs::exists(model / "tokenizer.json"));
  for (const char* const text : {"the then, eth\n\n", "[BOS]The<|im_end|>", "thththe"}) {
    EXPECT_EQ(IdsOf(model, text), IdsOf(checkpoint, text));
  }
  // And it runs, by the chat template that came along.
  const std::string answer =
      Output({"chat", model, "--json", "-n", "2", "--temperature", "0"}, {.input = "the\n"});
  EXPECT_EQ(nlohmann::json::parse(answer).at("prefill").at("tokens"), 1);
}

TEST(TokenizeTest, WhatCannotBeReadIsNamed) {
  const TempFolder folder;
  ExpectRefused(Doppler({"tokenize", folder.path(), "-p", "a"}), kFailed,
                {"no tokenizer.json and no tiktoken.model"});
  ExpectRefused(Doppler({"tokenize", DemoTokenizer(), "-f", folder.path() / "none"}), kFailed,
                {"none"});
  Overwrite(folder.path() / "lines", "\"a\"\nb\n");
  const ProcessResult result =
      Doppler({"tokenize", DemoTokenizer(), "--lines", folder.path() / "lines"});
  ExpectRefused(result, kFailed, {"line 2 is not a JSON string"});
  EXPECT_THAT(Doppler({"tokenize", DemoTokenizer()}).errors, HasSubstr("-p"));
}

}  // namespace
}  // namespace doppler
