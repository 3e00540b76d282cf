#include "text/chat_files.h"

#include "base/error.h"
#include "format/json.h"
#include "io/file.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kLargestTemplateFile = 16 * kMiB;

struct Source {
  std::string text;
  std::string where;
};

// A token is its text, or an object that holds it.
std::string TokenText(const JsonReader& config, std::string_view key) {
  const auto token = config.OptionalMember(key);
  if (!token || token->value().is_null()) return {};
  if (!token->value().is_object()) return token->String();
  return token->Member("content").String();
}

std::string TemplateIn(const JsonReader& config) {
  const auto found = config.OptionalMember("chat_template");
  if (!found || found->value().is_null()) return {};
  if (!found->value().is_array()) return found->String();
  for (std::size_t i = 0; i < found->value().size(); ++i) {
    const JsonReader entry = found->Element(i);
    if (entry.Member("name").String() == "default") return entry.Member("template").String();
  }
  return {};
}

Source FindTemplate(const fs::path& folder, const fs::path& template_file, const JsonReader& config,
                    const std::string& config_file) {
  for (const fs::path& file : {template_file, folder / "chat_template.jinja"}) {
    if (file.empty() || (file != template_file && !fs::exists(file))) continue;
    return {ReadTextFile(file, kLargestTemplateFile), file.string()};
  }
  std::string text = TemplateIn(config);
  if (text.empty()) {
    Throw(
        "the model in '{}' has no chat template: it may not be made for conversations; give one "
        "with --template FILE",
        folder.string());
  }
  return {std::move(text), "the chat template in " + config_file};
}

}  // namespace

ChatFiles LoadChatFiles(const fs::path& folder, const fs::path& template_file) {
  const fs::path config_file = folder / "tokenizer_config.json";
  const std::string where = config_file.string();
  const nlohmann::json document =
      ParseStrictJson(fs::exists(config_file) ? ReadTextFile(config_file) : "{}", where);
  const JsonReader config(document, where);
  config.RequireObject();
  const Source source = FindTemplate(folder, template_file, config, where);
  return {.chat_template = ChatTemplate::Parse(source.text, source.where),
          .bos_token = TokenText(config, "bos_token"),
          .eos_token = TokenText(config, "eos_token")};
}

}  // namespace doppler
