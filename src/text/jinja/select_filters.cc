// Filters that apply another filter or a test to every element: map, select and their relatives.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja/runtime.h"

namespace doppler::jinja {
namespace {

// What is left of `arguments` for the function that they name.
Arguments Rest(const Arguments& arguments, std::size_t used) {
  Arguments rest = arguments;
  const auto count = static_cast<std::ptrdiff_t>(std::min(used, rest.positional.size()));
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + count);
  return rest;
}

// Jinja's filters of this kind take whatever is false for nothing: None too.
Items ElementsIfTrue(Runtime& runtime, const Value& value) {
  return value.Truthy() ? Elements(runtime, value) : Items();
}

Value MapAttribute(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("map", {"attribute", "default"});
  Items items = ElementsIfTrue(runtime, input);
  for (Value& item : items) {
    item = AttributePath(runtime, item, bound[0]);
    if (item.is_undefined() && !bound[1].is_undefined()) item = bound[1];
  }
  return Value::ListOf(std::move(items));
}

Value Map(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (arguments.positional.empty()) return MapAttribute(runtime, input, arguments);
  const std::string name = RequireText(arguments.positional[0], "map");
  const Arguments rest = Rest(arguments, 1);
  Items items = ElementsIfTrue(runtime, input);
  for (Value& item : items) item = ApplyFilter(runtime, name, item, rest);
  return Value::ListOf(std::move(items));
}

// Keeps the elements for which the test gives `wanted`: without a test, those that are true; of an
// attribute of theirs, which the first argument names.
template <bool wanted, bool by_attribute>
Value Choose(Runtime& runtime, const Value& input, const Arguments& arguments) {
  constexpr std::size_t kTestAt = by_attribute ? 1 : 0;
  if (by_attribute && arguments.positional.empty()) Throw("an attribute to select by is missing");
  const bool has_test = arguments.positional.size() > kTestAt;
  const std::string test = has_test ? RequireText(arguments.positional[kTestAt], "select") : "";
  const Arguments rest = Rest(arguments, kTestAt + 1);
  Items chosen;
  for (const Value& item : ElementsIfTrue(runtime, input)) {
    const Value value = by_attribute ? AttributePath(runtime, item, arguments.positional[0]) : item;
    const bool passes = has_test ? ApplyTest(runtime, test, value, rest) : value.Truthy();
    if (passes == wanted) chosen.push_back(item);
  }
  return runtime.List(std::move(chosen));
}

constexpr std::array<NamedFunction, 5> kSelectFilters = {{{"map", Map},
                                                          {"select", Choose<true, false>},
                                                          {"reject", Choose<false, false>},
                                                          {"selectattr", Choose<true, true>},
                                                          {"rejectattr", Choose<false, true>}}};

}  // namespace

Function FindSelectFilter(std::string_view name) { return FindIn(kSelectFilters, name); }

}  // namespace doppler::jinja
