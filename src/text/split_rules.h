// The split patterns that a GGUF names (`tokenizer.ggml.pre`) instead of giving them; the names are
// those of llama.cpp's src/llama-vocab.cpp, the patterns those of the original tokenizer.json
// files.
#pragma once

#include <string_view>
#include <vector>

namespace doppler {

struct SplitRule {
  std::string_view name;
  std::vector<std::string_view> patterns;  // applied one after the other
  bool ignore_merges = false;
  bool add_bos = false;  // unless the GGUF says
  bool nfc = false;
  bool tiktoken = false;  // joins as tiktoken does; a file may leave the merges out
};

// Throws Error that lists the names that are known.
const SplitRule& SplitRuleByName(std::string_view name);

// That of Kimi K2's tokenization_kimi.py.
extern const std::string_view kKimiPattern;

}  // namespace doppler
