// Methods of text and mappings. Those that would change a value are refused, as by the sandbox of
// transformers.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"
#include "text/jinja/text_replace.h"

namespace doppler::jinja {
namespace {

using TextMap = std::string (*)(std::string_view);

template <TextMap map>
Value Mapped(Runtime& runtime, const Value& self, const Arguments& arguments) {
  arguments.Bind("a method of text", {});
  return runtime.Text(map(self.text()));
}

template <bool left, bool right>
Value StripMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Value characters = arguments.Bind("strip", {"chars"})[0];
  if (characters.is_undefined() || characters.is_none()) {
    return runtime.Text(std::string(Strip(self.text(), left, right)));
  }
  const std::string& wanted = RequireText(characters, "strip");
  runtime.meter.Reserve(self.text().size() / 64 + 1, wanted.size());
  if (wanted.empty()) return self;
  return runtime.Text(std::string(Strip(self.text(), left, right, wanted)));
}

Value TextList(Runtime& runtime, const std::vector<std::string>& parts) {
  runtime.meter.Reserve(parts.size(), sizeof(std::string));
  Items items;
  for (const std::string& part : parts) items.push_back(runtime.Text(part));
  return runtime.List(std::move(items));
}

template <bool from_right>
Value Split(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Items bound = arguments.Bind("split", {"sep", "maxsplit"});
  const std::int64_t limit = IntOr(bound[1], -1, "split");
  if (bound[0].is_none() || (bound[0].is_undefined() && arguments.positional.empty())) {
    return TextList(runtime, SplitSpace(self.text(), limit, from_right));
  }
  const std::string& separator = RequireText(bound[0], "split");
  if (separator.empty()) Throw("split: the separator is empty");
  return TextList(runtime, SplitAt(self.text(), separator, limit, from_right));
}

Value SplitLinesMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Items bound = arguments.Bind("splitlines", {"keepends"});
  return TextList(runtime, SplitLines(self.text(), BoolOr(bound[0], false)));
}

template <bool from_right>
Value Partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const std::string separator = RequireText(arguments.Bind("partition", {"sep"})[0], "partition");
  if (separator.empty()) Throw("partition: the separator is empty");
  const std::string& text = self.text();
  const std::size_t at = from_right ? text.rfind(separator) : text.find(separator);
  if (at == std::string::npos) {
    const Value empty = Value::String("");
    return from_right ? runtime.Tuple({empty, empty, self}) : runtime.Tuple({self, empty, empty});
  }
  return runtime.Tuple({runtime.Text(text.substr(0, at)), runtime.Text(separator),
                        runtime.Text(text.substr(at + separator.size()))});
}

Value ReplaceMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Items bound = arguments.Bind("replace", {"old", "new", "count"});
  return ReplaceText(runtime, self.text(), RequireText(bound[0], "replace"),
                     RequireText(bound[1], "replace"), IntOr(bound[2], -1, "replace"));
}

// One text, or a tuple of which one must match.
template <bool at_end>
Value HasAffix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const char* const name = at_end ? "endswith" : "startswith";
  const Value affix = arguments.Bind(name, {"affix"})[0];
  const std::string_view text = self.text();
  const auto matches = [&](const Value& one) {
    const std::string& part = RequireText(one, name);
    return at_end ? text.ends_with(part) : text.starts_with(part);
  };
  if (!affix.is_list()) return Value::Bool(matches(affix));
  runtime.meter.Step(affix.items().size());
  return Value::Bool(std::any_of(affix.items().begin(), affix.items().end(), matches));
}

template <bool at_end>
Value RemoveAffix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const char* const name = at_end ? "removesuffix" : "removeprefix";
  const std::string part = RequireText(arguments.Bind(name, {"affix"})[0], name);
  std::string_view text = self.text();
  if (!(at_end ? text.ends_with(part) : text.starts_with(part))) return self;
  at_end ? text.remove_suffix(part.size()) : text.remove_prefix(part.size());
  return runtime.Text(std::string(text));
}

template <bool from_right>
Value Find(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const std::string part = RequireText(arguments.Bind("find", {"sub"})[0], "find");
  runtime.meter.Make(self.text().size());
  const std::size_t at = from_right ? self.text().rfind(part) : self.text().find(part);
  if (at == std::string::npos) return Value::Int(-1);
  return Value::Int(static_cast<std::int64_t>(CharacterCount(self.text().substr(0, at))));
}

Value Count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const std::string part = RequireText(arguments.Bind("count", {"sub"})[0], "count");
  runtime.meter.Make(self.text().size());
  return Value::Int(static_cast<std::int64_t>(CountOf(self.text(), part)));
}

Value JoinMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Value list = arguments.Bind("join", {"iterable"})[0];
  for (const Value& item : Elements(runtime, list)) RequireText(item, "join");
  return ApplyFilter(runtime, "join", list, {.positional = {self}, .named = {}});
}

using CharacterTest = bool (*)(std::string_view);
bool IsLetterOrDigit(std::string_view character) {
  return IsLetter(character) || IsDigit(character);
}

template <CharacterTest test>
Value AllOf(Runtime& runtime, const Value& self, const Arguments& /*arguments*/) {
  runtime.meter.Make(self.text().size());
  const std::vector<std::string_view> characters = Characters(self.text());
  return Value::Bool(!characters.empty() &&
                     std::all_of(characters.begin(), characters.end(), test));
}

template <CharacterTest test>
Value Holds(Runtime& runtime, const Value& self, const Arguments& /*arguments*/) {
  runtime.meter.Make(self.text().size());
  return Value::Bool(test(self.text()));
}

Value Get(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  const Items bound = arguments.Bind("get", {"key", "default"});
  if (const Value* const found = self.dict().Find(bound[0])) return *found;
  return bound[1].is_undefined() ? Value::None() : bound[1];
}

Value ItemsMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  arguments.Bind("items", {});
  return ApplyFilter(runtime, "items", self, {});
}

Value Keys(Runtime& runtime, const Value& self, const Arguments& arguments) {
  arguments.Bind("keys", {});
  return Value::ListOf(Elements(runtime, self));
}

Value Values(Runtime& runtime, const Value& self, const Arguments& arguments) {
  arguments.Bind("values", {});
  Items items;
  for (const auto& entry : self.dict().entries()) items.push_back(entry.second);
  return runtime.List(std::move(items));
}

Value Refuse(Runtime& /*runtime*/, const Value& self, const Arguments& /*arguments*/) {
  Throw("a {} cannot be changed in a chat template; make a new one, or use a namespace",
        self.TypeName());
}

Value Copy(Runtime& /*runtime*/, const Value& self, const Arguments& /*arguments*/) { return self; }

constexpr std::array<NamedFunction, 29> kTextMethods = {{
    {"upper", Mapped<Upper>},
    {"lower", Mapped<Lower>},
    {"capitalize", Mapped<Capitalize>},
    {"title", Mapped<TitleOfMethod>},
    {"strip", StripMethod<true, true>},
    {"lstrip", StripMethod<true, false>},
    {"rstrip", StripMethod<false, true>},
    {"split", Split<false>},
    {"rsplit", Split<true>},
    {"splitlines", SplitLinesMethod},
    {"partition", Partition<false>},
    {"rpartition", Partition<true>},
    {"replace", ReplaceMethod},
    {"startswith", HasAffix<false>},
    {"endswith", HasAffix<true>},
    {"removeprefix", RemoveAffix<false>},
    {"removesuffix", RemoveAffix<true>},
    {"find", Find<false>},
    {"rfind", Find<true>},
    {"count", Count},
    {"join", JoinMethod},
    {"isalpha", AllOf<IsLetter>},
    {"isdigit", AllOf<IsDigit>},
    {"isnumeric", AllOf<IsDigit>},
    {"isdecimal", AllOf<IsDigit>},
    {"isalnum", AllOf<IsLetterOrDigit>},
    {"isspace", AllOf<IsSpace>},
    {"isupper", Holds<IsUpper>},
    {"islower", Holds<IsLower>},
}};

constexpr std::array<NamedFunction, 10> kDictMethods = {{{"get", Get},
                                                         {"items", ItemsMethod},
                                                         {"keys", Keys},
                                                         {"values", Values},
                                                         {"copy", Copy},
                                                         {"update", Refuse},
                                                         {"pop", Refuse},
                                                         {"popitem", Refuse},
                                                         {"setdefault", Refuse},
                                                         {"clear", Refuse}}};

constexpr std::array<NamedFunction, 8> kListMethods = {{{"append", Refuse},
                                                        {"extend", Refuse},
                                                        {"insert", Refuse},
                                                        {"remove", Refuse},
                                                        {"pop", Refuse},
                                                        {"sort", Refuse},
                                                        {"reverse", Refuse},
                                                        {"copy", Copy}}};

// loop.cycle('odd', 'even')
Value Cycle(Runtime& /*runtime*/, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) Throw("cycle needs something to go through");
  return arguments.positional[self.AsLoop()->index0 % arguments.positional.size()];
}

}  // namespace

Function FindMethod(const Value& receiver, std::string_view name) {
  if (receiver.is_string()) return FindIn(kTextMethods, name);
  if (receiver.is_dict()) return FindIn(kDictMethods, name);
  if (receiver.is_list()) return FindIn(kListMethods, name);
  return receiver.AsLoop() != nullptr && name == "cycle" ? Cycle : nullptr;
}

}  // namespace doppler::jinja
