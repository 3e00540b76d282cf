#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace doppler {
namespace {

// -log of the softmax probability of `token`, summed in double.
double NegativeLogLikelihood(std::span<const float> logits, TokenId token) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum) - logits[static_cast<std::size_t>(token)];
}

}  // namespace

PerplexityResult Perplexity(Session& session, std::span<const TokenId> ids, int row_tokens,
                            const std::function<void(const PerplexityResult& so_far)>& on_row) {
  const auto width = static_cast<std::size_t>(row_tokens);
  DOPPLER_CHECK(row_tokens >= 2 && !ids.empty() && ids.size() % width == 0);
  PerplexityResult result;
  double total = 0;
  for (std::size_t begin = 0; begin < ids.size(); begin += width) {
    const std::span<const TokenId> row = ids.subspan(begin, width);
    session.Truncate(0);
    session.AppendAll(row, [&](std::size_t index, std::span<const float> logits) {
      if (index + 1 == row.size()) return;
      total += NegativeLogLikelihood(logits, row[index + 1]);
      ++result.tokens;
    });
    ++result.rows;
    result.mean_nll = total / static_cast<double>(result.tokens);
    result.perplexity = std::exp(result.mean_nll);
    on_row(result);
  }
  return result;
}

}  // namespace doppler
