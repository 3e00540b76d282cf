// Turns a conversation into the text that a model was trained on, by the model's own template.
//
// The template is Jinja as Hugging Face transformers renders it; docs/chat.md says what is
// supported. It is a stranger's program: what it may cost is bounded. A ChatTemplate is immutable
// and can be used from several threads at once.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "text/jinja/meter.h"

namespace doppler {

struct ChatRenderOptions {
  bool add_generation_prompt = true;  // end with the beginning of an answer
  std::string bos_token = {};
  std::string eos_token = {};
  std::chrono::system_clock::time_point now = std::chrono::system_clock::now();  // strftime_now
  jinja::Limits limits = {};  // what rendering may cost
};

class ChatTemplate {
 public:
  // `where` names the template in messages. Throws Error, with the line, for a text that is no
  // template.
  static ChatTemplate Parse(std::string_view source, const std::string& where);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // `messages` is a list of objects with `role` and `content` at least; `tools` a list of function
  // descriptions, or null; `extra` an object of further variables, which go before those of the
  // options, or null. Throws Error, with the line, where the template refuses the conversation or
  // cannot be followed, or costs too much.
  std::string Render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                     const nlohmann::ordered_json& extra, const ChatRenderOptions& options) const;

 private:
  struct Parsed;
  explicit ChatTemplate(std::unique_ptr<const Parsed> parsed);

  std::unique_ptr<const Parsed> parsed_;
};

}  // namespace doppler
