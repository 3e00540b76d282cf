#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/alloc_guard.h"
#include "base/error.h"

namespace doppler {
namespace {

constexpr std::int32_t kMaxRepetitionWindow = 1 << 20;

template <typename Value>
[[noreturn]] void Refuse(const char* flag, Value value, const char* wanted) {
  throw UsageError(fmt::format("{} is {}; it must be {}", flag, value, wanted));
}

// `index` is the first logit that is not usable, or the number of logits if all are -infinity.
[[noreturn]] void ThrowBadLogits(std::span<const float> logits, std::size_t index) {
  const AllowAllocScope allow;
  if (index == logits.size()) {
    Throw("the model gave every token probability zero; its weights may be damaged, verify them");
  }
  Throw("the model produced {} as the logit of token {}; its weights may be damaged, verify them",
        std::isnan(logits[index]) ? "NaN" : "infinity", index);
}

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Unnormalised probability, at most 1. In double, so that the sum over a vocabulary is exact
// enough for top_p.
double Weight(float logit, float max_logit) {
  return std::exp(static_cast<double>(logit) - static_cast<double>(max_logit));
}

}  // namespace

void ValidateSamplerOptions(const SamplerOptions& options) {
  // Written so that NaN fails too.
  if (!(options.temperature >= 0 && std::isfinite(options.temperature))) {
    Refuse("--temperature", options.temperature, "0 (greedy) or more");
  }
  if (options.top_k < 0) Refuse("--top-k", options.top_k, "0 (off) or more");
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    Refuse("--top-p", options.top_p, "above 0 and at most 1 (off)");
  }
  if (!(options.min_p >= 0 && options.min_p <= 1)) {
    Refuse("--min-p", options.min_p, "from 0 (off) to 1");
  }
  if (!(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty))) {
    Refuse("--repetition-penalty", options.repetition_penalty, "above 0; 1 is off");
  }
  if (options.repetition_window < 0 || options.repetition_window > kMaxRepetitionWindow) {
    Refuse("--repetition-window", options.repetition_window, "from 0 (off) to 1048576");
  }
}

Sampler::Sampler(const SamplerOptions& options, std::size_t vocab_size)
    : options_(options), random_(options.seed) {
  ValidateSamplerOptions(options);
  DOPPLER_CHECK(vocab_size > 0);
  candidates_.resize(vocab_size);
  if (options.repetition_penalty == 1.0f) return;
  window_.resize(static_cast<std::size_t>(options.repetition_window));
  in_window_.resize(vocab_size);
}

void Sampler::Accept(TokenId token) {
  DOPPLER_CHECK(token >= 0 && static_cast<std::size_t>(token) < candidates_.size());
  if (window_.empty()) return;
  TokenId& slot = window_[accepted_ % window_.size()];
  if (accepted_ >= window_.size()) --in_window_[static_cast<std::size_t>(slot)];
  slot = token;
  ++in_window_[static_cast<std::size_t>(token)];
  ++accepted_;
}

TokenId Sampler::Sample(std::span<const float> logits) {
  DOPPLER_CHECK(logits.size() == candidates_.size());
  std::span<Candidate> kept = Collect(logits);
  if (options_.temperature == 0) return std::min_element(kept.begin(), kept.end(), Likelier)->id;
  kept = KeepTopK(kept);
  kept = KeepTopP(kept);
  kept = KeepMinP(kept);
  return Draw(kept);
}

// A total order: the ids differ.
bool Sampler::Likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

float Sampler::Penalized(float logit, std::size_t id) const {
  if (in_window_.empty() || in_window_[id] == 0) return logit;
  return logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
}

std::span<Sampler::Candidate> Sampler::Collect(std::span<const float> logits) {
  bool any = false;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (!(logits[id] < std::numeric_limits<float>::infinity())) ThrowBadLogits(logits, id);
    any = any || logits[id] > kMinusInfinity;
    // The penalty may overflow; the largest finite value keeps what comes after well defined.
    const float logit = std::min(Penalized(logits[id], id), std::numeric_limits<float>::max());
    candidates_[id] = {logit, static_cast<TokenId>(id)};
  }
  if (!any) ThrowBadLogits(logits, logits.size());
  return candidates_;
}

std::span<Sampler::Candidate> Sampler::KeepTopK(std::span<Candidate> candidates) const {
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (k == 0 || k >= candidates.size()) return candidates;
  const auto end = candidates.begin() + options_.top_k;
  std::nth_element(candidates.begin(), end, candidates.end(), Likelier);
  // Sorted, so that the draw does not depend on how nth_element left them.
  std::sort(candidates.begin(), end, Likelier);
  return candidates.first(k);
}

// Takes the likeliest from a heap until they have the share wanted, so that a large vocabulary is
// not sorted for the sake of a few tokens. They gather at the end, the likeliest last.
std::span<Sampler::Candidate> Sampler::KeepTopP(std::span<Candidate> candidates) const {
  if (options_.top_p >= 1) return candidates;
  const auto less_likely = [](const Candidate& a, const Candidate& b) { return Likelier(b, a); };
  std::make_heap(candidates.begin(), candidates.end(), less_likely);
  const float max_logit = candidates.front().logit;
  double total = 0;
  for (const Candidate& candidate : candidates) total += Weight(candidate.logit, max_logit);
  const double wanted = total * static_cast<double>(options_.top_p);
  double sum = 0;
  std::size_t left = candidates.size();
  while (left > 0 && (sum < wanted || left == candidates.size())) {
    std::pop_heap(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(left),
                  less_likely);
    --left;
    sum += Weight(candidates[left].logit, max_logit);
  }
  const std::span<Candidate> kept = candidates.subspan(left);
  std::reverse(kept.begin(), kept.end());
  return kept;
}

std::span<Sampler::Candidate> Sampler::KeepMinP(std::span<Candidate> candidates) const {
  if (options_.min_p <= 0) return candidates;
  const float max_logit = std::min_element(candidates.begin(), candidates.end(), Likelier)->logit;
  const double least = static_cast<double>(options_.min_p);
  const auto end = std::remove_if(
      candidates.begin(), candidates.end(),
      [&](const Candidate& candidate) { return Weight(candidate.logit, max_logit) < least; });
  return candidates.first(static_cast<std::size_t>(end - candidates.begin()));
}

TokenId Sampler::Draw(std::span<const Candidate> candidates) {
  const float max_logit = std::min_element(candidates.begin(), candidates.end(), Likelier)->logit;
  const auto weight = [&](const Candidate& candidate) {
    const double below = static_cast<double>(candidate.logit) - static_cast<double>(max_logit);
    return std::exp(below / static_cast<double>(options_.temperature));
  };
  double total = 0;
  for (const Candidate& candidate : candidates) total += weight(candidate);
  // The 53 high bits of the generator, as a number in [0, 1). The standard library's
  // distributions may differ from one library to the next.
  double rest = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  TokenId last = candidates.front().id;
  for (const Candidate& candidate : candidates) {
    const double share = weight(candidate);
    if (share == 0) continue;
    last = candidate.id;
    rest -= share;
    if (rest < 0) break;
  }
  return last;
}

}  // namespace doppler
