// One mutable timeline of tokens with its KV.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "engine/engine.h"
#include "tier/kv_pool.h"

namespace doppler {

class Session {
 public:
  // Room for the plan's context. The engine outlives the session.
  explicit Session(Engine& engine);

  // Appends tokens, in ubatches, and returns the logits that follow the last one, [vocab_size],
  // valid until the next call. One token is a decode step. Nothing is allocated. Throws Error if
  // the context is full, a token is not in the vocabulary, or an expert cannot be read; then the
  // session stands where it stood before. REQUIRES: tokens is not empty.
  std::span<const float> Append(std::span<const TokenId> tokens);

  // The same, and shows the logits that follow each of the tokens. (A model with two lists of
  // rotary factors computes all of them with the list for the text's length at the end.)
  using OnLogits = FunctionRef<void(std::size_t index, std::span<const float> logits)>;
  void AppendAll(std::span<const TokenId> tokens, OnLogits on_logits);

  // Tokens so far.
  int length() const { return static_cast<int>(history_.size()); }
  // Tokens there is room for in all.
  int context() const { return kv_.max_tokens(); }
  // Forgets all tokens from `length` on. A layer with a sliding window may have forgotten what the
  // tokens before see; then the next append first computes the kept tokens again.
  // REQUIRES: length <= length().
  void Truncate(int length);

 private:
  // Depends on how many tokens are appended, not on the size of an ubatch, which depends on the
  // budget.
  static Phase PhaseOf(std::size_t tokens) { return tokens > 1 ? Phase::kPrompt : Phase::kDecode; }

  void Begin(std::span<const TokenId> tokens);
  // Computes the KV of the tokens so far anew: Truncate could not keep it, or the text has become
  // long or short for a model with two lists of rotary factors.
  void Replay();
  // Runs tokens at the end of the timeline in ubatches; returns the size of the last one.
  std::size_t Run(Phase phase, std::span<const TokenId> tokens);
  // Runs one ubatch at the end of the timeline.
  void Step(Phase phase, std::span<const TokenId> tokens);

  Engine& engine_;
  KvTable kv_;
  std::vector<TokenId> history_;  // the tokens so far
  bool long_ = false;             // the KV has the rotary angles of a long text
  bool lost_ = false;             // the KV of the tokens so far is not there
};

}  // namespace doppler
