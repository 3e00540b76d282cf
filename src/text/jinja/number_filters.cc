// Filters over numbers, and from text to numbers.
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace doppler::jinja {
namespace {

Value FromDouble(double value) {
  constexpr double kLimit = 9.2e18;
  if (!(std::fabs(value) < kLimit)) Throw("a number is too large for a whole number");
  return Value::Int(static_cast<std::int64_t>(value));
}

std::optional<double> ParseFloat(std::string_view text) {
  text = Strip(text, true, true);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Value ToInt(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("int", {"default", "base"});
  Value fallback = bound[0].is_undefined() ? Value::Int(0) : bound[0];
  const std::int64_t base = IntOr(bound[1], 10, "int");
  if (base < 2 || base > 36) Throw("int: the base {} is not between 2 and 36", base);
  if (input.is_float())
    return std::isfinite(input.number()) ? FromDouble(input.number()) : fallback;
  if (input.is_number()) return Value::Int(input.integer());
  if (!input.is_string()) return fallback;
  std::string_view text = Strip(input.text(), true, true);
  if (text.starts_with('+')) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, status] =
      std::from_chars(text.data(), text.data() + text.size(), value, static_cast<int>(base));
  if (status == std::errc() && end == text.data() + text.size()) return Value::Int(value);
  const auto as_float = ParseFloat(text);
  return as_float && std::isfinite(*as_float) ? FromDouble(*as_float) : fallback;
}

Value ToFloat(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  const Value given = arguments.Bind("float", {"default"})[0];
  Value fallback = given.is_undefined() ? Value::Float(0) : given;
  if (input.is_number()) return Value::Float(input.number());
  if (!input.is_string()) return fallback;
  const auto value = ParseFloat(input.text());
  return value ? Value::Float(*value) : fallback;
}

Value Abs(Runtime& /*runtime*/, const Value& input, const Arguments& /*arguments*/) {
  if (!input.is_number()) Throw("abs needs a number, not {}", input.TypeName());
  if (input.is_float()) return Value::Float(std::fabs(input.number()));
  return input.integer() < 0 ? Negative(input, "-") : Value::Int(input.integer());
}

Value Round(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("round", {"precision", "method"});
  const std::int64_t precision = IntOr(bound[0], 0, "round");
  const std::string method = bound[1].is_undefined() ? "common" : RequireText(bound[1], "round");
  if (method != "common" && method != "ceil" && method != "floor") {
    Throw("round: the method '{}' is none of common, ceil, floor", method);
  }
  constexpr std::int64_t kMost = 300;
  if (precision < -kMost || precision > kMost) Throw("round: {} digits are too many", precision);
  if (!input.is_number()) Throw("round needs a number, not {}", input.TypeName());
  const double value = input.number();
  if (!std::isfinite(value)) return Value::Float(value);
  const double factor = std::pow(10.0, static_cast<double>(precision));
  // A whole number stays one, as in Python's round().
  const auto result = [&input](double rounded) {
    return input.is_float() ? Value::Float(rounded) : FromDouble(rounded);
  };
  if (method == "ceil") return Value::Float(std::ceil(value * factor) / factor);
  if (method == "floor") return Value::Float(std::floor(value * factor) / factor);
  if (precision < 0) return result(std::nearbyint(value * factor) / factor);
  if (!input.is_float()) return Value::Int(input.integer());
  return Value::Float(
      ParseFloat(fmt::format("{:.{}f}", value, static_cast<int>(precision))).value_or(value));
}

constexpr std::array<NamedFunction, 4> kNumberFilters = {
    {{"int", ToInt}, {"float", ToFloat}, {"abs", Abs}, {"round", Round}}};

}  // namespace

Function FindNumberFilter(std::string_view name) { return FindIn(kNumberFilters, name); }

}  // namespace doppler::jinja
