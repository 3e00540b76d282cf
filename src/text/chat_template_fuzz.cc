// A template of any bytes either renders or is refused with an Error, in bounded time and memory.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using Json = nlohmann::ordered_json;
  static const Json messages = Json::parse(R"([{"role": "user", "content": "é 世界"},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "x": [1, 2.5, {}]}]}])");
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  try {
    const auto chat_template = doppler::ChatTemplate::Parse(source, "fuzz");
    chat_template.Render(messages, messages, nullptr, {});
  } catch (const doppler::Error&) {
    // The answer to most inputs.
  }
  return 0;
}
