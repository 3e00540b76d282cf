#include "text/jinja/expression_parser.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace doppler::jinja {

Token ExpressionParser::Take() {
  Token token = tokens_[at_];
  if (token.kind != TokenKind::kEnd) ++at_;
  return token;
}

bool ExpressionParser::Is(TokenKind kind, std::string_view text) const {
  return current().kind == kind && current().text == text;
}

bool ExpressionParser::SkipOperator(std::string_view text) {
  if (!IsOperator(text)) return false;
  ++at_;
  return true;
}

bool ExpressionParser::SkipName(std::string_view text) {
  if (!IsName(text)) return false;
  ++at_;
  return true;
}

void ExpressionParser::ExpectOperator(std::string_view text) {
  if (!SkipOperator(text)) FailUnexpected();
}

std::string ExpressionParser::ExpectName() {
  if (current().kind != TokenKind::kName) FailUnexpected();
  return Take().text;
}

void ExpressionParser::Fail(const std::string& message) const {
  ThrowAtLine(current().line, message);
}

void ExpressionParser::FailUnexpected() const {
  switch (current().kind) {
    case TokenKind::kEnd:
      Fail("the template ends in the middle of something");
    case TokenKind::kBlockEnd:
    case TokenKind::kVariableEnd:
      Fail("the tag ends too early");
    default:
      Fail(fmt::format("'{}' is not expected here", current().text.substr(0, 40)));
  }
}

ExpressionParser::Nesting::Nesting(ExpressionParser& parser) : parser_(parser) {
  if (parser_.nesting_ >= Limits::kNesting) {
    parser_.Fail(
        fmt::format("tags or brackets are inside each other more than {} deep", Limits::kNesting));
  }
  ++parser_.nesting_;
}

ExpressionPtr ExpressionParser::Make(ExpressionKind kind, int line, std::string name) {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = line;
  expression->name = std::move(name);
  return expression;
}

void ExpressionParser::AddPart(Expression* whole, ExpressionPtr part) const {
  if (part != nullptr) whole->depth = std::max(whole->depth, part->depth + 1);
  if (whole->depth > Limits::kDepth) {
    Fail(fmt::format("an expression has more than {} operations in a row", Limits::kDepth));
  }
  whole->parts.push_back(std::move(part));
}

ExpressionPtr ExpressionParser::ParseTuple(bool with_condition, std::string_view end) {
  const int line = current().line;
  const auto ends = [this, end] {
    return current().kind == TokenKind::kBlockEnd || current().kind == TokenKind::kVariableEnd ||
           IsOperator(")") || (!end.empty() && IsName(end));
  };
  std::vector<ExpressionPtr> parts;
  bool comma = false;
  while (!ends()) {
    parts.push_back(ParseCondition(with_condition));
    comma = SkipOperator(",");
    if (!comma) break;
  }
  if (parts.size() == 1 && !comma) return std::move(parts.front());
  if (parts.empty() && !IsOperator(")")) FailUnexpected();
  ExpressionPtr tuple = Make(ExpressionKind::kTuple, line);
  for (ExpressionPtr& part : parts) AddPart(tuple.get(), std::move(part));
  return tuple;
}

ExpressionPtr ExpressionParser::ParseTarget(bool with_field) {
  const int line = current().line;
  const bool parenthesis = SkipOperator("(");
  std::vector<ExpressionPtr> names;
  bool comma = false;
  do {
    if (current().kind != TokenKind::kName || IsName("in")) break;
    names.push_back(Make(ExpressionKind::kName, line, ExpectName()));
    comma = SkipOperator(",");
  } while (comma);
  if (names.empty()) FailUnexpected();
  if (parenthesis) ExpectOperator(")");
  if (names.size() > 1 || comma) {
    ExpressionPtr tuple = Make(ExpressionKind::kTuple, line);
    for (ExpressionPtr& name : names) AddPart(tuple.get(), std::move(name));
    return tuple;
  }
  if (!with_field || !SkipOperator(".")) return std::move(names.front());
  ExpressionPtr field = Make(ExpressionKind::kAttribute, line, ExpectName());
  AddPart(field.get(), std::move(names.front()));
  return field;
}

ExpressionPtr ExpressionParser::ParseCondition(bool with_condition) {
  const Nesting nesting(*this);
  ExpressionPtr value = ParseOr();
  while (with_condition && IsName("if")) {
    ExpressionPtr whole = Make(ExpressionKind::kCondition, Take().line);
    AddPart(whole.get(), std::move(value));
    AddPart(whole.get(), ParseOr());
    AddPart(whole.get(), SkipName("else") ? ParseCondition(true) : nullptr);
    value = std::move(whole);
  }
  return value;
}

ExpressionPtr ExpressionParser::ParseOr() {
  ExpressionPtr left = ParseAnd();
  while (IsName("or")) {
    ExpressionPtr whole = Make(ExpressionKind::kOr, Take().line);
    AddPart(whole.get(), std::move(left));
    AddPart(whole.get(), ParseAnd());
    left = std::move(whole);
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseAnd() {
  ExpressionPtr left = ParseNot();
  while (IsName("and")) {
    ExpressionPtr whole = Make(ExpressionKind::kAnd, Take().line);
    AddPart(whole.get(), std::move(left));
    AddPart(whole.get(), ParseNot());
    left = std::move(whole);
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseNot() {
  if (!IsName("not")) return ParseCompare();
  const Nesting nesting(*this);
  ExpressionPtr whole = Make(ExpressionKind::kUnary, Take().line, "not");
  AddPart(whole.get(), ParseNot());
  return whole;
}

ExpressionPtr ExpressionParser::ParseCompare() {
  constexpr std::array<std::string_view, 6> kOperators = {"==", "!=", "<", "<=", ">", ">="};
  const int line = current().line;
  ExpressionPtr first = ParseSum();
  ExpressionPtr whole;
  for (;;) {
    std::string name;
    const bool is_operator =
        current().kind == TokenKind::kOperator &&
        std::find(kOperators.begin(), kOperators.end(), current().text) != kOperators.end();
    if (is_operator || IsName("in")) {
      name = Take().text;
    } else if (IsName("not") && tokens_[at_ + 1].kind == TokenKind::kName &&
               tokens_[at_ + 1].text == "in") {
      at_ += 2;
      name = "not in";
    } else {
      return whole == nullptr ? std::move(first) : std::move(whole);
    }
    if (whole == nullptr) {
      whole = Make(ExpressionKind::kCompare, line);
      AddPart(whole.get(), std::move(first));
    }
    whole->names.push_back(std::move(name));
    AddPart(whole.get(), ParseSum());
  }
}

ExpressionPtr ExpressionParser::ParseBinary(std::initializer_list<std::string_view> operators,
                                            Level next) {
  ExpressionPtr left = (this->*next)();
  while (current().kind == TokenKind::kOperator &&
         std::find(operators.begin(), operators.end(), current().text) != operators.end()) {
    const Token token = Take();
    ExpressionPtr whole = Make(ExpressionKind::kBinary, token.line, token.text);
    AddPart(whole.get(), std::move(left));
    AddPart(whole.get(), (this->*next)());
    left = std::move(whole);
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseSum() {
  return ParseBinary({"+", "-"}, &ExpressionParser::ParseConcat);
}

ExpressionPtr ExpressionParser::ParseConcat() {
  ExpressionPtr first = ParseProduct();
  if (!IsOperator("~")) return first;
  ExpressionPtr whole = Make(ExpressionKind::kConcat, current().line);
  AddPart(whole.get(), std::move(first));
  while (SkipOperator("~")) AddPart(whole.get(), ParseProduct());
  return whole;
}

ExpressionPtr ExpressionParser::ParseProduct() {
  return ParseBinary({"*", "/", "//", "%"}, &ExpressionParser::ParsePower);
}

ExpressionPtr ExpressionParser::ParsePower() {
  return ParseBinary({"**"}, &ExpressionParser::ParseSigned);
}

ExpressionPtr ExpressionParser::ParseUnary(bool with_filter) {
  ExpressionPtr operand;
  if (IsOperator("-") || IsOperator("+")) {
    const Nesting nesting(*this);
    const Token sign = Take();
    operand = Make(ExpressionKind::kUnary, sign.line, sign.text);
    AddPart(operand.get(), ParseUnary(false));
  } else {
    operand = ParsePrimary();
  }
  operand = ParsePostfix(std::move(operand));
  return with_filter ? ParseFilters(std::move(operand)) : std::move(operand);
}

ExpressionPtr ExpressionParser::ParsePrimary() {
  const int line = current().line;
  switch (current().kind) {
    case TokenKind::kName:
      return ParseNameOrConstant();
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return ParseNumber();
    case TokenKind::kString: {
      std::string text = Take().text;
      while (current().kind == TokenKind::kString) text += Take().text;
      ExpressionPtr constant = Make(ExpressionKind::kConstant, line);
      constant->value = Value::String(std::move(text));
      return constant;
    }
    default:
      if (IsOperator("(")) return ParseParentheses();
      if (IsOperator("[")) return ParseList();
      if (IsOperator("{")) return ParseDict();
      FailUnexpected();
  }
}

ExpressionPtr ExpressionParser::ParseNameOrConstant() {
  const Token token = Take();
  const std::string& name = token.text;
  ExpressionPtr constant = Make(ExpressionKind::kConstant, token.line);
  if (name == "true" || name == "True") {
    constant->value = Value::Bool(true);
  } else if (name == "false" || name == "False") {
    constant->value = Value::Bool(false);
  } else if (name == "none" || name == "None") {
    constant->value = Value::None();
  } else {
    for (Statement* const macro : macros_) {
      macro->uses_varargs = macro->uses_varargs || name == "varargs";
      macro->uses_kwargs = macro->uses_kwargs || name == "kwargs";
      macro->uses_caller = macro->uses_caller || name == "caller";
    }
    return Make(ExpressionKind::kName, token.line, name);
  }
  return constant;
}

ExpressionPtr ExpressionParser::ParseNumber() {
  const Token token = Take();
  ExpressionPtr constant = Make(ExpressionKind::kConstant, token.line);
  const char* const end = token.text.data() + token.text.size();
  if (token.kind == TokenKind::kFloat) {
    double value = 0;
    std::from_chars(token.text.data(), end, value);
    constant->value = Value::Float(value);
    return constant;
  }
  std::int64_t value = 0;
  if (std::from_chars(token.text.data(), end, value).ec != std::errc()) {
    ThrowAtLine(token.line, fmt::format("the number {} is too large", token.text));
  }
  constant->value = Value::Int(value);
  return constant;
}

ExpressionPtr ExpressionParser::ParseParentheses() {
  ExpectOperator("(");
  ExpressionPtr inside = ParseTuple(true);
  ExpectOperator(")");
  return inside;
}

ExpressionPtr ExpressionParser::ParseList() {
  ExpressionPtr list = Make(ExpressionKind::kList, Take().line);
  while (!IsOperator("]")) {
    AddPart(list.get(), Parse());
    if (!SkipOperator(",")) break;
  }
  ExpectOperator("]");
  return list;
}

ExpressionPtr ExpressionParser::ParseDict() {
  ExpressionPtr dict = Make(ExpressionKind::kDict, Take().line);
  while (!IsOperator("}")) {
    AddPart(dict.get(), Parse());
    ExpectOperator(":");
    AddPart(dict.get(), Parse());
    if (!SkipOperator(",")) break;
  }
  ExpectOperator("}");
  return dict;
}

ExpressionPtr ExpressionParser::ParsePostfix(ExpressionPtr operand) {
  for (;;) {
    if (IsOperator(".")) {
      const int line = Take().line;
      const bool index = current().kind == TokenKind::kInteger;
      if (!index && current().kind != TokenKind::kName) FailUnexpected();
      ExpressionPtr whole = index ? Make(ExpressionKind::kItem, line)
                                  : Make(ExpressionKind::kAttribute, line, Take().text);
      AddPart(whole.get(), std::move(operand));
      if (index) AddPart(whole.get(), ParseNumber());
      operand = std::move(whole);
    } else if (IsOperator("[")) {
      operand = ParseSubscript(std::move(operand));
    } else if (IsOperator("(")) {
      ExpressionPtr call = Make(ExpressionKind::kCall, current().line);
      AddPart(call.get(), std::move(operand));
      call->arguments = ParseArguments();
      operand = std::move(call);
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::ParseSubscript(ExpressionPtr operand) {
  const int line = Take().line;
  std::vector<ExpressionPtr> bounds;
  const auto bound = [this] { return IsOperator(":") || IsOperator("]") ? nullptr : Parse(); };
  bounds.push_back(bound());
  while (bounds.size() < 3 && SkipOperator(":")) bounds.push_back(bound());
  const bool slice = bounds.size() > 1;
  if (!slice && bounds.front() == nullptr) FailUnexpected();
  ExpressionPtr whole = Make(slice ? ExpressionKind::kSlice : ExpressionKind::kItem, line);
  AddPart(whole.get(), std::move(operand));
  for (ExpressionPtr& part : bounds) AddPart(whole.get(), std::move(part));
  if (bounds.size() == 2) whole->parts.push_back(nullptr);
  ExpectOperator("]");
  return whole;
}

std::vector<Argument> ExpressionParser::ParseArguments() {
  ExpectOperator("(");
  const Nesting nesting(*this);
  std::vector<Argument> arguments;
  while (!IsOperator(")")) {
    Argument argument;
    if (SkipOperator("**")) {
      argument.kind = Argument::Kind::kKeywordSpread;
    } else if (SkipOperator("*")) {
      argument.kind = Argument::Kind::kSpread;
    } else if (current().kind == TokenKind::kName &&
               tokens_[at_ + 1].kind == TokenKind::kOperator && tokens_[at_ + 1].text == "=") {
      argument.kind = Argument::Kind::kKeyword;
      argument.keyword = Take().text;
      Take();
    } else if (!arguments.empty() && arguments.back().kind != Argument::Kind::kPositional) {
      Fail("an argument without a name stands after one with a name");
    }
    argument.value = Parse();
    arguments.push_back(std::move(argument));
    if (!SkipOperator(",")) break;
  }
  ExpectOperator(")");
  return arguments;
}

ExpressionPtr ExpressionParser::ParseFilters(ExpressionPtr operand) {
  for (;;) {
    if (SkipOperator("|")) {
      operand = ParseFilter(std::move(operand));
    } else if (IsName("is")) {
      operand = ParseTest(std::move(operand));
    } else if (IsOperator("(")) {
      // A call of what a filter gave.
      operand = ParsePostfix(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::ParseFilter(ExpressionPtr input) {
  for (;;) {
    ExpressionPtr filter = Make(ExpressionKind::kFilter, current().line, ParseDottedName());
    AddPart(filter.get(), std::move(input));
    if (IsOperator("(")) filter->arguments = ParseArguments();
    input = std::move(filter);
    if (!SkipOperator("|")) return input;
  }
}

std::string ExpressionParser::ParseDottedName() {
  std::string name = ExpectName();
  while (SkipOperator(".")) name += "." + ExpectName();
  return name;
}

// Whether what follows a test's name is its argument, written without parentheses.
bool ExpressionParser::StartsArgument() const {
  switch (current().kind) {
    case TokenKind::kName:
      return !IsName("else") && !IsName("or") && !IsName("and") && !IsName("if") && !IsName("in") &&
             !IsName("not") && !IsName("is");
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return true;
    default:
      return IsOperator("[") || IsOperator("{");
  }
}

ExpressionPtr ExpressionParser::ParseTest(ExpressionPtr operand) {
  const int line = Take().line;
  const bool negated = SkipName("not");
  ExpressionPtr test = Make(ExpressionKind::kTest, line, ParseDottedName());
  AddPart(test.get(), std::move(operand));
  if (IsOperator("(")) {
    test->arguments = ParseArguments();
  } else if (StartsArgument()) {
    Argument argument;
    argument.value = ParsePostfix(ParsePrimary());
    test->arguments.push_back(std::move(argument));
  }
  if (!negated) return test;
  ExpressionPtr whole = Make(ExpressionKind::kUnary, line, "not");
  AddPart(whole.get(), std::move(test));
  return whole;
}

}  // namespace doppler::jinja
