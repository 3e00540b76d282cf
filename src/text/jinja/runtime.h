// What functions, filters, tests and methods of a template share: the account of one rendering,
// its time, and how arguments arrive.
#pragma once

#include <chrono>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/meter.h"
#include "text/jinja/value.h"

namespace doppler::jinja {

struct Runtime {
  explicit Runtime(const Limits& limits, std::chrono::system_clock::time_point time)
      : meter(limits), now(time) {}
  // Namespaces can hold each other in a circle, which only their owner can open.
  ~Runtime() {
    for (const auto& owned : namespaces) owned->fields = Dict();
  }
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // A value of what was just made, counted.
  Value Text(std::string text);
  Value List(Items items);
  Value Tuple(Items items);
  Value Mapping(Dict dict);

  Meter meter;
  std::chrono::system_clock::time_point now;
  std::vector<std::shared_ptr<Namespace>> namespaces;
};

struct Arguments {
  Items positional;
  std::vector<std::pair<std::string, Value>> named;

  // The values of `parameters`, in their order; undefined where there is none. Throws Error that
  // names `function` for one too many and for an unknown name.
  Items Bind(std::string_view function, std::initializer_list<std::string_view> parameters) const;
};

// Called with what stands before the bar, the dot or the `is`, or with nothing.
using Function = Value (*)(Runtime& runtime, const Value& input, const Arguments& arguments);

// Null for an unknown name.
Function FindFilter(std::string_view name);
Function FindTest(std::string_view name);
Function FindMethod(const Value& receiver, std::string_view name);
Function FindGlobal(std::string_view name);

// The same by name. Throw Error for an unknown one.
Value ApplyFilter(Runtime& runtime, std::string_view name, const Value& input,
                  const Arguments& arguments);
bool ApplyTest(Runtime& runtime, std::string_view name, const Value& input,
               const Arguments& arguments);

// The tables that FindFilter looks through.
Function FindTextFilter(std::string_view name);
Function FindNumberFilter(std::string_view name);
Function FindListFilter(std::string_view name);
Function FindSelectFilter(std::string_view name);

// value.name, value[key] and value[a:b:c] as Jinja does: undefined for what is not there. Throw
// Error for parts of what is undefined itself.
Value Attribute(const Value& value, const std::string& name);
Value Item(Runtime& runtime, const Value& value, const Value& key);
Value Slice(Runtime& runtime, const Value& value, const Value& begin, const Value& end,
            const Value& step);
// A path of attributes: "function.name". Integers are positions.
Value AttributePath(Runtime& runtime, const Value& value, const Value& path);

// The elements that a loop over the value gives: of a list, keys of a mapping, characters.
Items Elements(Runtime& runtime, const Value& value);

Value Negative(const Value& value, std::string_view sign);
Value Binary(Runtime& runtime, std::string_view name, const Value& left, const Value& right);
// Python's operators ==, !=, <, <=, >, >=, in, not in.
bool Compare(Runtime& runtime, std::string_view name, const Value& left, const Value& right);

struct JsonFormat {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string indent = {};  // of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// Python's json.dumps. Throws Error for what is not JSON.
std::string ToJson(const Value& value, const JsonFormat& format);

// Throw Error that says what is wanted for what.
const std::string& RequireText(const Value& value, std::string_view what);
std::int64_t RequireInt(const Value& value, std::string_view what);
// `fallback` for an undefined value.
std::int64_t IntOr(const Value& value, std::int64_t fallback, std::string_view what);
bool BoolOr(const Value& value, bool fallback);

// A table of names and functions.
struct NamedFunction {
  std::string_view name;
  Function function;
};
template <typename Table>
Function FindIn(const Table& table, std::string_view name) {
  for (const NamedFunction& entry : table) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace doppler::jinja
