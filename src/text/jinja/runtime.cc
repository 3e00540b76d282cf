#include "text/jinja/runtime.h"

#include <algorithm>

#include "base/error.h"
#include "text/jinja/python_text.h"

namespace doppler::jinja {

Value Runtime::Text(std::string text) {
  meter.Make(text.size() + sizeof(Value));
  return Value::String(std::move(text));
}

Value Runtime::List(Items items) {
  meter.Make((items.size() + 1) * sizeof(Value));
  meter.Step(items.size());
  return Value::ListOf(std::move(items));
}

Value Runtime::Tuple(Items items) {
  meter.Make((items.size() + 1) * sizeof(Value));
  return Value::TupleOf(std::move(items));
}

Value Runtime::Mapping(Dict dict) {
  // An entry stands in a list and in an index.
  constexpr std::size_t kEntryBytes = 160;
  meter.Make((dict.entries().size() + 1) * kEntryBytes);
  meter.Step(dict.entries().size());
  return Value::DictOf(std::move(dict));
}

Items Arguments::Bind(std::string_view function,
                      std::initializer_list<std::string_view> parameters) const {
  if (positional.size() > parameters.size()) {
    Throw("'{}' takes at most {} arguments, not {}", function, parameters.size(),
          positional.size());
  }
  Items values = positional;
  values.resize(parameters.size());
  for (const auto& [name, value] : named) {
    const auto* const found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end()) Throw("'{}' has no argument '{}'", function, name);
    const auto index = static_cast<std::size_t>(found - parameters.begin());
    if (index < positional.size()) Throw("'{}' is given its argument '{}' twice", function, name);
    values[index] = value;
  }
  return values;
}

Function FindFilter(std::string_view name) {
  for (const auto find : {FindTextFilter, FindNumberFilter, FindListFilter, FindSelectFilter}) {
    if (const Function found = find(name)) return found;
  }
  return nullptr;
}

Value ApplyFilter(Runtime& runtime, std::string_view name, const Value& input,
                  const Arguments& arguments) {
  const Function filter = FindFilter(name);
  if (filter == nullptr) Throw("the filter '{}' is not known", name);
  runtime.meter.Step();
  return filter(runtime, input, arguments);
}

bool ApplyTest(Runtime& runtime, std::string_view name, const Value& input,
               const Arguments& arguments) {
  const Function test = FindTest(name);
  if (test == nullptr) Throw("the test '{}' is not known", name);
  runtime.meter.Step();
  return test(runtime, input, arguments).Truthy();
}

Items Elements(Runtime& runtime, const Value& value) {
  Items items;
  if (value.is_list()) {
    items = value.items();
  } else if (value.is_dict()) {
    for (const auto& entry : value.dict().entries()) items.push_back(entry.first);
  } else if (value.is_string()) {
    runtime.meter.Reserve(value.text().size(), 2 * sizeof(Value));
    for (const std::string_view character : Characters(value.text())) {
      items.push_back(Value::String(std::string(character)));
    }
  } else if (!value.is_undefined()) {
    Throw("a {} has no elements to go through", value.TypeName());
  }
  runtime.meter.Make(items.size() * sizeof(Value));
  runtime.meter.Step(items.size());
  return items;
}

const std::string& RequireText(const Value& value, std::string_view what) {
  if (value.is_undefined()) Throw("{} needs text, but {}", what, value.UndefinedMessage());
  if (!value.is_string()) Throw("{} needs text, not {}", what, value.TypeName());
  return value.text();
}

std::int64_t RequireInt(const Value& value, std::string_view what) {
  if (!value.is_int() && !value.is_bool()) {
    Throw("{} needs a whole number, not {}", what, value.TypeName());
  }
  return value.integer();
}

std::int64_t IntOr(const Value& value, std::int64_t fallback, std::string_view what) {
  return value.is_undefined() || value.is_none() ? fallback : RequireInt(value, what);
}

bool BoolOr(const Value& value, bool fallback) {
  return value.is_undefined() ? fallback : value.Truthy();
}

}  // namespace doppler::jinja
