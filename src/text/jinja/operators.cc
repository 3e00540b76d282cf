// Python's operators.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "text/jinja/runtime.h"

namespace doppler::jinja {
namespace {

[[noreturn]] void FailKinds(std::string_view name, const Value& left, const Value& right) {
  for (const Value* const side : {&left, &right}) {
    if (side->is_undefined()) Throw("{}", side->UndefinedMessage());
  }
  Throw("'{}' is not possible between {} and {}", name, left.TypeName(), right.TypeName());
}

std::int64_t Checked(bool overflow, std::int64_t value) {
  if (overflow) Throw("a number gets too large");
  return value;
}

std::int64_t FloorDivide(std::int64_t left, std::int64_t right) {
  if (left == std::numeric_limits<std::int64_t>::min() && right == -1) return Checked(true, 0);
  const std::int64_t quotient = left / right;
  return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
}

std::int64_t Power(std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  // Squares until nothing of the exponent is left: at most 63 rounds.
  while (exponent > 0) {
    bool overflow = false;
    if ((exponent & 1) != 0) {
      overflow = __builtin_mul_overflow(result, base, &result);
    }
    exponent >>= 1;
    if (exponent > 0) overflow = __builtin_mul_overflow(base, base, &base) || overflow;
    Checked(overflow, 0);
  }
  return result;
}

Value WholeArithmetic(std::string_view name, std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  if (name == "+") {
    const bool overflow = __builtin_add_overflow(left, right, &result);
    return Value::Int(Checked(overflow, result));
  }
  if (name == "-") {
    const bool overflow = __builtin_sub_overflow(left, right, &result);
    return Value::Int(Checked(overflow, result));
  }
  if (name == "*") {
    const bool overflow = __builtin_mul_overflow(left, right, &result);
    return Value::Int(Checked(overflow, result));
  }
  if (name == "**" && right >= 0) return Value::Int(Power(left, right));
  if (name == "**") {
    return Value::Float(std::pow(static_cast<double>(left), static_cast<double>(right)));
  }
  if (right == 0) Throw("a number is divided by 0");
  if (name == "/") return Value::Float(static_cast<double>(left) / static_cast<double>(right));
  const std::int64_t quotient = FloorDivide(left, right);
  return Value::Int(name == "//" ? quotient : left - quotient * right);
}

Value FloatArithmetic(std::string_view name, double left, double right) {
  if (name == "+") return Value::Float(left + right);
  if (name == "-") return Value::Float(left - right);
  if (name == "*") return Value::Float(left * right);
  if (name == "**") return Value::Float(std::pow(left, right));
  if (right == 0) Throw("a number is divided by 0");
  if (name == "/") return Value::Float(left / right);
  const double quotient = std::floor(left / right);
  if (name == "//") return Value::Float(quotient);
  const double rest = std::fmod(left, right);
  return Value::Float(rest != 0 && (rest < 0) != (right < 0) ? rest + right : rest);
}

Value Repeat(Runtime& runtime, const Value& value, std::int64_t count) {
  const auto times = static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
  if (value.is_string()) {
    runtime.meter.Reserve(times, value.text().size());
    std::string out;
    if (!value.text().empty()) {
      for (std::uint64_t i = 0; i < times; ++i) out += value.text();
    }
    return Value::String(std::move(out));
  }
  runtime.meter.Reserve(times, value.items().size() * sizeof(Value));
  Items items;
  if (!value.items().empty()) {
    for (std::uint64_t i = 0; i < times; ++i) {
      items.insert(items.end(), value.items().begin(), value.items().end());
    }
  }
  return value.list().tuple ? Value::TupleOf(std::move(items)) : Value::ListOf(std::move(items));
}

Value JoinLists(Runtime& runtime, const Value& left, const Value& right) {
  Items items = left.items();
  items.insert(items.end(), right.items().begin(), right.items().end());
  return left.list().tuple ? runtime.Tuple(std::move(items)) : runtime.List(std::move(items));
}

bool Contains(Runtime& runtime, const Value& whole, const Value& part) {
  if (whole.is_string()) {
    runtime.meter.Make(whole.text().size());
    return whole.text().find(RequireText(part, "'in' a text")) != std::string::npos;
  }
  if (whole.is_list()) {
    runtime.meter.Step(whole.items().size());
    return std::any_of(whole.items().begin(), whole.items().end(),
                       [&part](const Value& item) { return Equal(item, part); });
  }
  if (whole.is_dict()) return whole.dict().Find(part) != nullptr;
  if (whole.is_undefined()) return false;
  Throw("'in' is not possible for a {}", whole.TypeName());
}

}  // namespace

Value Negative(const Value& value, std::string_view sign) {
  if (value.is_undefined()) Throw("{}", value.UndefinedMessage());
  if (!value.is_number()) Throw("'{}' is not possible before a {}", sign, value.TypeName());
  if (value.is_float()) return Value::Float(sign == "-" ? -value.number() : value.number());
  if (sign == "+") return Value::Int(value.integer());
  return WholeArithmetic("-", 0, value.integer());
}

Value Binary(Runtime& runtime, std::string_view name, const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) {
    if (left.is_float() || right.is_float()) {
      return FloatArithmetic(name, left.number(), right.number());
    }
    return WholeArithmetic(name, left.integer(), right.integer());
  }
  if (name == "+" && left.is_string() && right.is_string()) {
    return runtime.Text(left.text() + right.text());
  }
  if (name == "+" && left.is_list() && right.is_list() && left.list().tuple == right.list().tuple) {
    return JoinLists(runtime, left, right);
  }
  const auto repeats = [](const Value& value, const Value& count) {
    return (value.is_string() || value.is_list()) && (count.is_int() || count.is_bool());
  };
  if (name == "*" && repeats(left, right)) return Repeat(runtime, left, right.integer());
  if (name == "*" && repeats(right, left)) return Repeat(runtime, right, left.integer());
  FailKinds(name, left, right);
}

bool Compare(Runtime& runtime, std::string_view name, const Value& left, const Value& right) {
  runtime.meter.Step();
  if (name == "==") return Equal(left, right);
  if (name == "!=") return !Equal(left, right);
  if (name == "<") return Less(left, right);
  if (name == ">") return Less(right, left);
  // Not the negation of the other order: neither holds for NaN.
  if (name == "<=") return Less(left, right) || Equal(left, right);
  if (name == ">=") return Less(right, left) || Equal(left, right);
  return Contains(runtime, right, left) == (name == "in");
}

}  // namespace doppler::jinja
