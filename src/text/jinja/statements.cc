#include <fmt/format.h>

#include "base/error.h"
#include "text/jinja/interpreter.h"

namespace doppler::jinja {

const Value* Scope::Find(const std::string& name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent_.get()) {
    const auto found = scope->variables_.find(name);
    if (found != scope->variables_.end()) return &found->second;
  }
  return nullptr;
}

Interpreter::Interpreter(const Limits& limits, std::chrono::system_clock::time_point now)
    : runtime_(limits, now), globals_(std::make_shared<Scope>(nullptr)) {}

Interpreter::~Interpreter() {
  for (const ScopePtr& scope : captured_) scope->variables_.clear();
}

std::string Interpreter::Run(const Block& block) {
  std::string out;
  RunBlock(block, globals_, &out);
  return out;
}

Interpreter::Flow Interpreter::RunBlock(const Block& block, const ScopePtr& scope,
                                        std::string* out) {
  for (const StatementPtr& statement : block) {
    const Flow flow = RunStatement(*statement, scope, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::RunStatement(const Statement& statement, const ScopePtr& scope,
                                            std::string* out) {
  const Meter::Level level(runtime_.meter);
  runtime_.meter.Step();
  line_ = statement.line;
  switch (statement.kind) {
    case StatementKind::kData:
      Write(statement.text, out);
      break;
    case StatementKind::kOutput:
      Write(ToText(Evaluate(*statement.expression, scope)), out);
      break;
    case StatementKind::kIf:
      return RunIf(statement, scope, out);
    case StatementKind::kFor:
      RunFor(statement, scope, out);
      break;
    case StatementKind::kSet:
    case StatementKind::kSetBlock:
      RunSet(statement, scope);
      break;
    case StatementKind::kMacro:
      scope->Set(statement.text, MakeCallable(Callable::Kind::kMacro, statement, scope, 0));
      break;
    case StatementKind::kCall:
      RunCall(statement, scope, out);
      break;
    case StatementKind::kFilter: {
      const Value body = Value::String(Capture(statement.body, scope));
      Write(ToText(EvaluateFilter(*statement.expression, &body, scope)), out);
      break;
    }
    case StatementKind::kWith:
      RunWith(statement, scope, out);
      break;
    case StatementKind::kScope:
      return RunBlock(statement.body, std::make_shared<Scope>(scope), out);
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

void Interpreter::Write(const std::string& text, std::string* out) {
  runtime_.meter.Make(text.size());
  runtime_.meter.CheckOutput(out->size() + text.size());
  *out += text;
}

std::string Interpreter::Capture(const Block& block, const ScopePtr& scope) {
  std::string out;
  RunBlock(block, std::make_shared<Scope>(scope), &out);
  return out;
}

Interpreter::Flow Interpreter::RunIf(const Statement& statement, const ScopePtr& scope,
                                     std::string* out) {
  for (const Branch& branch : statement.branches) {
    if (branch.condition == nullptr || Evaluate(*branch.condition, scope).Truthy()) {
      return RunBlock(branch.body, scope, out);
    }
  }
  return Flow::kNext;
}

void Interpreter::RunFor(const Statement& statement, const ScopePtr& scope, std::string* out) {
  RunLoop(statement, Evaluate(*statement.expression, scope), 1, scope, out);
}

// The elements that the loop's condition lets through.
Items Interpreter::LoopItems(const Statement& statement, const Value& over, const ScopePtr& scope) {
  Items items = Elements(runtime_, over);
  if (statement.condition == nullptr) return items;
  Items chosen;
  for (const Value& item : items) {
    const auto inner = std::make_shared<Scope>(scope);
    Assign(*statement.target, item, inner);
    if (Evaluate(*statement.condition, inner).Truthy()) chosen.push_back(item);
  }
  return chosen;
}

void Interpreter::RunLoop(const Statement& statement, const Value& over, int nesting,
                          const ScopePtr& scope, std::string* out) {
  const Value items = Value::ListOf(LoopItems(statement, over, scope));
  Value recurse;
  if (statement.recursive) {
    recurse = MakeCallable(Callable::Kind::kLoop, statement, scope, nesting + 1);
  }
  for (std::size_t i = 0; i < items.items().size(); ++i) {
    runtime_.meter.Make(sizeof(Loop) + sizeof(Scope));
    const auto inner = std::make_shared<Scope>(scope);
    Assign(*statement.target, items.items()[i], inner);
    inner->Set("loop", Value::Of(std::make_shared<const Loop>(Loop{
                           .items = items, .index0 = i, .nesting = nesting, .recurse = recurse})));
    if (RunBlock(statement.body, inner, out) == Flow::kBreak) break;
  }
  if (items.items().empty()) {
    RunBlock(statement.otherwise, std::make_shared<Scope>(scope), out);
  }
}

void Interpreter::RunSet(const Statement& statement, const ScopePtr& scope) {
  if (statement.kind == StatementKind::kSet) {
    Assign(*statement.target, Evaluate(*statement.expression, scope), scope);
    return;
  }
  Value text = Value::String(Capture(statement.body, scope));
  if (statement.expression != nullptr) text = EvaluateFilter(*statement.expression, &text, scope);
  Assign(*statement.target, text, scope);
}

void Interpreter::Assign(const Expression& target, const Value& value, const ScopePtr& scope) {
  if (target.kind == ExpressionKind::kName) {
    scope->Set(target.name, value);
    return;
  }
  if (target.kind == ExpressionKind::kAttribute) {
    Namespace* const space = Evaluate(*target.parts[0], scope).AsNamespace();
    if (space == nullptr) {
      Throw("'{}' is no namespace; only a namespace's fields can be set", target.parts[0]->name);
    }
    runtime_.meter.Make(sizeof(Value));
    space->fields.Set(Value::String(target.name), value);
    return;
  }
  const Items items = Elements(runtime_, value);
  if (items.size() != target.parts.size()) {
    Throw("{} values are given to {} names", items.size(), target.parts.size());
  }
  for (std::size_t i = 0; i < items.size(); ++i) Assign(*target.parts[i], items[i], scope);
}

Value Interpreter::MakeCallable(Callable::Kind kind, const Statement& statement,
                                const ScopePtr& scope, int nesting) {
  runtime_.meter.Make(sizeof(Callable));
  if (!scope->captured_) {
    scope->captured_ = true;
    captured_.push_back(scope);
  }
  return Value::Of(std::make_shared<const Callable>(Callable{.kind = kind,
                                                             .name = statement.text,
                                                             .receiver = {},
                                                             .source = &statement,
                                                             .scope = scope,
                                                             .nesting = nesting}));
}

void Interpreter::RunCall(const Statement& statement, const ScopePtr& scope, std::string* out) {
  const Value caller = MakeCallable(Callable::Kind::kMacro, statement, scope, 0);
  Write(ToText(EvaluateCall(*statement.expression, &caller, scope)), out);
}

void Interpreter::RunWith(const Statement& statement, const ScopePtr& scope, std::string* out) {
  const auto inner = std::make_shared<Scope>(scope);
  for (const Branch& branch : statement.branches) {
    // Values come from outside: one does not see the names before it.
    Assign(*branch.target, Evaluate(*branch.condition, scope), inner);
  }
  RunBlock(statement.body, inner, out);
}

}  // namespace doppler::jinja
