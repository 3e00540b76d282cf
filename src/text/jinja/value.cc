#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/jinja/meter.h"
#include "text/jinja/python_text.h"

namespace doppler::jinja {
namespace {

int DepthOver(int deepest) {
  if (deepest >= Limits::kDepth) {
    Throw("lists and mappings are inside each other more than {} deep", Limits::kDepth);
  }
  return deepest + 1;
}

Value MakeList(Items items, bool tuple) {
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth());
  const int depth = DepthOver(deepest);
  return Value::ListOf(std::make_shared<const List>(
      List{.items = std::move(items), .tuple = tuple, .depth = depth}));
}

// One text for all keys that Python takes for the same: 1, 1.0 and True.
std::string HashKey(const Value& key) {
  if (key.is_string()) return "s" + key.text();
  if (key.is_none()) return "n";
  if (key.is_float() && key.number() != std::floor(key.number())) {
    return "f" + FloatText(key.number());
  }
  if (key.is_float()) return "i" + std::to_string(static_cast<long long>(key.number()));
  if (key.is_number()) return "i" + std::to_string(key.integer());
  Throw("a mapping cannot have a key of type {}", key.TypeName());
}

bool EqualItems(const Items& left, const Items& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), Equal);
}

bool EqualDicts(const Dict& left, const Dict& right) {
  if (left.entries().size() != right.entries().size()) return false;
  return std::all_of(left.entries().begin(), left.entries().end(), [&right](const auto& entry) {
    const Value* const other = right.Find(entry.first);
    return other != nullptr && Equal(entry.second, *other);
  });
}

bool EqualNumbers(const Value& left, const Value& right) {
  if (left.is_float() || right.is_float()) return left.number() == right.number();
  return left.integer() == right.integer();
}

bool LessItems(const Items& left, const Items& right) {
  for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    if (!Equal(left[i], right[i])) return Less(left[i], right[i]);
  }
  return left.size() < right.size();
}

std::string ReprList(const List& list) {
  std::string out(1, list.tuple ? '(' : '[');
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out += ", ";
    out += Repr(list.items[i]);
  }
  if (list.tuple && list.items.size() == 1) out += ',';
  return out + (list.tuple ? ')' : ']');
}

std::string ReprDict(const Dict& dict) {
  std::string out = "{";
  for (const auto& [key, value] : dict.entries()) {
    if (out.size() > 1) out += ", ";
    out += Repr(key) + ": " + Repr(value);
  }
  return out + "}";
}

}  // namespace

Value Value::NotFound(std::string_view name) {
  return Value(Undefined{std::make_shared<const std::string>(name)});
}

Value Value::String(std::string text) {
  return Value(std::make_shared<const std::string>(std::move(text)));
}

Value Value::ListOf(Items items) { return MakeList(std::move(items), false); }
Value Value::TupleOf(Items items) { return MakeList(std::move(items), true); }
Value Value::ListOf(std::shared_ptr<const List> list) { return Value(std::move(list)); }
Value Value::DictOf(Dict dict) { return Value(std::make_shared<const Dict>(std::move(dict))); }

std::int64_t Value::integer() const {
  return is_bool() ? std::int64_t{boolean()} : std::get<std::int64_t>(data_);
}

double Value::number() const {
  return is_float() ? std::get<double>(data_) : static_cast<double>(integer());
}

const Items& Value::items() const { return list().items; }

Namespace* Value::AsNamespace() const {
  const auto* const held = std::get_if<std::shared_ptr<Namespace>>(&data_);
  return held == nullptr ? nullptr : held->get();
}

const Loop* Value::AsLoop() const {
  const auto* const held = std::get_if<std::shared_ptr<const Loop>>(&data_);
  return held == nullptr ? nullptr : held->get();
}

std::string Value::UndefinedMessage() const {
  const auto& name = std::get<Undefined>(data_).name;
  return name == nullptr ? "a value is undefined" : *name;
}

bool Value::Truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return number() != 0;
  if (is_string()) return !text().empty();
  if (is_list()) return !items().empty();
  if (is_dict()) return !dict().entries().empty();
  return true;
}

std::string_view Value::TypeName() const {
  if (is_undefined()) return "undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_string()) return "str";
  if (is_list()) return list().tuple ? "tuple" : "list";
  if (is_dict()) return "dict";
  if (AsNamespace() != nullptr) return "namespace";
  return AsLoop() != nullptr ? "loop" : "function";
}

int Value::depth() const {
  if (is_list()) return list().depth;
  if (is_dict()) return dict().depth();
  if (const Loop* const loop = AsLoop()) return DepthOver(loop->items.depth());
  if (is_callable()) return DepthOver(callable().receiver.depth());
  return 0;
}

void Dict::Set(Value key, Value value) {
  depth_ = std::max(depth_, DepthOver(value.depth()));
  const auto [place, added] = index_.emplace(HashKey(key), entries_.size());
  if (added) {
    entries_.emplace_back(std::move(key), std::move(value));
  } else {
    entries_[place->second].second = std::move(value);
  }
}

const Value* Dict::Find(const Value& key) const {
  const auto found = index_.find(HashKey(key));
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

const Value* Dict::Find(std::string_view key) const {
  const auto found = index_.find("s" + std::string(key));
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

bool Equal(const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) return EqualNumbers(left, right);
  if (left.is_string() && right.is_string()) return left.text() == right.text();
  if (left.is_list() && right.is_list()) {
    return left.list().tuple == right.list().tuple && EqualItems(left.items(), right.items());
  }
  if (left.is_dict() && right.is_dict()) return EqualDicts(left.dict(), right.dict());
  if (left.is_none() || left.is_undefined()) return left.TypeName() == right.TypeName();
  if (left.AsNamespace() != nullptr) return left.AsNamespace() == right.AsNamespace();
  if (left.AsLoop() != nullptr) return left.AsLoop() == right.AsLoop();
  return left.is_callable() && right.is_callable() && &left.callable() == &right.callable();
}

bool Less(const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) {
    if (left.is_float() || right.is_float()) return left.number() < right.number();
    return left.integer() < right.integer();
  }
  // The order of UTF-8's bytes is that of code points.
  if (left.is_string() && right.is_string()) return left.text() < right.text();
  if (left.is_list() && right.is_list() && left.list().tuple == right.list().tuple) {
    return LessItems(left.items(), right.items());
  }
  for (const Value* const side : {&left, &right}) {
    if (side->is_undefined()) Throw("{}", side->UndefinedMessage());
  }
  Throw("{} and {} cannot be put in order", left.TypeName(), right.TypeName());
}

std::string ToText(const Value& value) {
  if (value.is_undefined()) return {};
  return value.is_string() ? value.text() : Repr(value);
}

std::string Repr(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (value.is_bool()) return value.boolean() ? "True" : "False";
  if (value.is_int()) return std::to_string(value.integer());
  if (value.is_float()) return FloatText(value.number());
  if (value.is_string()) return QuotedText(value.text());
  if (value.is_list()) return ReprList(value.list());
  if (value.is_dict()) return ReprDict(value.dict());
  Throw("a {} cannot be printed", value.TypeName());
}

}  // namespace doppler::jinja
