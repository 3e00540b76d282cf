// A tokenizer.json of any bytes either loads or is refused with an Error; one that loads encodes
// and decodes. Run with -rss_limit_mb to see that memory stays bounded.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = doppler::Tokenizer::FromJson(json, "", "fuzz");
    const auto ids = tokenizer.Encode("It's 2026:  naïve\u0301 日本 😀\r\n\t<|x|>aaaaaaaaaaaa\xFF!");
    tokenizer.Decode(ids);
  } catch (const doppler::Error&) {
    // The answer to most inputs.
  }
  return 0;
}
