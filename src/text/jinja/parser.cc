#include "text/jinja/parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include <fmt/format.h>

#include "text/jinja/expression_parser.h"

namespace doppler::jinja {
namespace {

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Block Run() {
    Block block = ParseBody({});
    if (current().kind != TokenKind::kEnd) FailUnexpected();
    return block;
  }

 private:
  using Names = std::initializer_list<std::string_view>;

  StatementPtr Make(StatementKind kind) const {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->line = current().line;
    return statement;
  }

  // Statements up to a tag that begins with one of `ends`, which is left as the current token, its
  // BlockBegin taken. Without `ends`: to the end of the template.
  Block ParseBody(Names ends) {
    const Nesting nesting(*this);
    Block block;
    for (;;) {
      switch (current().kind) {
        case TokenKind::kEnd:
          if (ends.size() == 0) return block;
          Fail(fmt::format("the template ends without '{}'", *(ends.end() - 1)));
        case TokenKind::kData:
          block.push_back(Make(StatementKind::kData));
          block.back()->text = Take().text;
          break;
        case TokenKind::kVariableBegin:
          block.push_back(ParseOutput());
          break;
        default:
          Take();
          if (std::any_of(ends.begin(), ends.end(),
                          [this](std::string_view end) { return IsName(end); })) {
            return block;
          }
          block.push_back(ParseStatement());
      }
    }
  }

  // The body of a block up to `end`, and that tag.
  Block ParseWhole(std::string_view end) {
    EndTag();
    Block block = ParseBody({end});
    Take();
    return block;
  }

  void EndTag() {
    if (current().kind != TokenKind::kBlockEnd) FailUnexpected();
    Take();
  }

  StatementPtr ParseOutput() {
    StatementPtr statement = Make(StatementKind::kOutput);
    Take();
    statement->expression = ParseTuple(true);
    if (current().kind != TokenKind::kVariableEnd) FailUnexpected();
    Take();
    return statement;
  }

  StatementPtr ParseStatement() {
    struct Tag {
      std::string_view name;
      StatementPtr (Parser::*parse)();
    };
    static constexpr std::array<Tag, 10> kTags = {{{"if", &Parser::ParseIf},
                                                   {"for", &Parser::ParseFor},
                                                   {"set", &Parser::ParseSet},
                                                   {"macro", &Parser::ParseMacro},
                                                   {"call", &Parser::ParseCall},
                                                   {"filter", &Parser::ParseFilterBlock},
                                                   {"with", &Parser::ParseWith},
                                                   {"generation", &Parser::ParseGeneration},
                                                   {"break", &Parser::ParseJump},
                                                   {"continue", &Parser::ParseJump}}};
    if (current().kind != TokenKind::kName) FailUnexpected();
    for (const Tag& tag : kTags) {
      if (!IsName(tag.name)) continue;
      StatementPtr statement = (this->*tag.parse)();
      EndTag();
      return statement;
    }
    Fail(fmt::format("the tag '{}' is not known; known are {}", current().text,
                     "if, for, set, macro, call, filter, with, generation, break, continue, raw"));
  }

  StatementPtr ParseIf() {
    StatementPtr statement = Make(StatementKind::kIf);
    for (;;) {
      const bool otherwise = Take().text == "else";
      Branch branch;
      if (!otherwise) branch.condition = ParseTuple(false);
      EndTag();
      branch.body = otherwise ? ParseBody({"endif"}) : ParseBody({"elif", "else", "endif"});
      statement->branches.push_back(std::move(branch));
      if (SkipName("endif")) return statement;
    }
  }

  StatementPtr ParseFor() {
    StatementPtr statement = Make(StatementKind::kFor);
    Take();
    statement->target = ParseTarget(false);
    if (!SkipName("in")) FailUnexpected();
    statement->expression = ParseTuple(false, "recursive");
    if (SkipName("if")) statement->condition = Parse();
    statement->recursive = SkipName("recursive");
    EndTag();
    ++loops_;
    statement->body = ParseBody({"else", "endfor"});
    --loops_;
    if (Take().text == "else") statement->otherwise = ParseWhole("endfor");
    return statement;
  }

  StatementPtr ParseSet() {
    StatementPtr statement = Make(StatementKind::kSet);
    Take();
    statement->target = ParseTarget(true);
    if (SkipOperator("=")) {
      statement->expression = ParseTuple(true);
      return statement;
    }
    statement->kind = StatementKind::kSetBlock;
    if (SkipOperator("|")) statement->expression = ParseFilter(nullptr);
    statement->body = ParseWhole("endset");
    return statement;
  }

  void ParseParameters(Statement* statement) {
    ExpectOperator("(");
    while (!IsOperator(")")) {
      Parameter parameter{.name = ExpectName(), .fallback = nullptr};
      if (SkipOperator("=")) {
        parameter.fallback = Parse();
      } else if (!statement->parameters.empty() &&
                 statement->parameters.back().fallback != nullptr) {
        Fail("a parameter without a default stands after one with a default");
      }
      statement->parameters.push_back(std::move(parameter));
      if (!SkipOperator(",")) break;
    }
    ExpectOperator(")");
  }

  // A body that runs elsewhere: it cannot break out of a loop around it.
  void ParseMacroBody(Statement* statement, std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    statement->body = ParseWhole(end);
    loops_ = loops;
    macros_.pop_back();
  }

  StatementPtr ParseMacro() {
    StatementPtr statement = Make(StatementKind::kMacro);
    Take();
    statement->text = ExpectName();
    macros_.push_back(statement.get());
    ParseParameters(statement.get());
    ParseMacroBody(statement.get(), "endmacro");
    return statement;
  }

  StatementPtr ParseCall() {
    StatementPtr statement = Make(StatementKind::kCall);
    Take();
    statement->text = "caller";
    if (IsOperator("(")) ParseParameters(statement.get());
    statement->expression = ParseUnary(true);
    if (statement->expression->kind != ExpressionKind::kCall) Fail("'call' needs a call");
    macros_.push_back(statement.get());
    ParseMacroBody(statement.get(), "endcall");
    return statement;
  }

  StatementPtr ParseFilterBlock() {
    StatementPtr statement = Make(StatementKind::kFilter);
    Take();
    statement->expression = ParseFilter(nullptr);
    statement->body = ParseWhole("endfilter");
    return statement;
  }

  StatementPtr ParseWith() {
    StatementPtr statement = Make(StatementKind::kWith);
    Take();
    while (current().kind != TokenKind::kBlockEnd) {
      Branch branch;
      branch.target = ParseSingleTarget();
      ExpectOperator("=");
      branch.condition = Parse();
      statement->branches.push_back(std::move(branch));
      if (!SkipOperator(",")) break;
    }
    statement->body = ParseWhole("endwith");
    return statement;
  }

  ExpressionPtr ParseSingleTarget() {
    if (IsOperator("(")) return ParseTarget(false);
    auto name = std::make_unique<Expression>();
    name->kind = ExpressionKind::kName;
    name->line = current().line;
    name->name = ExpectName();
    return name;
  }

  // {% generation %}, by which transformers finds the tokens to train on; the text stays the same.
  StatementPtr ParseGeneration() {
    StatementPtr statement = Make(StatementKind::kScope);
    Take();
    statement->body = ParseWhole("endgeneration");
    return statement;
  }

  StatementPtr ParseJump() {
    if (loops_ == 0) Fail(fmt::format("'{}' is in no loop", current().text));
    StatementPtr statement =
        Make(IsName("break") ? StatementKind::kBreak : StatementKind::kContinue);
    Take();
    return statement;
  }

  int loops_ = 0;  // around the current place, of the innermost macro
};

}  // namespace

Block ParseTemplate(std::string_view source) { return Parser(Tokenize(source)).Run(); }

}  // namespace doppler::jinja
