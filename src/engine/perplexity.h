// How well a model predicts a text.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/ids.h"
#include "engine/session.h"

namespace doppler {

struct PerplexityResult {
  double perplexity = 0;     // exp of the mean negative log likelihood
  double mean_nll = 0;       // nats per token
  std::uint64_t tokens = 0;  // predicted
  std::uint64_t rows = 0;
};

// Each row of `row_tokens` ids is a text of its own: its tokens 2 to row_tokens are predicted, each
// given all before it. `on_row` is told of every finished row. REQUIRES: ids.size() is a positive
// multiple of row_tokens, which is at least 2.
PerplexityResult Perplexity(Session& session, std::span<const TokenId> ids, int row_tokens,
                            const std::function<void(const PerplexityResult& so_far)>& on_row);

}  // namespace doppler
