// Filters over text.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"
#include "text/jinja/text_replace.h"

namespace doppler::jinja {
namespace {

using TextMap = std::string (*)(std::string_view);

// Jinja turns what is no text into text first.
template <TextMap map>
Value MappedText(Runtime& runtime, const Value& input, const Arguments& arguments) {
  arguments.Bind("a filter of text", {});
  return runtime.Text(map(ToText(input)));
}

Value Trim(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Value characters = arguments.Bind("trim", {"chars"})[0];
  const bool given = !characters.is_undefined() && !characters.is_none();
  const std::string wanted = given ? RequireText(characters, "trim") : "";
  const std::string text = ToText(input);
  return runtime.Text(
      std::string(given && wanted.empty() ? text : Strip(text, true, true, wanted)));
}

Value Replace(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("replace", {"old", "new", "count"});
  return ReplaceText(runtime, ToText(input), ToText(bound[0]), ToText(bound[1]),
                     IntOr(bound[2], -1, "replace"));
}

Value Indent(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("indent", {"width", "first", "blank"});
  std::string indent;
  if (bound[0].is_string()) {
    indent = bound[0].text();
  } else {
    const std::int64_t width = IntOr(bound[0], 4, "indent");
    if (width > 0) {
      runtime.meter.Reserve(static_cast<std::uint64_t>(width), 1);
      indent.assign(static_cast<std::size_t>(width), ' ');
    }
  }
  // As in Jinja, a newline at the end is no line of its own, but is kept.
  const std::vector<std::string> lines = SplitLines(ToText(input) + "\n", false);
  runtime.meter.Reserve(lines.size(), indent.size() + sizeof(std::string));
  const bool blank = BoolOr(bound[2], false);
  std::string out = BoolOr(bound[1], false) ? indent : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indent;
    out += lines[i];
  }
  return runtime.Text(std::move(out));
}

Value String(Runtime& runtime, const Value& input, const Arguments& /*arguments*/) {
  return input.is_string() ? input : runtime.Text(ToText(input));
}

Value WordCount(Runtime& /*runtime*/, const Value& input, const Arguments& /*arguments*/) {
  const std::string text = ToText(input);
  std::int64_t count = 0;
  bool in_word = false;
  ForEachCharacter(text, [&](std::string_view character) {
    const bool word = character == "_" || IsLetter(character) || IsDigit(character);
    if (word && !in_word) ++count;
    in_word = word;
  });
  return Value::Int(count);
}

Value ToJsonFilter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound =
      arguments.Bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonFormat format{.ensure_ascii = BoolOr(bound[0], false), .sort_keys = BoolOr(bound[3], false)};
  if (!bound[1].is_undefined() && !bound[1].is_none()) {
    format.indented = true;
    format.item_separator = ",";
    constexpr std::int64_t kWidest = 64;
    format.indent = bound[1].is_string()
                        ? bound[1].text()
                        : std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(
                                          RequireInt(bound[1], "tojson"), 0, kWidest)),
                                      ' ');
  }
  if (bound[2].is_list() && bound[2].items().size() == 2) {
    format.item_separator = RequireText(bound[2].items()[0], "tojson");
    format.key_separator = RequireText(bound[2].items()[1], "tojson");
  }
  return runtime.Text(ToJson(input, format));
}

Value Safe(Runtime& /*runtime*/, const Value& input, const Arguments& /*arguments*/) {
  return input;
}

constexpr std::array<NamedFunction, 11> kTextFilters = {{{"upper", MappedText<Upper>},
                                                         {"lower", MappedText<Lower>},
                                                         {"capitalize", MappedText<Capitalize>},
                                                         {"title", MappedText<TitleOfFilter>},
                                                         {"trim", Trim},
                                                         {"replace", Replace},
                                                         {"indent", Indent},
                                                         {"string", String},
                                                         {"wordcount", WordCount},
                                                         {"tojson", ToJsonFilter},
                                                         {"safe", Safe}}};

}  // namespace

Function FindTextFilter(std::string_view name) { return FindIn(kTextFilters, name); }

}  // namespace doppler::jinja
