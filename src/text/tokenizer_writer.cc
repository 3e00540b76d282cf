#include "text/tokenizer_writer.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>

#include "base/error.h"

namespace doppler {
namespace {

using OrderedJson = nlohmann::ordered_json;

// A cut at every character takes quadratic time. The longest tokens in use are some 256 spaces.
constexpr std::size_t kLongestToken = 2048;

// A string as JSON writes it.
std::string Quoted(std::string_view text, const char* what) {
  try {
    return OrderedJson(text).dump();
  } catch (const OrderedJson::type_error&) {
    Throw("{} is not valid UTF-8", what);
  }
}

std::string AddedTokensJson(const std::vector<AddedToken>& tokens) {
  std::string out;
  for (const AddedToken& token : tokens) {
    out += fmt::format(
        "{}\n    {{\"id\": {}, \"content\": {}, \"single_word\": {}, \"lstrip\": {}, "
        "\"rstrip\": {}, \"normalized\": {}, \"special\": {}}}",
        out.empty() ? "" : ",", token.id, Quoted(token.content, "an added token"),
        token.single_word, token.lstrip, token.rstrip, token.normalized, token.special);
  }
  return out;
}

std::string ModelJson(const TokenizerDocument& document) {
  const BpeOptions& options = document.options;
  std::string out = "{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n";
  out += fmt::format("    \"unk_token\": {},\n", document.unknown_token.empty()
                                                     ? "null"
                                                     : Quoted(document.unknown_token, "a token"));
  out += "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n";
  out += fmt::format("    \"fuse_unk\": {},\n    \"byte_fallback\": {},\n", options.fuse_unknown,
                     options.byte_fallback);
  out += fmt::format("    \"ignore_merges\": {},\n", options.ignore_merges);
  if (options.rank_by_token) out += "    \"rank_by_token\": true,\n";
  out += "    \"vocab\": {";
  const char* comma = "";
  for (const auto& [token, id] : document.vocabulary) {
    out += fmt::format("{}\n      {}: {}", comma, Quoted(token, "a token"), id);
    comma = ",";
  }
  out += "\n    },\n    \"merges\": [";
  comma = "";
  for (const auto& [left, right] : document.merges) {
    out +=
        fmt::format("{}\n      [{}, {}]", comma, Quoted(left, "a merge"), Quoted(right, "a merge"));
    comma = ",";
  }
  return out + "\n    ]\n  }";
}

// Where the next character begins.
std::size_t NextCharacter(std::string_view text, std::size_t at) {
  do {
    ++at;
  } while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u);
  return at;
}

}  // namespace

std::string WriteTokenizerJson(const TokenizerDocument& document) {
  std::string out = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n";
  out += "  \"added_tokens\": [" + AddedTokensJson(document.added_tokens) + "\n  ],\n";
  out += "  \"normalizer\": " + document.normalizer.dump() + ",\n";
  out += "  \"pre_tokenizer\": " + document.pre_tokenizer.dump() + ",\n";
  out += "  \"post_processor\": null,\n";
  out += "  \"decoder\": " + document.decoder.dump() + ",\n";
  out += "  \"model\": " + ModelJson(document) + "\n}\n";
  return out;
}

OrderedJson ByteLevelPreTokenizer(const std::vector<std::string_view>& patterns) {
  OrderedJson steps = OrderedJson::array();
  for (const std::string_view pattern : patterns) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

OrderedJson ByteLevelDecoder() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", true},
          {"trim_offsets", true},
          {"use_regex", true}};
}

std::vector<std::pair<std::string_view, std::string_view>> MergesOfTokens(
    const std::vector<std::string>& tokens, const std::vector<TokenId>& order) {
  std::unordered_map<std::string_view, TokenId> ids;
  for (const TokenId id : order) ids.emplace(tokens[static_cast<std::size_t>(id)], id);
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  std::vector<std::pair<TokenId, TokenId>> parts;
  for (const TokenId id : order) {
    const std::string_view token = tokens[static_cast<std::size_t>(id)];
    if (token.size() > kLongestToken) {
      Throw("token {} has {} bytes, more than the {} that are supported", id, token.size(),
            kLongestToken);
    }
    parts.clear();
    for (std::size_t at = NextCharacter(token, 0); at < token.size();
         at = NextCharacter(token, at)) {
      const auto left = ids.find(token.substr(0, at));
      if (left == ids.end()) continue;
      const auto right = ids.find(token.substr(at));
      if (right != ids.end()) parts.emplace_back(left->second, right->second);
    }
    std::sort(parts.begin(), parts.end());
    for (const auto& [left, right] : parts) {
      merges.emplace_back(tokens[static_cast<std::size_t>(left)],
                          tokens[static_cast<std::size_t>(right)]);
    }
  }
  return merges;
}

}  // namespace doppler
