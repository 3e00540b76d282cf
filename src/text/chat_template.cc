#include "text/chat_template.h"

#include <limits>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace doppler {
namespace {

using OrderedJson = nlohmann::ordered_json;

jinja::Value NumberFrom(const OrderedJson& json) {
  if (json.is_number_float()) return jinja::Value::Float(json.get<double>());
  const bool large = json.is_number_unsigned() &&
                     json.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max();
  if (large) return jinja::Value::Float(json.get<double>());
  return jinja::Value::Int(json.get<std::int64_t>());
}

// A document that nests too deeply is refused by the lists that would hold it, but only when the
// recursion returns.
void CheckDepth(int depth) {
  if (depth > jinja::Limits::kDepth) Throw("the conversation's JSON nests too deeply");
}

jinja::Value ValueFrom(jinja::Runtime& runtime, const OrderedJson& json, int depth = 0) {
  CheckDepth(depth);
  if (json.is_null()) return jinja::Value::None();
  if (json.is_boolean()) return jinja::Value::Bool(json.get<bool>());
  if (json.is_number()) return NumberFrom(json);
  if (json.is_string()) return runtime.Text(json.get<std::string>());
  if (json.is_array()) {
    jinja::Items items;
    for (const OrderedJson& item : json) items.push_back(ValueFrom(runtime, item, depth + 1));
    return runtime.List(std::move(items));
  }
  if (!json.is_object()) Throw("the conversation holds binary data");
  jinja::Dict dict;
  for (const auto& [key, value] : json.items()) {
    dict.Set(jinja::Value::String(key), ValueFrom(runtime, value, depth + 1));
  }
  return runtime.Mapping(std::move(dict));
}

// The variables that transformers gives a template.
void SetVariables(jinja::Interpreter& interpreter, const OrderedJson& messages,
                  const OrderedJson& tools, const OrderedJson& extra,
                  const ChatRenderOptions& options) {
  jinja::Runtime& runtime = interpreter.runtime();
  interpreter.SetVariable("messages", ValueFrom(runtime, messages));
  interpreter.SetVariable("tools", ValueFrom(runtime, tools));
  interpreter.SetVariable("documents", jinja::Value::None());
  interpreter.SetVariable("add_generation_prompt",
                          jinja::Value::Bool(options.add_generation_prompt));
  interpreter.SetVariable("bos_token", jinja::Value::String(options.bos_token));
  interpreter.SetVariable("eos_token", jinja::Value::String(options.eos_token));
  if (extra.is_null()) return;
  for (const auto& [key, value] : extra.items()) {
    interpreter.SetVariable(key, ValueFrom(runtime, value));
  }
}

}  // namespace

struct ChatTemplate::Parsed {
  std::string where;
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate ChatTemplate::Parse(std::string_view source, const std::string& where) {
  const jinja::Limits limits;
  if (source.size() > limits.source) {
    Throw("{}: the template has {}, more than {}", where, FormatSize(source.size()),
          FormatSize(limits.source));
  }
  try {
    auto parsed = std::make_unique<Parsed>();
    parsed->where = where;
    parsed->block = jinja::ParseTemplate(source);
    return ChatTemplate(std::move(parsed));
  } catch (const Error& error) {
    Throw("{}, {}", where, error.what());
  }
}

std::string ChatTemplate::Render(const OrderedJson& messages, const OrderedJson& tools,
                                 const OrderedJson& extra, const ChatRenderOptions& options) const {
  jinja::Interpreter interpreter(options.limits, options.now);
  try {
    SetVariables(interpreter, messages, tools, extra, options);
    return interpreter.Run(parsed_->block);
  } catch (const Error& error) {
    Throw("{}, line {}: {}", parsed_->where, interpreter.line(), error.what());
  }
}

}  // namespace doppler
