#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "text/jinja/interpreter.h"

namespace doppler::jinja {

Value Interpreter::Evaluate(const Expression& expression, const ScopePtr& scope) {
  const Meter::Level level(runtime_.meter);
  runtime_.meter.Step();
  line_ = expression.line;
  const auto part = [&](std::size_t index) { return Evaluate(*expression.parts[index], scope); };
  switch (expression.kind) {
    case ExpressionKind::kConstant:
      return expression.value;
    case ExpressionKind::kName:
      return EvaluateName(expression, scope);
    case ExpressionKind::kList:
      return runtime_.List(EvaluateParts(expression, scope));
    case ExpressionKind::kTuple:
      return runtime_.Tuple(EvaluateParts(expression, scope));
    case ExpressionKind::kDict:
      return EvaluateDict(expression, scope);
    case ExpressionKind::kAttribute:
      return Attribute(part(0), expression.name);
    case ExpressionKind::kItem: {
      const Value whole = part(0);
      return Item(runtime_, whole, part(1));
    }
    case ExpressionKind::kSlice:
      return EvaluateSlice(expression, scope);
    case ExpressionKind::kCall:
      return EvaluateCall(expression, nullptr, scope);
    case ExpressionKind::kFilter:
      return EvaluateFilter(expression, nullptr, scope);
    case ExpressionKind::kTest: {
      const Value value = part(0);
      const Arguments arguments = EvaluateArguments(expression, scope);
      line_ = expression.line;
      return Value::Bool(ApplyTest(runtime_, expression.name, value, arguments));
    }
    case ExpressionKind::kUnary:
      return EvaluateUnary(expression, scope);
    case ExpressionKind::kBinary: {
      const Value left = part(0);
      const Value right = part(1);
      line_ = expression.line;
      return Binary(runtime_, expression.name, left, right);
    }
    case ExpressionKind::kAnd: {
      Value left = part(0);
      return left.Truthy() ? part(1) : left;
    }
    case ExpressionKind::kOr: {
      Value left = part(0);
      return left.Truthy() ? left : part(1);
    }
    case ExpressionKind::kCompare:
      return EvaluateCompare(expression, scope);
    case ExpressionKind::kConcat:
      return EvaluateConcat(expression, scope);
    case ExpressionKind::kCondition:
      return EvaluateCondition(expression, scope);
  }
  return {};
}

Value Interpreter::EvaluateName(const Expression& expression, const ScopePtr& scope) {
  if (const Value* const found = scope->Find(expression.name)) return *found;
  if (FindGlobal(expression.name) != nullptr) {
    return Value::Of(std::make_shared<const Callable>(Callable{.kind = Callable::Kind::kGlobal,
                                                               .name = expression.name,
                                                               .receiver = {},
                                                               .source = nullptr,
                                                               .scope = nullptr,
                                                               .nesting = 0}));
  }
  return Value::NotFound(fmt::format("'{}' is undefined", expression.name));
}

Items Interpreter::EvaluateParts(const Expression& expression, const ScopePtr& scope) {
  Items items;
  items.reserve(expression.parts.size());
  for (const ExpressionPtr& part : expression.parts) items.push_back(Evaluate(*part, scope));
  return items;
}

Value Interpreter::EvaluateDict(const Expression& expression, const ScopePtr& scope) {
  Dict dict;
  for (std::size_t i = 0; i < expression.parts.size(); i += 2) {
    Value key = Evaluate(*expression.parts[i], scope);
    dict.Set(std::move(key), Evaluate(*expression.parts[i + 1], scope));
  }
  return runtime_.Mapping(std::move(dict));
}

Value Interpreter::EvaluateOptional(const ExpressionPtr& expression, const ScopePtr& scope) {
  return expression == nullptr ? Value() : Evaluate(*expression, scope);
}

Value Interpreter::EvaluateSlice(const Expression& expression, const ScopePtr& scope) {
  const Value whole = Evaluate(*expression.parts[0], scope);
  const Value begin = EvaluateOptional(expression.parts[1], scope);
  const Value end = EvaluateOptional(expression.parts[2], scope);
  const Value step = EvaluateOptional(expression.parts[3], scope);
  line_ = expression.line;
  return Slice(runtime_, whole, begin, end, step);
}

Value Interpreter::EvaluateUnary(const Expression& expression, const ScopePtr& scope) {
  const Value value = Evaluate(*expression.parts[0], scope);
  if (expression.name == "not") return Value::Bool(!value.Truthy());
  return Negative(value, expression.name);
}

// a < b < c means that both hold; what is not needed is not evaluated.
Value Interpreter::EvaluateCompare(const Expression& expression, const ScopePtr& scope) {
  Value left = Evaluate(*expression.parts[0], scope);
  for (std::size_t i = 0; i < expression.names.size(); ++i) {
    Value right = Evaluate(*expression.parts[i + 1], scope);
    line_ = expression.line;
    if (!Compare(runtime_, expression.names[i], left, right)) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Value Interpreter::EvaluateConcat(const Expression& expression, const ScopePtr& scope) {
  std::string text;
  for (const ExpressionPtr& part : expression.parts) {
    const std::string next = ToText(Evaluate(*part, scope));
    runtime_.meter.Make(next.size());
    text += next;
  }
  return runtime_.Text(std::move(text));
}

Value Interpreter::EvaluateCondition(const Expression& expression, const ScopePtr& scope) {
  if (Evaluate(*expression.parts[1], scope).Truthy()) return Evaluate(*expression.parts[0], scope);
  if (expression.parts[2] != nullptr) return Evaluate(*expression.parts[2], scope);
  return Value::NotFound("a condition without 'else' does not hold");
}

Value Interpreter::EvaluateFilter(const Expression& expression, const Value* head,
                                  const ScopePtr& scope) {
  const ExpressionPtr& before = expression.parts[0];
  const Value input = before == nullptr ? *head
                      : before->kind == ExpressionKind::kFilter
                          ? EvaluateFilter(*before, head, scope)
                          : Evaluate(*before, scope);
  const Arguments arguments = EvaluateArguments(expression, scope);
  line_ = expression.line;
  return ApplyFilter(runtime_, expression.name, input, arguments);
}

Arguments Interpreter::EvaluateArguments(const Expression& expression, const ScopePtr& scope) {
  Arguments arguments;
  for (const Argument& argument : expression.arguments) {
    Value value = Evaluate(*argument.value, scope);
    switch (argument.kind) {
      case Argument::Kind::kPositional:
        arguments.positional.push_back(std::move(value));
        break;
      case Argument::Kind::kKeyword:
        arguments.named.emplace_back(argument.keyword, std::move(value));
        break;
      case Argument::Kind::kSpread:
        for (Value& item : Elements(runtime_, value)) {
          arguments.positional.push_back(std::move(item));
        }
        break;
      case Argument::Kind::kKeywordSpread:
        if (!value.is_dict()) Throw("'**' needs a mapping, not {}", value.TypeName());
        for (const auto& [key, item] : value.dict().entries()) {
          arguments.named.emplace_back(RequireText(key, "'**'"), item);
        }
        runtime_.meter.Step(value.dict().entries().size());
    }
  }
  return arguments;
}

Value Interpreter::EvaluateCall(const Expression& expression, const Value* caller,
                                const ScopePtr& scope) {
  const Value function = Evaluate(*expression.parts[0], scope);
  Arguments arguments = EvaluateArguments(expression, scope);
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  line_ = expression.line;
  return Call(function, expression.parts[0]->name, arguments);
}

Value Interpreter::Call(const Value& function, const std::string& name,
                        const Arguments& arguments) {
  if (const Loop* const loop = function.AsLoop()) {
    if (loop->recurse.is_undefined()) Throw("this loop is not recursive");
    return Call(loop->recurse, name, arguments);
  }
  if (function.is_undefined()) {
    Throw("'{}' cannot be called: {}", name, function.UndefinedMessage());
  }
  if (!function.is_callable()) Throw("a {} cannot be called", function.TypeName());
  const Callable& callable = function.callable();
  switch (callable.kind) {
    case Callable::Kind::kGlobal:
      return FindGlobal(callable.name)(runtime_, {}, arguments);
    case Callable::Kind::kMethod:
      return FindMethod(callable.receiver, callable.name)(runtime_, callable.receiver, arguments);
    case Callable::Kind::kMacro:
      return CallMacro(callable, arguments);
    case Callable::Kind::kLoop: {
      const Value over = arguments.Bind("loop", {"iterable"})[0];
      std::string out;
      RunLoop(*callable.source, over, callable.nesting, callable.scope, &out);
      return Value::String(std::move(out));
    }
  }
  return {};
}

Value Interpreter::CallMacro(const Callable& macro, const Arguments& arguments) {
  const auto scope = std::make_shared<Scope>(macro.scope);
  BindParameters(macro, arguments, scope);
  std::string out;
  RunBlock(macro.source->body, scope, &out);
  return Value::String(std::move(out));
}

void Interpreter::BindParameters(const Callable& macro, const Arguments& arguments,
                                 const ScopePtr& scope) {
  const Statement& source = *macro.source;
  const std::vector<Parameter>& parameters = source.parameters;
  std::vector<bool> given(parameters.size());
  for (std::size_t i = 0; i < std::min(parameters.size(), arguments.positional.size()); ++i) {
    scope->Set(parameters[i].name, arguments.positional[i]);
    given[i] = true;
  }
  Dict others;
  for (const auto& [name, value] : arguments.named) {
    const auto parameter =
        std::find_if(parameters.begin(), parameters.end(),
                     [&name = name](const Parameter& one) { return one.name == name; });
    if (parameter != parameters.end()) {
      const auto index = static_cast<std::size_t>(parameter - parameters.begin());
      if (given[index]) Throw("the macro '{}' is given '{}' twice", macro.name, name);
      scope->Set(name, value);
      given[index] = true;
    } else if (name == "caller" && source.uses_caller) {
      scope->Set(name, value);
    } else if (source.uses_kwargs) {
      others.Set(Value::String(name), value);
    } else {
      Throw("the macro '{}' has no parameter '{}'", macro.name, name);
    }
  }
  if (source.uses_kwargs) scope->Set("kwargs", runtime_.Mapping(std::move(others)));
  Items rest;
  if (arguments.positional.size() > parameters.size()) {
    if (!source.uses_varargs) {
      Throw("the macro '{}' takes at most {} arguments", macro.name, parameters.size());
    }
    rest.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(parameters.size()),
                arguments.positional.end());
  }
  if (source.uses_varargs) scope->Set("varargs", runtime_.Tuple(std::move(rest)));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    if (given[i]) continue;
    scope->Set(parameter.name, parameter.fallback != nullptr
                                   ? Evaluate(*parameter.fallback, scope)
                                   : Value::NotFound(fmt::format("the macro's '{}' was not given",
                                                                 parameter.name)));
  }
}

}  // namespace doppler::jinja
