#include <cstdio>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "base/error.h"
#include "convert/tokenizer_files.h"
#include "io/file.h"
#include "store/local_store.h"
#include "text/utf8_stream.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kLargestInput = kGiB;

// A GGUF file, or a folder that may hold a checkpoint or an artifact.
Tokenizer TokenizerOf(const std::string& model) {
  return OpenTokenizer(fs::exists(model) ? fs::path(model) : ResolveModel(model));
}

// As it can be shown: what is no UTF-8 becomes U+FFFD.
std::string Shown(std::string_view bytes) {
  Utf8Stream stream;
  std::string out = stream.Push(bytes);
  return out + stream.Flush();
}

OrderedJson ToJson(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  return {{"ids", ids}, {"text", Shown(tokenizer.Decode(ids))}};
}

// Each line of the file is a JSON string.
void EncodeLines(const Tokenizer& tokenizer, const TokenizeCommand& command) {
  const std::string file = ReadTextFile(command.lines_file, kLargestInput);
  std::string_view rest = file;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const OrderedJson text = OrderedJson::parse(line, nullptr, false);
    if (!text.is_string()) Throw("{}: line {} is not a JSON string", command.lines_file, number);
    const auto ids = tokenizer.Encode(text.get<std::string>(), {.add_bos = command.add_bos});
    fmt::print("{}\n", ToJson(tokenizer, ids).dump());
  }
}

void PrintTokens(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  for (const TokenId id : ids) {
    fmt::print("{:>7}  {}\n", id, OrderedJson(Shown(tokenizer.TokenBytes(id))).dump());
  }
}

}  // namespace

void RunTokenize(const TokenizeCommand& command) {
  const Tokenizer tokenizer = TokenizerOf(command.model);
  if (!command.lines_file.empty()) return EncodeLines(tokenizer, command);
  const std::string text =
      command.text ? *command.text : ReadTextFile(command.text_file, kLargestInput);
  const auto ids = tokenizer.Encode(text, {.add_bos = command.add_bos});
  if (command.json) {
    PrintJson(ToJson(tokenizer, ids));
  } else {
    PrintTokens(tokenizer, ids);
  }
}

}  // namespace doppler
