// Picks the next token from logits.
//
// The order is that of llama.cpp's default chain: repetition penalty, then top-k, top-p and min-p
// on the distribution at temperature 1, then the temperature. (Hugging Face divides by the
// temperature first, so that the same top_p keeps more tokens when it is hot.) The same seed,
// options and logits give the same tokens on every machine with the same floating-point results.
// A Sampler belongs to one sequence and one thread; after construction it does not allocate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "base/ids.h"

namespace doppler {

struct SamplerOptions {
  float temperature = 0.8f;         // 0: always the likeliest token, and the filters do not matter
  std::int32_t top_k = 0;           // keep the k likeliest; 0: all
  float top_p = 1.0f;               // keep the likeliest that together have this probability
  float min_p = 0.0f;               // keep those at least this fraction as likely as the likeliest
  float repetition_penalty = 1.0f;  // divides a positive logit, multiplies a negative one
  std::int32_t repetition_window = 64;  // number of last tokens that are penalised; 0: none
  std::uint64_t seed = 0;
};

// Throws UsageError that names the flag (--temperature, --top-k, ...) and what it takes.
void ValidateSamplerOptions(const SamplerOptions& options);

class Sampler {
 public:
  // Validates `options`.
  Sampler(const SamplerOptions& options, std::size_t vocab_size);

  // The next token. Of equally likely ones the lowest id goes first. Throws Error if the logits
  // hold NaN or +infinity, or nothing above -infinity. REQUIRES: logits.size() == vocab_size.
  TokenId Sample(std::span<const float> logits);

  // Tells the sampler that `token`, of the prompt or sampled, stands in the text: the penalty
  // looks at it. REQUIRES: 0 <= token < vocab_size.
  void Accept(TokenId token);

 private:
  struct Candidate {
    float logit = 0;
    TokenId id = 0;
  };

  static bool Likelier(const Candidate& a, const Candidate& b);
  float Penalized(float logit, std::size_t id) const;
  std::span<Candidate> Collect(std::span<const float> logits);
  std::span<Candidate> KeepTopK(std::span<Candidate> candidates) const;
  std::span<Candidate> KeepTopP(std::span<Candidate> candidates) const;
  std::span<Candidate> KeepMinP(std::span<Candidate> candidates) const;
  TokenId Draw(std::span<const Candidate> candidates);

  SamplerOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;     // [vocab_size]
  std::vector<TokenId> window_;           // [repetition_window], a ring
  std::vector<std::uint32_t> in_window_;  // [vocab_size], how often each token is in window_
  std::size_t accepted_ = 0;
};

}  // namespace doppler
