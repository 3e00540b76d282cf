// The tests that stand after `is`.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace doppler::jinja {
namespace {

using Kind = bool (*)(const Value&);

// A test that asks only what a value is.
template <Kind kind>
Value Is(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  arguments.Bind("a test", {});
  return Value::Bool(kind(input));
}

bool Defined(const Value& value) { return !value.is_undefined(); }
bool NotDefined(const Value& value) { return value.is_undefined(); }
bool IsNone(const Value& value) { return value.is_none(); }
bool IsBool(const Value& value) { return value.is_bool(); }
bool IsTrue(const Value& value) { return value.is_bool() && value.boolean(); }
bool IsFalse(const Value& value) { return value.is_bool() && !value.boolean(); }
bool IsInteger(const Value& value) { return value.is_int(); }
bool IsFloat(const Value& value) { return value.is_float(); }
bool IsNumber(const Value& value) { return value.is_number(); }
bool IsString(const Value& value) { return value.is_string(); }
bool IsMapping(const Value& value) { return value.is_dict(); }
bool IsCallable(const Value& value) { return value.is_callable(); }
bool IsSequence(const Value& value) {
  return value.is_list() || value.is_dict() || value.is_string() || value.is_undefined();
}
bool IsIterable(const Value& value) { return IsSequence(value) || value.AsLoop() != nullptr; }
bool IsOdd(const Value& value) { return RequireInt(value, "odd") % 2 != 0; }
bool IsEven(const Value& value) { return RequireInt(value, "even") % 2 == 0; }
bool IsLowerText(const Value& value) { return IsLower(ToText(value)); }
bool IsUpperText(const Value& value) { return IsUpper(ToText(value)); }

constexpr char kEqual[] = "==";
constexpr char kNotEqual[] = "!=";
constexpr char kLess[] = "<";
constexpr char kLessEqual[] = "<=";
constexpr char kGreater[] = ">";
constexpr char kGreaterEqual[] = ">=";
constexpr char kIn[] = "in";

template <const char* name>
Value CompareTest(Runtime& runtime, const Value& input, const Arguments& arguments) {
  return Value::Bool(Compare(runtime, name, input, arguments.Bind(name, {"other"})[0]));
}

Value DivisibleBy(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  const Items bound = arguments.Bind("divisibleby", {"num"});
  const std::int64_t divisor = RequireInt(bound[0], "divisibleby");
  if (divisor == 0) Throw("divisibleby: a number is divided by 0");
  return Value::Bool(divisor == -1 || RequireInt(input, "divisibleby") % divisor == 0);
}

Value SameAs(Runtime& /*runtime*/, const Value& input, const Arguments& arguments) {
  const Value other = arguments.Bind("sameas", {"other"})[0];
  return Value::Bool(input.TypeName() == other.TypeName() && Equal(input, other));
}

Value IsFilter(Runtime& /*runtime*/, const Value& input, const Arguments& /*arguments*/) {
  return Value::Bool(FindFilter(RequireText(input, "the test 'filter'")) != nullptr);
}

Value IsTest(Runtime& /*runtime*/, const Value& input, const Arguments& /*arguments*/) {
  return Value::Bool(FindTest(RequireText(input, "the test 'test'")) != nullptr);
}

constexpr std::array<NamedFunction, 38> kTests = {{
    {"defined", Is<Defined>},
    {"undefined", Is<NotDefined>},
    {"none", Is<IsNone>},
    {"boolean", Is<IsBool>},
    {"true", Is<IsTrue>},
    {"false", Is<IsFalse>},
    {"integer", Is<IsInteger>},
    {"float", Is<IsFloat>},
    {"number", Is<IsNumber>},
    {"string", Is<IsString>},
    {"mapping", Is<IsMapping>},
    {"sequence", Is<IsSequence>},
    {"iterable", Is<IsIterable>},
    {"callable", Is<IsCallable>},
    {"odd", Is<IsOdd>},
    {"even", Is<IsEven>},
    {"lower", Is<IsLowerText>},
    {"upper", Is<IsUpperText>},
    {"divisibleby", DivisibleBy},
    {"sameas", SameAs},
    {"filter", IsFilter},
    {"test", IsTest},
    {"in", CompareTest<kIn>},
    {"==", CompareTest<kEqual>},
    {"eq", CompareTest<kEqual>},
    {"equalto", CompareTest<kEqual>},
    {"!=", CompareTest<kNotEqual>},
    {"ne", CompareTest<kNotEqual>},
    {"<", CompareTest<kLess>},
    {"lt", CompareTest<kLess>},
    {"lessthan", CompareTest<kLess>},
    {"<=", CompareTest<kLessEqual>},
    {"le", CompareTest<kLessEqual>},
    {">", CompareTest<kGreater>},
    {"gt", CompareTest<kGreater>},
    {"greaterthan", CompareTest<kGreater>},
    {">=", CompareTest<kGreaterEqual>},
    {"ge", CompareTest<kGreaterEqual>},
}};

}  // namespace

Function FindTest(std::string_view name) { return FindIn(kTests, name); }

}  // namespace doppler::jinja
