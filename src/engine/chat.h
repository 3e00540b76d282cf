// A conversation with a model.
//
//   turns --ChatTemplate--> text --Tokenizer--> tokens --what the session lacks--> Generate
//
// The whole conversation is rendered for every answer, and only the tokens after those that the
// session already holds are computed. A template that rewrites the past (drops earlier thinking,
// say) makes that part be computed again; the answer is the same as that of a new session.
//
// A template gets an answer as `content` and the thinking before it, if there was any, as
// `thinking` and `reasoning_content`, the names that GPT-OSS, Qwen and Kimi have for it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/generate.h"
#include "engine/session.h"
#include "text/chat_files.h"

namespace doppler {

struct ChatOptions {
  GenerateOptions generate;           // of each answer
  std::string system = {};            // empty: no system message
  std::optional<bool> thinking = {};  // the template's enable_thinking; nothing: its default
};

struct ChatTurn {
  std::string thinking;  // before the answer, if the model marks it
  std::string answer;
  std::size_t kept_tokens = 0;  // of the prompt, that the session held already
  GenerateResult result;
};

// One thread at a time. The engine outlives the conversation.
class Chat {
 public:
  Chat(Engine& engine, ChatFiles files, ChatOptions options);

  // Says `text` and generates the answer, which is part of the conversation from then on, also when
  // it was cut short. Throws Error if the template refuses it or the conversation does not fit in
  // the context any longer, InterruptedError if it was stopped before the answer began: then
  // nothing was said.
  ChatTurn Say(const std::string& text,
               const std::function<void(AnswerPart, std::string_view)>& on_part);

  // Forgets all that was said; the system message stays.
  void Reset() { turns_.clear(); }
  // Another system message from the next answer on; empty: none.
  void SetSystem(std::string text) { options_.system = std::move(text); }

  const Session& session() const { return session_; }

 private:
  struct Message {
    std::string role;
    std::string content;
    std::string thinking = {};
  };

  std::string Render(bool add_generation_prompt) const;
  // Knows what the template has already said of the answer that begins after `prompt`.
  AnswerReader ReaderAfter(const std::string& prompt) const;
  // Makes the session hold the longest part of `prompt` that it can, and returns how long that is.
  std::size_t KeepPrefix(const std::vector<TokenId>& prompt);

  Engine& engine_;
  ChatFiles files_;
  ChatOptions options_;
  Session session_;
  std::vector<TokenId> held_;  // the session's tokens
  std::vector<Message> turns_;
};

}  // namespace doppler
