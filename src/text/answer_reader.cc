#include "text/answer_reader.h"

namespace doppler {
namespace {

// The channel whose text is for the user; the others are analysis and commentary (calls of tools).
constexpr std::string_view kFinalChannel = "final";

}  // namespace

AnswerReader::AnswerReader(const Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      think_begin_(tokenizer.AddedTokenId("<think>")),
      think_end_(tokenizer.AddedTokenId("</think>")),
      channel_(tokenizer.AddedTokenId("<|channel|>")),
      message_(tokenizer.AddedTokenId("<|message|>")),
      start_(tokenizer.AddedTokenId("<|start|>")),
      end_(tokenizer.AddedTokenId("<|end|>")) {
  if (think_end_ == kNoToken) think_begin_ = kNoToken;
  // Others have <|end|> too, and mean something else by it.
  if (message_ == kNoToken || start_ == kNoToken || end_ == kNoToken) channel_ = kNoToken;
}

bool AnswerReader::PushMark(TokenId token) {
  if (token == kNoToken) return false;
  if (think_begin_ != kNoToken && (token == think_begin_ || token == think_end_)) {
    state_ = token == think_begin_ ? State::kThinking : State::kAnswer;
    return true;
  }
  if (channel_ == kNoToken) return false;
  if (token == message_) {
    // A message that names no channel is meant for the user.
    state_ = in_channel_ && channel_name_ != kFinalChannel ? State::kThinking : State::kAnswer;
    return true;
  }
  if (token != channel_ && token != start_ && token != end_) return false;
  state_ = State::kHeader;
  in_channel_ = token == channel_;
  channel_name_.clear();
  return true;
}

std::optional<AnswerPart> AnswerReader::Push(TokenId token) {
  if (PushMark(token)) return std::nullopt;
  if (state_ == State::kHeader) {
    if (in_channel_) channel_name_ += tokenizer_.TokenBytes(token);
    return std::nullopt;
  }
  if (tokenizer_.IsSpecial(token)) return std::nullopt;
  return state_ == State::kThinking ? AnswerPart::kThinking : AnswerPart::kAnswer;
}

}  // namespace doppler
