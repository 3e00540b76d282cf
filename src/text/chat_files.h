// The chat template and the marks of a model, from the files beside its tokenizer.
#pragma once

#include <filesystem>
#include <string>

#include "text/chat_template.h"

namespace doppler {

struct ChatFiles {
  ChatTemplate chat_template;
  std::string bos_token;  // empty if the model has none
  std::string eos_token;
};

// The template is `template_file`, if it is not empty; else the folder's chat_template.jinja; else
// `chat_template` of its tokenizer_config.json, a text or a list of named ones of which "default"
// is meant. Throws Error if there is none, or if it cannot be understood.
ChatFiles LoadChatFiles(const std::filesystem::path& folder,
                        const std::filesystem::path& template_file);

}  // namespace doppler
