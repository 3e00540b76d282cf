// The expressions of a template: precedence and postfixes as in Jinja 3.1.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/meter.h"
#include "text/jinja/syntax.h"

namespace doppler::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // The stream of tokens.
  const Token& current() const { return tokens_[at_]; }
  Token Take();
  bool Is(TokenKind kind, std::string_view text) const;
  bool IsOperator(std::string_view text) const { return Is(TokenKind::kOperator, text); }
  bool IsName(std::string_view text) const { return Is(TokenKind::kName, text); }
  bool SkipOperator(std::string_view text);
  bool SkipName(std::string_view text);
  void ExpectOperator(std::string_view text);
  std::string ExpectName();
  [[noreturn]] void Fail(const std::string& message) const;
  [[noreturn]] void FailUnexpected() const;

  ExpressionPtr Parse() { return ParseCondition(true); }
  // Several with commas between them make a tuple; `end` is a name that ends it.
  ExpressionPtr ParseTuple(bool with_condition, std::string_view end = {});
  // What can be assigned to: a name, a tuple of names, a namespace's field.
  ExpressionPtr ParseTarget(bool with_field);
  ExpressionPtr ParseUnary(bool with_filter);
  // A filter's name and arguments and the filters that follow, over `input`, which may be null.
  ExpressionPtr ParseFilter(ExpressionPtr input);
  std::vector<Argument> ParseArguments();

  // One level of nesting, for a scope. Throws Error if it is one too many.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser);
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

 protected:
  // The macros around the current place: which of the special names their bodies use.
  std::vector<Statement*> macros_;

 private:
  ExpressionPtr Make(ExpressionKind kind, int line, std::string name = {});
  void AddPart(Expression* whole, ExpressionPtr part) const;

  ExpressionPtr ParseCondition(bool with_condition);
  ExpressionPtr ParseOr();
  ExpressionPtr ParseAnd();
  ExpressionPtr ParseNot();
  ExpressionPtr ParseCompare();
  ExpressionPtr ParseConcat();
  // One level of left-associative operators.
  using Level = ExpressionPtr (ExpressionParser::*)();
  ExpressionPtr ParseBinary(std::initializer_list<std::string_view> operators, Level next);
  ExpressionPtr ParseSum();
  ExpressionPtr ParseProduct();
  ExpressionPtr ParsePower();
  ExpressionPtr ParseSigned() { return ParseUnary(true); }
  ExpressionPtr ParsePrimary();
  ExpressionPtr ParseNameOrConstant();
  ExpressionPtr ParseNumber();
  ExpressionPtr ParseParentheses();
  ExpressionPtr ParseList();
  ExpressionPtr ParseDict();
  ExpressionPtr ParsePostfix(ExpressionPtr operand);
  ExpressionPtr ParseFilters(ExpressionPtr operand);
  ExpressionPtr ParseSubscript(ExpressionPtr operand);
  ExpressionPtr ParseTest(ExpressionPtr operand);
  std::string ParseDottedName();
  bool StartsArgument() const;

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace doppler::jinja
