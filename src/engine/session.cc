#include "engine/session.h"

#include <algorithm>

#include "base/alloc_guard.h"
#include "base/error.h"

namespace doppler {
namespace {

std::span<const float> RowSpan(const ConstRows& rows, int row) {
  return {rows.Row(row), static_cast<std::size_t>(rows.cols)};
}

// Gives a session back its length when an exception passes through.
class Rollback {
 public:
  explicit Rollback(Session& session) : session_(session), length_(session.length()) {}
  ~Rollback() {
    if (!kept_) session_.Truncate(length_);
  }
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  void Keep() { kept_ = true; }

 private:
  Session& session_;
  const int length_;
  bool kept_ = false;
};

}  // namespace

Session::Session(Engine& engine) : engine_(engine), kv_(*engine.kv_pool_) {
  history_.reserve(static_cast<std::size_t>(context()));
}

void Session::Begin(std::span<const TokenId> tokens) {
  DOPPLER_CHECK(!tokens.empty());
  const int vocab_size = engine_.config().vocab_size;
  for (const TokenId token : tokens) {
    if (token < 0 || token >= vocab_size) {
      Throw("the token {} is not in the model's vocabulary of {}", token, vocab_size);
    }
  }
  const std::size_t room = static_cast<std::size_t>(context() - length());
  if (tokens.size() > room) {
    Throw(
        "{} more tokens do not fit in a context of {} that holds {} already; shorten the text or "
        "raise --context (the model was made for {})",
        tokens.size(), context(), length(), engine_.config().context_length);
  }
  const bool is_long = engine_.config().IsLongText(length() + static_cast<int>(tokens.size()));
  if (is_long != long_) {
    long_ = is_long;
    lost_ = length() > 0;
  }
  if (lost_) Replay();
  if (!kv_.Grow(length() + static_cast<int>(tokens.size()))) {
    Throw("no KV blocks are left for {} more tokens; end another session first", tokens.size());
  }
}

void Session::Step(Phase phase, std::span<const TokenId> tokens) {
  const Model& model = *engine_.model_;
  Forward(model, long_ ? model.long_rope : model.rope, phase, tokens, length(), kv_,
          *engine_.activations_);
  history_.insert(history_.end(), tokens.begin(), tokens.end());
}

std::size_t Session::Run(Phase phase, std::span<const TokenId> tokens) {
  const auto ubatch = static_cast<std::size_t>(engine_.plan().ubatch);
  std::size_t last = 0;
  while (!tokens.empty()) {
    last = std::min(ubatch, tokens.size());
    Step(phase, tokens.first(last));
    tokens = tokens.subspan(last);
  }
  return last;
}

void Session::Replay() {
  const std::vector<TokenId> kept = history_;
  history_.clear();
  try {
    if (!kv_.Grow(static_cast<int>(kept.size()))) {
      Throw("no KV blocks are left for {} tokens; end another session first", kept.size());
    }
    // As if they had been appended together.
    Run(Phase::kPrompt, kept);
  } catch (...) {
    history_.assign(kept.begin(), kept.end());
    throw;
  }
  lost_ = false;
}

std::span<const float> Session::Append(std::span<const TokenId> tokens) {
  Rollback rollback(*this);
  Begin(tokens);
  const NoAllocScope no_alloc;
  const std::size_t last = Run(PhaseOf(tokens.size()), tokens);
  rollback.Keep();
  return RowSpan(Logits(*engine_.model_, static_cast<int>(last) - 1, 1, *engine_.activations_), 0);
}

void Session::AppendAll(std::span<const TokenId> tokens, OnLogits on_logits) {
  Rollback rollback(*this);
  Begin(tokens);
  Activations& activations = *engine_.activations_;
  const auto ubatch = static_cast<std::size_t>(engine_.plan().ubatch);
  for (std::size_t begin = 0; begin < tokens.size(); begin += ubatch) {
    const int n = static_cast<int>(std::min(ubatch, tokens.size() - begin));
    Step(PhaseOf(tokens.size()), tokens.subspan(begin, static_cast<std::size_t>(n)));
    for (int first = 0; first < n; first += activations.limits.logit_rows) {
      const int rows = std::min(activations.limits.logit_rows, n - first);
      const ConstRows logits = Logits(*engine_.model_, first, rows, activations);
      for (int row = 0; row < rows; ++row) {
        on_logits(begin + static_cast<std::size_t>(first + row), RowSpan(logits, row));
      }
    }
  }
  rollback.Keep();
}

void Session::Truncate(int length) {
  DOPPLER_CHECK(length <= this->length());
  history_.resize(static_cast<std::size_t>(length));
  if (kv_.Holds(length)) {
    kv_.Shrink(length);
  } else {
    kv_.Shrink(0);
    lost_ = true;
  }
}

}  // namespace doppler
