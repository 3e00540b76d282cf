// Attributes, items and slices.
#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace doppler::jinja {
namespace {

Value LoopField(const Loop& loop, const std::string& name) {
  const Items& items = loop.items.items();
  const auto index = static_cast<std::int64_t>(loop.index0);
  const auto size = static_cast<std::int64_t>(items.size());
  if (name == "index") return Value::Int(index + 1);
  if (name == "index0") return Value::Int(index);
  if (name == "revindex") return Value::Int(size - index);
  if (name == "revindex0") return Value::Int(size - index - 1);
  if (name == "first") return Value::Bool(index == 0);
  if (name == "last") return Value::Bool(index + 1 == size);
  if (name == "length") return Value::Int(size);
  if (name == "depth") return Value::Int(loop.nesting);
  if (name == "depth0") return Value::Int(loop.nesting - 1);
  if (name == "previtem") {
    return index > 0 ? items[loop.index0 - 1] : Value::NotFound("there is no previous item");
  }
  if (name == "nextitem") {
    return index + 1 < size ? items[loop.index0 + 1] : Value::NotFound("there is no next item");
  }
  return {};
}

// Undefined if there is none.
Value OwnField(const Value& value, const std::string& name) {
  const Value* found = nullptr;
  if (value.is_dict()) found = value.dict().Find(name);
  if (const Namespace* const space = value.AsNamespace()) found = space->fields.Find(name);
  if (found != nullptr) return *found;
  if (const Loop* const loop = value.AsLoop()) return LoopField(*loop, name);
  return {};
}

Value Method(const Value& value, const std::string& name) {
  if (FindMethod(value, name) == nullptr) return {};
  Callable method{.kind = Callable::Kind::kMethod,
                  .name = name,
                  .receiver = value,
                  .source = nullptr,
                  .scope = nullptr,
                  .nesting = 0};
  return Value::Of(std::make_shared<const Callable>(std::move(method)));
}

Value NoAttribute(const Value& value, std::string_view name) {
  return Value::NotFound(fmt::format("a {} has no '{}'", value.TypeName(), name));
}

std::optional<std::size_t> Position(std::int64_t index, std::size_t size) {
  if (index < 0) index += static_cast<std::int64_t>(size);
  if (index < 0 || index >= static_cast<std::int64_t>(size)) return std::nullopt;
  return static_cast<std::size_t>(index);
}

// The positions that a slice of something of `size` takes, as Python's slice.indices gives them.
std::vector<std::size_t> SlicePositions(std::int64_t size, const Value& begin, const Value& end,
                                        std::int64_t step) {
  const std::int64_t lowest = step < 0 ? -1 : 0;
  const std::int64_t highest = step < 0 ? size - 1 : size;
  const auto clamp = [&](const Value& bound, std::int64_t fallback) {
    std::int64_t at = IntOr(bound, fallback, "a slice");
    if (bound.is_undefined() || bound.is_none()) return at;
    if (at < 0) at = std::max(at, -size - 1) + size;
    return std::clamp(at, lowest, highest);
  };
  std::vector<std::size_t> positions;
  const std::int64_t first = clamp(begin, step < 0 ? highest : lowest);
  const std::int64_t last = clamp(end, step < 0 ? lowest : highest);
  // A step beyond the size takes one element, whatever its value; so nothing can overflow.
  const std::int64_t stride = std::clamp(step, -size - 1, size + 1);
  for (std::int64_t at = first; step < 0 ? at > last : at < last; at += stride) {
    positions.push_back(static_cast<std::size_t>(at));
  }
  return positions;
}

}  // namespace

Value Attribute(const Value& value, const std::string& name) {
  if (value.is_undefined()) Throw("{}", value.UndefinedMessage());
  // As in Python a method hides a key of its name; message['items'] gives the key.
  if (Value method = Method(value, name); !method.is_undefined()) return method;
  if (Value field = OwnField(value, name); !field.is_undefined()) return field;
  return NoAttribute(value, name);
}

Value Item(Runtime& runtime, const Value& value, const Value& key) {
  if (value.is_undefined()) Throw("{}", value.UndefinedMessage());
  if (key.is_string()) {
    if (Value field = OwnField(value, key.text()); !field.is_undefined()) return field;
    if (Value method = Method(value, key.text()); !method.is_undefined()) return method;
    return NoAttribute(value, key.text());
  }
  if (value.is_list() && (key.is_int() || key.is_bool())) {
    const auto at = Position(key.integer(), value.items().size());
    if (at) return value.items()[*at];
  } else if (value.is_string() && (key.is_int() || key.is_bool())) {
    runtime.meter.Make(value.text().size());
    const std::vector<std::string_view> characters = Characters(value.text());
    const auto at = Position(key.integer(), characters.size());
    if (at) return runtime.Text(std::string(characters[*at]));
  } else if (value.is_dict() && (key.is_number() || key.is_none())) {
    if (const Value* const found = value.dict().Find(key)) return *found;
  }
  return Value::NotFound(fmt::format("a {} has no such element", value.TypeName()));
}

Value Slice(Runtime& runtime, const Value& value, const Value& begin, const Value& end,
            const Value& step_value) {
  const std::int64_t step = IntOr(step_value, 1, "a slice");
  if (step == 0) Throw("the step of a slice is 0");
  if (value.is_undefined()) Throw("{}", value.UndefinedMessage());
  if (value.is_string()) {
    runtime.meter.Reserve(value.text().size(), sizeof(std::string_view));
    const std::vector<std::string_view> characters = Characters(value.text());
    std::string out;
    for (const std::size_t at :
         SlicePositions(static_cast<std::int64_t>(characters.size()), begin, end, step)) {
      out += characters[at];
    }
    return runtime.Text(std::move(out));
  }
  if (!value.is_list()) Throw("a {} cannot be sliced", value.TypeName());
  Items items;
  const auto size = static_cast<std::int64_t>(value.items().size());
  for (const std::size_t at : SlicePositions(size, begin, end, step)) {
    items.push_back(value.items()[at]);
  }
  return value.list().tuple ? runtime.Tuple(std::move(items)) : runtime.List(std::move(items));
}

Value AttributePath(Runtime& runtime, const Value& value, const Value& path) {
  if (path.is_int()) return Item(runtime, value, path);
  Value at = value;
  for (const std::string& part : SplitAt(RequireText(path, "attribute"), ".", -1, false)) {
    std::int64_t index = 0;
    const auto [end, status] = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool number = status == std::errc() && end == part.data() + part.size();
    at = Item(runtime, at, number ? Value::Int(index) : Value::String(part));
  }
  return at;
}

}  // namespace doppler::jinja
