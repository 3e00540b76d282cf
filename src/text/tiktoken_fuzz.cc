// A tiktoken.model of any bytes either becomes a tokenizer.json that loads, or is refused with an
// Error. The first line that is '{...' is taken as tokenizer_config.json.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/tiktoken.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view model(reinterpret_cast<const char*>(data), size);
  std::string_view config;
  if (model.starts_with('{')) {
    config = model.substr(0, model.find('\n'));
    model.remove_prefix(config.size());
  }
  try {
    const std::string json = doppler::TokenizerJsonFromTiktoken(model, config);
    const auto tokenizer = doppler::Tokenizer::FromJson(json, "", "fuzz");
    tokenizer.Decode(tokenizer.Encode("It's 2026: 日本 abcabc<|reserved_token_3|>\xFF"));
  } catch (const doppler::Error&) {
    // The answer to most inputs.
  }
  return 0;
}
