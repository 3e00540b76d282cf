// doppler_render: what our engine makes of conversations, to compare it with others.
//
//   doppler_render TEMPLATE CASES > TEXTS
//
// CASES has a JSON object in each line: `messages`, `tools` (may be null), `variables` (an object),
// `add_generation_prompt`, `bos_token`, `eos_token`. For each a line is printed, {"text": ...} or,
// where the template refuses the conversation, {"error": ...}.
#include <exception>
#include <iostream>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/file.h"
#include "text/chat_template.h"

namespace {

using Json = nlohmann::ordered_json;

Json RenderCase(const doppler::ChatTemplate& chat_template, const Json& item) {
  doppler::ChatRenderOptions options;
  options.add_generation_prompt = item.at("add_generation_prompt").get<bool>();
  options.bos_token = item.at("bos_token").get<std::string>();
  options.eos_token = item.at("eos_token").get<std::string>();
  try {
    return {{"text", chat_template.Render(item.at("messages"), item.at("tools"),
                                          item.at("variables"), options)}};
  } catch (const doppler::Error& error) {
    return {{"error", error.what()}};
  }
}

void Run(const std::string& template_file, const std::string& cases_file) {
  const auto chat_template =
      doppler::ChatTemplate::Parse(doppler::ReadTextFile(template_file), template_file);
  std::istringstream cases(doppler::ReadTextFile(cases_file));
  for (std::string line; std::getline(cases, line);) {
    std::cout << RenderCase(chat_template, Json::parse(line)).dump() << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: doppler_render TEMPLATE CASES\n");
    return 2;
  }
  try {
    Run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "doppler_render: {}\n", error.what());
    return 1;
  }
  return 0;
}
