// Filters over lists and mappings.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace doppler::jinja {
namespace {

// What elements are compared by: an attribute of theirs if one is named, without case unless asked
// for.
struct Key {
  Value attribute;
  bool case_sensitive = false;

  Value Of(Runtime& runtime, const Value& item) const {
    const Value value = attribute.is_undefined() || attribute.is_none()
                            ? item
                            : AttributePath(runtime, item, attribute);
    return value.is_string() && !case_sensitive ? runtime.Text(Lower(value.text())) : value;
  }
};

void SortBy(Runtime& runtime, const Key& key, bool reverse, Items* items) {
  struct Keyed {
    Value key;
    Value item;
  };
  std::vector<Keyed> keyed;
  for (const Value& item : *items) keyed.push_back({key.Of(runtime, item), item});
  const auto less = [&runtime, reverse](const Keyed& left, const Keyed& right) {
    runtime.meter.Step();
    return reverse ? Less(right.key, left.key) : Less(left.key, right.key);
  };
  std::stable_sort(keyed.begin(), keyed.end(), less);
  for (std::size_t i = 0; i < keyed.size(); ++i) (*items)[i] = keyed[i].item;
}

Value Default(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("default", {"default_value", "boolean"});
  const bool missing = input.is_undefined() || (BoolOr(bound[1], false) && !input.Truthy());
  if (!missing) return input;
  return bound[0].is_undefined() && arguments.positional.empty() ? runtime.Text("") : bound[0];
}

Value Length(Runtime& runtime, const Value& input, const Arguments& /*arguments*/) {
  std::size_t size = 0;
  if (input.is_string()) {
    runtime.meter.Make(input.text().size());
    size = CharacterCount(input.text());
  } else if (input.is_list()) {
    size = input.items().size();
  } else if (input.is_dict()) {
    size = input.dict().entries().size();
  } else if (!input.is_undefined()) {
    Throw("a {} has no length", input.TypeName());
  }
  return Value::Int(static_cast<std::int64_t>(size));
}

Value First(Runtime& runtime, const Value& input, const Arguments& /*arguments*/) {
  const Items items = Elements(runtime, input);
  return items.empty() ? Value::NotFound("there is no first element") : items.front();
}

Value Last(Runtime& runtime, const Value& input, const Arguments& /*arguments*/) {
  const Items items = Elements(runtime, input);
  return items.empty() ? Value::NotFound("there is no last element") : items.back();
}

Value ToList(Runtime& runtime, const Value& input, const Arguments& /*arguments*/) {
  return Value::ListOf(Elements(runtime, input));
}

Value Reverse(Runtime& runtime, const Value& input, const Arguments& /*arguments*/) {
  if (input.is_string()) return Slice(runtime, input, {}, {}, Value::Int(-1));
  Items items = Elements(runtime, input);
  std::reverse(items.begin(), items.end());
  return Value::ListOf(std::move(items));
}

Value Join(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("join", {"d", "attribute"});
  const std::string separator = ToText(bound[0]);
  const Items items = Elements(runtime, input);
  runtime.meter.Reserve(items.size(), separator.size());
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += separator;
    const std::string text =
        ToText(bound[1].is_undefined() ? items[i] : AttributePath(runtime, items[i], bound[1]));
    runtime.meter.Make(text.size());
    out += text;
  }
  return Value::String(std::move(out));
}

Value ItemsFilter(Runtime& runtime, const Value& input, const Arguments& /*arguments*/) {
  if (input.is_undefined()) return runtime.List({});
  if (!input.is_dict()) Throw("items needs a mapping, not {}", input.TypeName());
  Items items;
  for (const auto& [key, value] : input.dict().entries()) {
    items.push_back(runtime.Tuple({key, value}));
  }
  return runtime.List(std::move(items));
}

Value DictSort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("dictsort", {"case_sensitive", "by", "reverse"});
  const std::string by = bound[1].is_undefined() ? "key" : RequireText(bound[1], "dictsort");
  if (by != "key" && by != "value") Throw("dictsort: '{}' is neither key nor value", by);
  Items items = ItemsFilter(runtime, input, {}).items();
  const Key key{.attribute = Value::Int(by == "key" ? 0 : 1),
                .case_sensitive = BoolOr(bound[0], false)};
  SortBy(runtime, key, BoolOr(bound[2], false), &items);
  return runtime.List(std::move(items));
}

Value Sort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("sort", {"reverse", "case_sensitive", "attribute"});
  Items items = Elements(runtime, input);
  const Key key{.attribute = bound[2], .case_sensitive = BoolOr(bound[1], false)};
  SortBy(runtime, key, BoolOr(bound[0], false), &items);
  return Value::ListOf(std::move(items));
}

Value Unique(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("unique", {"case_sensitive", "attribute"});
  const Key key{.attribute = bound[1], .case_sensitive = BoolOr(bound[0], false)};
  Dict seen;
  Items items;
  for (const Value& item : Elements(runtime, input)) {
    const Value its_key = key.Of(runtime, item);
    if (seen.Find(its_key) != nullptr) continue;
    seen.Set(its_key, Value::None());
    items.push_back(item);
  }
  return runtime.List(std::move(items));
}

Value GroupBy(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("groupby", {"attribute", "default", "case_sensitive"});
  const Key key{.attribute = bound[0], .case_sensitive = BoolOr(bound[2], false)};
  Items items = Elements(runtime, input);
  SortBy(runtime, key, false, &items);
  Items groups;
  for (std::size_t begin = 0; begin < items.size();) {
    const Value of_group = key.Of(runtime, items[begin]);
    Items members;
    std::size_t end = begin;
    for (; end < items.size() && Equal(key.Of(runtime, items[end]), of_group); ++end) {
      members.push_back(items[end]);
    }
    // The name as the first member writes it.
    groups.push_back(runtime.Tuple(
        {AttributePath(runtime, items[begin], bound[0]), runtime.List(std::move(members))}));
    begin = end;
  }
  return runtime.List(std::move(groups));
}

template <bool largest>
Value Extreme(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind(largest ? "max" : "min", {"case_sensitive", "attribute"});
  const Key key{.attribute = bound[1], .case_sensitive = BoolOr(bound[0], false)};
  Items items = Elements(runtime, input);
  if (items.empty()) return Value::NotFound("there is no element");
  SortBy(runtime, key, largest, &items);
  return items.front();
}

Value Sum(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("sum", {"attribute", "start"});
  Value total = bound[1].is_undefined() ? Value::Int(0) : bound[1];
  for (const Value& item : Elements(runtime, input)) {
    total = Binary(runtime, "+", total,
                   bound[0].is_undefined() ? item : AttributePath(runtime, item, bound[0]));
  }
  return total;
}

Value Batch(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("batch", {"linecount", "fill_with"});
  const std::int64_t size = RequireInt(bound[0], "batch");
  if (size < 1) Throw("batch: {} elements make no batch", size);
  Items batches;
  Items batch;
  for (const Value& item : Elements(runtime, input)) {
    batch.push_back(item);
    if (batch.size() == static_cast<std::size_t>(size)) {
      batches.push_back(runtime.List(std::exchange(batch, {})));
    }
  }
  if (!batch.empty()) {
    if (!bound[1].is_undefined() && !bound[1].is_none()) {
      runtime.meter.Reserve(static_cast<std::uint64_t>(size), sizeof(Value));
      batch.resize(static_cast<std::size_t>(size), bound[1]);
    }
    batches.push_back(runtime.List(std::move(batch)));
  }
  return runtime.List(std::move(batches));
}

Value Attr(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  return Attribute(input, RequireText(arguments.Bind("attr", {"name"})[0], "attr"));
}

constexpr std::array<NamedFunction, 19> kListFilters = {{{"default", Default},
                                                         {"d", Default},
                                                         {"length", Length},
                                                         {"count", Length},
                                                         {"first", First},
                                                         {"last", Last},
                                                         {"list", ToList},
                                                         {"reverse", Reverse},
                                                         {"join", Join},
                                                         {"items", ItemsFilter},
                                                         {"dictsort", DictSort},
                                                         {"sort", Sort},
                                                         {"unique", Unique},
                                                         {"groupby", GroupBy},
                                                         {"max", Extreme<true>},
                                                         {"min", Extreme<false>},
                                                         {"sum", Sum},
                                                         {"batch", Batch},
                                                         {"attr", Attr}}};

}  // namespace

Function FindListFilter(std::string_view name) { return FindIn(kListFilters, name); }

}  // namespace doppler::jinja
