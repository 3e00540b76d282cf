#include "text/tiktoken.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "format/json.h"
#include "text/byte_alphabet.h"
#include "text/split_rules.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_writer.h"

namespace doppler {
namespace {

constexpr std::size_t kReservedTokens = 258;

std::optional<std::uint32_t> Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<std::uint32_t>(c - 'A');
  if (c >= 'a' && c <= 'z') return static_cast<std::uint32_t>(c - 'a') + 26;
  if (c >= '0' && c <= '9') return static_cast<std::uint32_t>(c - '0') + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return std::nullopt;
}

// RFC 4648, with padding. Nothing if `text` is not that.
std::optional<std::string> FromBase64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  text.remove_suffix(padding);
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const auto digit = Base64Digit(c);
    if (!digit) return std::nullopt;
    bits = bits << 6 | *digit;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xFFu);
  }
  return out;
}

struct RankedToken {
  std::string bytes;
  std::size_t rank = 0;
};

RankedToken ReadLine(std::string_view line, std::size_t number) {
  const std::size_t space = line.find(' ');
  const auto bytes = FromBase64(line.substr(0, space));
  if (space == std::string_view::npos || !bytes) {
    Throw("line {} is not a token in base64 and its rank", number);
  }
  RankedToken token{.bytes = *bytes};
  const std::string_view digits = line.substr(space + 1);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), token.rank);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    Throw("line {} has no rank", number);
  }
  if (token.rank >= kMaxVocabulary) {
    Throw("line {} has the rank {}; ranks are from 0 to {}", number, token.rank,
          kMaxVocabulary - 1);
  }
  return token;
}

// A token id that is written as a key.
TokenId IdOfKey(const JsonReader& entry, const std::string& key) {
  std::size_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size() || id >= kMaxVocabulary) {
    entry.Fail("the key is not a token id");
  }
  return static_cast<TokenId>(id);
}

// The entries of added_tokens_decoder, whose keys are ids.
std::map<TokenId, AddedToken> NamedTokens(const JsonReader& config) {
  std::map<TokenId, AddedToken> out;
  const auto list = config.Find("added_tokens_decoder");
  if (!list) return out;
  list->RequireObject();
  for (const auto& [key, value] : list->value().items()) {
    const JsonReader entry = list->Member(key);
    const TokenId id = IdOfKey(entry, key);
    out.emplace(id, ReadAddedToken(entry));
  }
  return out;
}

std::vector<AddedToken> SpecialTokens(const JsonReader& config, std::size_t ranks) {
  const std::map<TokenId, AddedToken> named = NamedTokens(config);
  std::vector<AddedToken> out;
  for (std::size_t at = ranks; at < ranks + kReservedTokens; ++at) {
    const auto id = static_cast<TokenId>(at);
    const auto found = named.find(id);
    AddedToken token;
    token.content =
        found != named.end() ? found->second.content : fmt::format("<|reserved_token_{}|>", id);
    token.special = found == named.end() || found->second.special;
    token.id = id;
    out.push_back(std::move(token));
  }
  return out;
}

}  // namespace

std::vector<std::string> ReadTiktokenRanks(std::string_view tiktoken_model) {
  std::vector<std::string> ranks;
  std::size_t count = 0;
  for (std::size_t number = 1; !tiktoken_model.empty(); ++number) {
    const std::size_t end = tiktoken_model.find('\n');
    const std::string_view line = tiktoken_model.substr(0, end);
    tiktoken_model.remove_prefix(line.size() + (end == std::string_view::npos ? 0 : 1));
    if (line.empty()) continue;
    RankedToken token = ReadLine(line, number);
    if (token.rank >= ranks.size()) ranks.resize(token.rank + 1);
    if (!ranks[token.rank].empty()) Throw("line {} repeats the rank {}", number, token.rank);
    ranks[token.rank] = std::move(token.bytes);
    ++count;
  }
  if (count == 0) Throw("there are no tokens");
  if (count != ranks.size()) {
    const auto gap = std::find(ranks.begin(), ranks.end(), std::string()) - ranks.begin();
    Throw("no token has the rank {}, and there are {} tokens; the file is damaged", gap, count);
  }
  return ranks;
}

std::string TokenizerJsonFromTiktoken(std::string_view tiktoken_model,
                                      std::string_view tokenizer_config_json) {
  const std::vector<std::string> ranks = ReadTiktokenRanks(tiktoken_model);
  const std::string where = "tokenizer_config.json";
  const nlohmann::json config =
      ParseStrictJson(tokenizer_config_json.empty() ? "{}" : tokenizer_config_json, where);

  std::vector<std::string> tokens;
  tokens.reserve(ranks.size());
  for (const std::string& bytes : ranks) tokens.push_back(BytesToSpelled(bytes));
  std::vector<TokenId> order(tokens.size());
  std::iota(order.begin(), order.end(), 0);
  TokenizerDocument document;
  document.added_tokens = SpecialTokens(JsonReader(config, where), tokens.size());
  document.pre_tokenizer = ByteLevelPreTokenizer({kKimiPattern});
  document.decoder = ByteLevelDecoder();
  document.options.ignore_merges = true;
  document.options.rank_by_token = true;
  for (const TokenId id : order) {
    document.vocabulary.emplace_back(tokens[static_cast<std::size_t>(id)], id);
  }
  document.merges = MergesOfTokens(tokens, order);
  return WriteTokenizerJson(document);
}

}  // namespace doppler
