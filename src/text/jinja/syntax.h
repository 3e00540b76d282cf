// A template's syntax tree. Made by the parser, walked by the interpreter, never changed between.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/jinja/value.h"

namespace doppler::jinja {

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using StatementPtr = std::unique_ptr<Statement>;
using Block = std::vector<StatementPtr>;

enum class ExpressionKind : std::uint8_t {
  kConstant,   // value
  kName,       // name
  kList,       // parts
  kTuple,      // parts
  kDict,       // parts: key, value, key, value...
  kAttribute,  // parts[0] . name
  kItem,       // parts[0] [ parts[1] ]
  kSlice,      // parts[0] [ parts[1] : parts[2] : parts[3] ], the last three may be null
  kCall,       // parts[0] ( arguments )
  kFilter,     // parts[0] | name ( arguments ); parts[0] is null at the head of a filter block
  kTest,       // parts[0] is name ( arguments )
  kUnary,      // name parts[0]: + - not
  kBinary,     // parts[0] name parts[1]
  kAnd,        // parts[0] and parts[1]
  kOr,         // parts[0] or parts[1]
  kCompare,    // parts[0] names[0] parts[1] names[1] parts[2]...
  kConcat,     // parts joined as text: ~
  kCondition,  // parts[0] if parts[1] else parts[2], which may be null
};

struct Argument {
  enum class Kind : std::uint8_t { kPositional, kKeyword, kSpread, kKeywordSpread };
  Kind kind = Kind::kPositional;
  std::string keyword;
  ExpressionPtr value;
};

struct Expression {
  ExpressionKind kind = ExpressionKind::kConstant;
  int line = 1;
  int depth = 1;  // of the tree below and with this
  std::string name;
  Value value;
  std::vector<std::string> names;
  std::vector<ExpressionPtr> parts;
  std::vector<Argument> arguments;
};

enum class StatementKind : std::uint8_t {
  kData,      // text
  kOutput,    // expression
  kIf,        // branches, the last may have no condition
  kFor,       // target in expression if condition: body, else otherwise
  kSet,       // target = expression
  kSetBlock,  // target = body, through `expression`, a chain of filters, if there is one
  kMacro,     // text(parameters): body
  kCall,      // expression, a call, with body as caller(parameters)
  kFilter,    // body through `expression`
  kWith,      // targets and expressions in branches: body
  kScope,     // body with variables of its own: a generation block
  kBreak,
  kContinue,
};

struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // null: undefined
};

struct Branch {
  ExpressionPtr target;     // of with
  ExpressionPtr condition;  // or value
  Block body;
};

struct Statement {
  StatementKind kind = StatementKind::kData;
  int line = 1;
  std::string text;
  ExpressionPtr target;
  ExpressionPtr expression;
  ExpressionPtr condition;
  std::vector<Branch> branches;
  std::vector<Parameter> parameters;
  Block body;
  Block otherwise;
  bool recursive = false;     // for
  bool uses_varargs = false;  // macro, call: what its body asks for
  bool uses_kwargs = false;
  bool uses_caller = false;
};

}  // namespace doppler::jinja
