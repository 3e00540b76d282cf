#include "e2e/synth.h"

#include <gtest/gtest.h>

namespace doppler {

fs::path SynthModel(const fs::path& folder, const nlohmann::json& config,
                    const std::vector<std::string>& more) {
  const fs::path model = folder / "model";
  Overwrite(folder / "config.json", config.dump());
  // Without the files that say which token ends a text: none does.
  fs::create_directory(folder / "tokenizer");
  fs::copy(DataFolder() / "tokenizers" / "demo" / "tokenizer.json", folder / "tokenizer");
  std::vector<std::string> command = {
      DOPPLER_SYNTH, folder / "config.json", model,    "--quant", "q8_0",
      "--tokenizer", folder / "tokenizer",   "--pool", "1M"};
  command.insert(command.end(), more.begin(), more.end());
  const ProcessResult made = RunProcess(command);
  EXPECT_EQ(made.status, 0) << made.errors;
  return model;
}

}  // namespace doppler
