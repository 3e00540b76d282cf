#include "text/answer_reader.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace doppler {
namespace {

using Marks = std::vector<std::string>;

const Marks kThinkMarks = {"<think>", "</think>"};
const Marks kChannelMarks = {"<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>"};

// One token for each letter and for each of `marks`, which are special or not.
Tokenizer LettersAndMarks(const Marks& marks, bool special) {
  nlohmann::json vocab = nlohmann::json::object();
  for (char byte = '!'; byte <= '~'; ++byte) vocab[std::string(1, byte)] = byte - '!';
  nlohmann::json added = nlohmann::json::array();
  for (const std::string& mark : marks) {
    added.push_back({{"id", 100 + added.size()}, {"content", mark}, {"special", special}});
  }
  const nlohmann::json json = {
      {"added_tokens", added},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"use_regex", false}, {"add_prefix_space", false}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  return Tokenizer::FromJson(json.dump(), "", "here");
}

// The parts of `answer`, thinking in (), after a prompt that ends with `prompt`.
std::string PartsOf(const Tokenizer& tokenizer, const std::string& answer,
                    const std::string& prompt = "") {
  AnswerReader reader(tokenizer);
  for (const TokenId token : tokenizer.Encode(prompt)) reader.Push(token);
  std::string out;
  bool thinking = false;
  for (const TokenId token : tokenizer.Encode(answer)) {
    const auto part = reader.Push(token);
    if (!part) continue;
    if (thinking != (*part == AnswerPart::kThinking)) out += thinking ? ')' : '(';
    thinking = *part == AnswerPart::kThinking;
    out += tokenizer.TokenBytes(token);
  }
  return thinking ? out + ')' : out;
}

TEST(AnswerReaderTest, WithoutMarksAllIsAnswer) {
  const Tokenizer tokenizer = LettersAndMarks({"<|end|>", "</s>"}, true);
  EXPECT_FALSE(AnswerReader(tokenizer).has_marks());
  EXPECT_EQ(PartsOf(tokenizer, "<think>a</think>b<|end|>c</s>"), "<think>a</think>bc");
  EXPECT_EQ(PartsOf(tokenizer, "<|channel|>final<|message|>a"), "<|channel|>final<|message|>a");
  EXPECT_FALSE(AnswerReader(LettersAndMarks({"<think>"}, true)).has_marks());
  EXPECT_FALSE(AnswerReader(LettersAndMarks({"<|channel|>", "<|message|>"}, true)).has_marks());
}

TEST(AnswerReaderTest, Thinking) {
  for (const bool special : {false, true}) {
    const Tokenizer tokenizer = LettersAndMarks(kThinkMarks, special);
    EXPECT_TRUE(AnswerReader(tokenizer).has_marks());
    EXPECT_EQ(PartsOf(tokenizer, "<think>hm</think>yes"), "(hm)yes");
    EXPECT_EQ(PartsOf(tokenizer, "yes<think>hm"), "yes(hm)");
    EXPECT_EQ(PartsOf(tokenizer, "hm</think>yes", "<think>"), "(hm)yes");
    EXPECT_EQ(PartsOf(tokenizer, "yes", "<think></think>"), "yes");
  }
}

TEST(AnswerReaderTest, Channels) {
  const Tokenizer tokenizer = LettersAndMarks(kChannelMarks, true);
  EXPECT_TRUE(AnswerReader(tokenizer).has_marks());
  EXPECT_EQ(PartsOf(tokenizer,
                    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final"
                    "<|message|>yes<|return|>",
                    "<|start|>assistant"),
            "(hm)yes");
  EXPECT_EQ(PartsOf(tokenizer,
                    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary"
                    "<|message|>so<|end|>assistant<|channel|>final<|message|>yes"),
            "(hmso)yes");
  EXPECT_EQ(PartsOf(tokenizer, "assistant<|message|>yes", "<|start|>"), "yes");
  EXPECT_EQ(PartsOf(tokenizer, "assistant<|channel|>finally<|message|>no", "<|start|>"), "(no)");
  EXPECT_EQ(PartsOf(tokenizer, "<|channel|>ana"), "");
}

}  // namespace
}  // namespace doppler
