// The values of a template: Python's, as far as templates use them.
//
// A Value is small and cheap to copy: text, lists and mappings are shared and never change once
// made, so nothing can hold itself and comparing, printing and freeing end. The one thing that
// changes is a namespace; what could hold itself through it is taken apart by the interpreter.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace doppler::jinja {

class Value;
class Dict;
struct List;
struct Namespace;
struct Loop;
struct Callable;
struct NoneType {};
// Remembers what was not found, for messages.
struct Undefined {
  std::shared_ptr<const std::string> name;
};

using Items = std::vector<Value>;

class Value {
 public:
  Value() = default;  // undefined
  static Value NotFound(std::string_view name);
  static Value None() { return Value(NoneType()); }
  static Value Bool(bool value) { return Value(value); }
  static Value Int(std::int64_t value) { return Value(value); }
  static Value Float(double value) { return Value(value); }
  static Value String(std::string text);
  // Throw Error for lists that are in each other too deeply.
  static Value ListOf(Items items);
  static Value TupleOf(Items items);
  static Value ListOf(std::shared_ptr<const List> list);
  static Value DictOf(Dict dict);
  static Value Of(std::shared_ptr<Namespace> value) { return Value(std::move(value)); }
  static Value Of(std::shared_ptr<const Loop> value) { return Value(std::move(value)); }
  static Value Of(std::shared_ptr<const Callable> value) { return Value(std::move(value)); }

  bool is_undefined() const { return Holds<Undefined>(); }
  bool is_none() const { return Holds<NoneType>(); }
  bool is_bool() const { return Holds<bool>(); }
  bool is_int() const { return Holds<std::int64_t>(); }
  bool is_float() const { return Holds<double>(); }
  bool is_string() const { return Holds<std::shared_ptr<const std::string>>(); }
  bool is_list() const { return Holds<std::shared_ptr<const List>>(); }
  bool is_dict() const { return Holds<std::shared_ptr<const Dict>>(); }
  bool is_callable() const { return Holds<std::shared_ptr<const Callable>>(); }
  // A number as Python sees it: True is 1.
  bool is_number() const { return is_int() || is_float() || is_bool(); }

  // REQUIRES: the kind that is asked for.
  bool boolean() const { return std::get<bool>(data_); }
  std::int64_t integer() const;  // of a bool too
  double number() const;         // of any number
  const std::string& text() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(data_); }
  const Items& items() const;
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  const Callable& callable() const { return *std::get<std::shared_ptr<const Callable>>(data_); }
  // Null for another kind.
  Namespace* AsNamespace() const;
  const Loop* AsLoop() const;
  // "'message' is undefined". REQUIRES: is_undefined().
  std::string UndefinedMessage() const;

  bool Truthy() const;
  // Python's name of the type.
  std::string_view TypeName() const;
  // How many lists, mappings and bound values are inside each other here.
  int depth() const;

 private:
  using Data = std::variant<Undefined, NoneType, bool, std::int64_t, double,
                            std::shared_ptr<const std::string>, std::shared_ptr<const List>,
                            std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
                            std::shared_ptr<const Loop>, std::shared_ptr<const Callable>>;

  template <typename T>
  explicit Value(T data) : data_(std::move(data)) {}
  template <typename T>
  bool Holds() const {
    return std::holds_alternative<T>(data_);
  }

  Data data_;
};

struct List {
  Items items;
  bool tuple = false;
  int depth = 1;
};

// A mapping in order of insertion. Keys are text, numbers or None.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  // Replaces what stands under an equal key. Throws Error for a key that cannot be one.
  void Set(Value key, Value value);
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
  const std::vector<Entry>& entries() const { return entries_; }
  int depth() const { return depth_; }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> index_;  // of entries_, by HashKey
  int depth_ = 1;
};

struct Namespace {
  Dict fields;
};

// The `loop` of a for block, at one of its rounds.
struct Loop {
  Value items;             // a list
  std::size_t index0 = 0;  // of the round
  int nesting = 1;         // 1 for a loop that is in no other, of recursive loops
  Value recurse;           // a callable, of recursive loops
};

struct Statement;
class Scope;

struct Callable {
  enum class Kind : std::uint8_t { kGlobal, kMethod, kMacro, kLoop };
  Kind kind = Kind::kGlobal;
  std::string name;
  Value receiver;                     // of a method
  const Statement* source = nullptr;  // of a macro, a call block or a recursive loop
  std::shared_ptr<Scope> scope;       // where that was defined
  int nesting = 0;                    // of a recursive loop
};

// Python's ==. Never throws; different kinds are different.
bool Equal(const Value& left, const Value& right);
// Python's <. Throws Error for kinds that have no order.
bool Less(const Value& left, const Value& right);
// Python's str() and repr(). Throw Error for what templates do not print: namespaces, functions.
std::string ToText(const Value& value);
std::string Repr(const Value& value);

}  // namespace doppler::jinja
