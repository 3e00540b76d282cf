// The tokenizer of Kimi K2, which comes as `tiktoken.model` (a line `BASE64 RANK` for each token)
// and code; here it becomes a tokenizer.json. The pattern is that of K2's tokenization_kimi.py, as
// is the rule for special tokens: 258 ids after the last rank, called <|reserved_token_ID|> unless
// `added_tokens_decoder` of tokenizer_config.json names them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace doppler {

// The bytes of each token, [rank]. Throws Error that names the line of what is damaged: a line
// that is no pair, base64 that is none, a rank that is missing or given twice.
std::vector<std::string> ReadTiktokenRanks(std::string_view tiktoken_model);

// Throws Error for what is damaged. `tokenizer_config_json` may be empty.
std::string TokenizerJsonFromTiktoken(std::string_view tiktoken_model,
                                      std::string_view tokenizer_config_json);

}  // namespace doppler
