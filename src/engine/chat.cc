#include "engine/chat.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace doppler {

Chat::Chat(Engine& engine, ChatFiles files, ChatOptions options)
    : engine_(engine), files_(std::move(files)), options_(std::move(options)), session_(engine) {}

std::string Chat::Render(bool add_generation_prompt) const {
  using Json = nlohmann::ordered_json;
  Json messages = Json::array();
  if (!options_.system.empty()) {
    messages.push_back({{"role", "system"}, {"content", options_.system}});
  }
  for (const Message& turn : turns_) {
    Json& message = messages.emplace_back(Json{{"role", turn.role}, {"content", turn.content}});
    if (turn.thinking.empty()) continue;
    message["thinking"] = turn.thinking;
    message["reasoning_content"] = turn.thinking;
  }
  Json extra = Json::object();
  if (options_.thinking) extra["enable_thinking"] = *options_.thinking;
  ChatRenderOptions render;
  render.add_generation_prompt = add_generation_prompt;
  render.bos_token = files_.bos_token;
  render.eos_token = files_.eos_token;
  return files_.chat_template.Render(messages, nullptr, extra, render);
}

AnswerReader Chat::ReaderAfter(const std::string& prompt) const {
  AnswerReader reader(engine_.tokenizer());
  if (!reader.has_marks()) return reader;
  // Only what begins the answer counts: the conversation before it may talk of marks.
  const std::string before = Render(false);
  if (!prompt.starts_with(before)) return reader;
  const std::string begun = prompt.substr(before.size());
  for (const TokenId token : engine_.tokenizer().Encode(begun, {.add_bos = false})) {
    reader.Push(token);
  }
  return reader;
}

std::size_t Chat::KeepPrefix(const std::vector<TokenId>& prompt) {
  const auto [held, wanted] =
      std::mismatch(held_.begin(), held_.end(), prompt.begin(), prompt.end());
  // The logits after the last token come from computing it, so it is never kept.
  const auto same = static_cast<std::size_t>(held - held_.begin());
  const std::size_t kept = std::min(same, prompt.size() - 1);
  session_.Truncate(static_cast<int>(kept));
  held_.resize(kept);
  return kept;
}

ChatTurn Chat::Say(const std::string& text,
                   const std::function<void(AnswerPart, std::string_view)>& on_part) {
  turns_.push_back({.role = "user", .content = text});
  try {
    const std::string rendered = Render(true);
    // The template writes the beginning itself.
    const std::vector<TokenId> prompt = engine_.tokenizer().Encode(rendered, {.add_bos = false});
    if (prompt.empty()) Throw("the chat template makes nothing of this conversation");
    if (prompt.size() > static_cast<std::size_t>(session_.context())) {
      Throw(
          "the conversation has {} tokens and the context has room for {}; begin a new one with "
          "/reset, or raise --context (the model was made for {})",
          prompt.size(), session_.context(), engine_.config().context_length);
    }
    ChatTurn turn;
    turn.kept_tokens = KeepPrefix(prompt);
    const auto take = [&turn, &on_part](AnswerPart part, std::string_view more) {
      (part == AnswerPart::kThinking ? turn.thinking : turn.answer) += more;
      on_part(part, more);
    };
    turn.result = GenerateAnswer(session_, engine_, std::span(prompt).subspan(turn.kept_tokens),
                                 options_.generate, ReaderAfter(rendered), take);
    turn.thinking.erase(turn.thinking.find_last_not_of('\n') + 1);
    held_ = prompt;
    held_.insert(held_.end(), turn.result.tokens.begin(), turn.result.tokens.end());
    // The last token of an answer may not have been computed.
    held_.resize(static_cast<std::size_t>(session_.length()));
    turns_.push_back({.role = "assistant", .content = turn.answer, .thinking = turn.thinking});
    return turn;
  } catch (...) {
    turns_.pop_back();
    // What a failure in the middle of an answer has left there is not known.
    const std::size_t known = std::min(held_.size(), static_cast<std::size_t>(session_.length()));
    session_.Truncate(static_cast<int>(known));
    held_.resize(known);
    throw;
  }
}

}  // namespace doppler
