// Walks a syntax tree and writes text.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/jinja/runtime.h"
#include "text/jinja/syntax.h"

namespace doppler::jinja {

// The variables of one block; what is not among them is looked for in the block around it.
class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}

  void Set(const std::string& name, Value value) { variables_[name] = std::move(value); }
  const Value* Find(const std::string& name) const;

 private:
  friend class Interpreter;
  std::shared_ptr<Scope> parent_;
  std::unordered_map<std::string, Value> variables_;
  bool captured_ = false;  // a macro remembers it
};

// One rendering.
class Interpreter {
 public:
  Interpreter(const Limits& limits, std::chrono::system_clock::time_point now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  Runtime& runtime() { return runtime_; }
  void SetVariable(const std::string& name, Value value) { globals_->Set(name, std::move(value)); }
  // Throws Error without a place; line() then is the line that was being worked on.
  std::string Run(const Block& block);
  int line() const { return line_; }

 private:
  using ScopePtr = std::shared_ptr<Scope>;
  enum class Flow : std::uint8_t { kNext, kBreak, kContinue };

  // Statements, in statements.cc.
  Flow RunBlock(const Block& block, const ScopePtr& scope, std::string* out);
  Flow RunStatement(const Statement& statement, const ScopePtr& scope, std::string* out);
  Flow RunIf(const Statement& statement, const ScopePtr& scope, std::string* out);
  void RunFor(const Statement& statement, const ScopePtr& scope, std::string* out);
  void RunLoop(const Statement& statement, const Value& over, int nesting, const ScopePtr& scope,
               std::string* out);
  Items LoopItems(const Statement& statement, const Value& over, const ScopePtr& scope);
  void RunSet(const Statement& statement, const ScopePtr& scope);
  void RunCall(const Statement& statement, const ScopePtr& scope, std::string* out);
  void RunWith(const Statement& statement, const ScopePtr& scope, std::string* out);
  void Write(const std::string& text, std::string* out);
  // What the body writes, with variables of its own.
  std::string Capture(const Block& block, const ScopePtr& scope);
  void Assign(const Expression& target, const Value& value, const ScopePtr& scope);
  Value MakeCallable(Callable::Kind kind, const Statement& statement, const ScopePtr& scope,
                     int nesting);

  // Expressions, in expressions.cc.
  Value Evaluate(const Expression& expression, const ScopePtr& scope);
  Value EvaluateName(const Expression& expression, const ScopePtr& scope);
  Items EvaluateParts(const Expression& expression, const ScopePtr& scope);
  Value EvaluateDict(const Expression& expression, const ScopePtr& scope);
  Value EvaluateSlice(const Expression& expression, const ScopePtr& scope);
  Value EvaluateUnary(const Expression& expression, const ScopePtr& scope);
  Value EvaluateCompare(const Expression& expression, const ScopePtr& scope);
  Value EvaluateConcat(const Expression& expression, const ScopePtr& scope);
  Value EvaluateCondition(const Expression& expression, const ScopePtr& scope);
  Value EvaluateFilter(const Expression& expression, const Value* head, const ScopePtr& scope);
  Value EvaluateOptional(const ExpressionPtr& expression, const ScopePtr& scope);
  Arguments EvaluateArguments(const Expression& expression, const ScopePtr& scope);
  Value EvaluateCall(const Expression& expression, const Value* caller, const ScopePtr& scope);
  Value Call(const Value& function, const std::string& name, const Arguments& arguments);
  Value CallMacro(const Callable& macro, const Arguments& arguments);
  void BindParameters(const Callable& macro, const Arguments& arguments, const ScopePtr& scope);

  Runtime runtime_;
  ScopePtr globals_;
  std::vector<ScopePtr> captured_;  // scopes that macros remember: they hold each other
  int line_ = 1;
};

}  // namespace doppler::jinja
