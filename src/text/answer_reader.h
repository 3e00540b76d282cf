// Tells what of an answer is thinking and what is meant for the user.
//
//   <think> hm </think> Hi.                                    Qwen, DeepSeek, Kimi
//   <|channel|>analysis<|message|> hm <|end|><|start|>assistant
//   <|channel|>final<|message|> Hi. <|return|>                 GPT-OSS
//
// Marks are added tokens: text that only looks like one is text. A vocabulary has either kind, both
// or none; without marks all is answer. A reader reads one answer, on one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/ids.h"
#include "text/tokenizer.h"

namespace doppler {

enum class AnswerPart : std::uint8_t { kThinking, kAnswer };

class AnswerReader {
 public:
  // `tokenizer` outlives the reader.
  explicit AnswerReader(const Tokenizer& tokenizer);

  // Whether the vocabulary has marks at all.
  bool has_marks() const { return think_begin_ != kNoToken || channel_ != kNoToken; }

  // The part that the token's text belongs to; nothing if it is not to be shown: a mark, another
  // special token, or the name of a channel. Tokens of the prompt with which an answer begins are
  // pushed first, since it may begin with a mark.
  std::optional<AnswerPart> Push(TokenId token);

 private:
  enum class State : std::uint8_t { kHeader, kThinking, kAnswer };

  bool PushMark(TokenId token);

  const Tokenizer& tokenizer_;
  TokenId think_begin_;
  TokenId think_end_;
  TokenId channel_;
  TokenId message_;
  TokenId start_;
  TokenId end_;
  State state_ = State::kAnswer;
  bool in_channel_ = false;   // the header names a channel, not who speaks
  std::string channel_name_;  // so far
};

}  // namespace doppler
