#include "engine/generate.h"

#include "base/alloc_guard.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/stopwatch.h"
#include "engine/stop_strings.h"
#include "io/machine.h"
#include "text/token_stream.h"

namespace doppler {
namespace {

// Times a phase and what the tiers did in it.
class PhaseClock {
 public:
  explicit PhaseClock(const Engine& engine)
      : engine_(engine),
        start_(Clock::now()),
        experts_(engine.expert_stats()),
        stream_(engine.stream_stats()),
        guesses_(engine.speculation_stats()),
        times_(engine.times()),
        major_faults_(MajorFaults()) {}

  void Stop(PhaseStats& phase) const {
    const PassTimes& now = engine_.times();
    phase.seconds = SecondsBetween(start_, Clock::now());
    phase.experts = engine_.expert_stats() - experts_;
    phase.stream = engine_.stream_stats() - stream_;
    phase.guesses = engine_.speculation_stats() - guesses_;
    phase.times = {.layers = now.layers - times_.layers,
                   .experts = now.experts - times_.experts,
                   .head = now.head - times_.head};
    phase.major_faults = MajorFaults() - major_faults_;
  }

 private:
  const Engine& engine_;
  const Clock::time_point start_;
  const ExpertCacheStats experts_;
  const WeightStreamStats stream_;
  const SpeculationStats guesses_;
  const PassTimes times_;
  const std::uint64_t major_faults_;
};

// Turns tokens into what is shown.
class TokenOutput {
 public:
  virtual ~TokenOutput() = default;
  // False once a stop string was found.
  virtual bool Push(TokenId token) = 0;
  virtual void Finish() = 0;
};

// Text that goes on from the prompt.
class TextOutput : public TokenOutput {
 public:
  TextOutput(const Tokenizer& tokenizer, const std::vector<std::string>& stop,
             const std::function<void(std::string_view)>& on_text)
      : tokenizer_(tokenizer), stream_(tokenizer, true), stop_(stop), on_text_(on_text) {}

  bool Push(TokenId token) override {
    if (tokenizer_.IsSpecial(token)) return true;
    Show(stop_.Push(stream_.Push(token)));
    return !stop_.stopped();
  }

  void Finish() override {
    Show(stop_.Push(stream_.Flush()));
    Show(stop_.Flush());
  }

 private:
  void Show(const std::string& text) {
    if (!text.empty()) on_text_(text);
  }

  const Tokenizer& tokenizer_;
  TokenStream stream_;
  StopStrings stop_;
  const std::function<void(std::string_view)>& on_text_;
};

// An answer in its parts.
class AnswerOutput : public TokenOutput {
 public:
  AnswerOutput(const Tokenizer& tokenizer, const std::vector<std::string>& stop,
               AnswerReader reader,
               const std::function<void(AnswerPart, std::string_view)>& on_part)
      : tokenizer_(tokenizer),
        stop_(stop),
        reader_(std::move(reader)),
        on_part_(on_part),
        begins_(reader_.has_marks()) {
    stream_.emplace(tokenizer, false);
  }

  bool Push(TokenId token) override {
    const std::optional<AnswerPart> part = reader_.Push(token);
    if (!part) return true;
    if (*part != part_) Begin(*part);
    Take(stream_->Push(token));
    return !stop_.stopped();
  }

  void Finish() override {
    Take(stream_->Flush());
    Show(stop_.Flush());
  }

 private:
  void Begin(AnswerPart part) {
    Finish();
    part_ = part;
    stream_.emplace(tokenizer_, false);
    begins_ = true;
  }

  void Take(std::string text) {
    if (begins_) text.erase(0, text.find_first_not_of('\n'));
    if (!text.empty()) begins_ = false;
    Show(part_ == AnswerPart::kAnswer ? stop_.Push(text) : text);
  }

  void Show(const std::string& text) {
    if (!text.empty()) on_part_(part_, text);
  }

  const Tokenizer& tokenizer_;
  StopStrings stop_;
  AnswerReader reader_;
  const std::function<void(AnswerPart, std::string_view)>& on_part_;
  AnswerPart part_ = AnswerPart::kAnswer;
  std::optional<TokenStream> stream_;  // of this part
  bool begins_;                        // nothing of this part has been shown
};

TokenId SampleNext(Sampler& sampler, std::span<const float> logits) {
  const NoAllocScope no_alloc;
  const TokenId token = sampler.Sample(logits);
  sampler.Accept(token);
  return token;
}

// The loop of decode: one token is sampled, shown and appended at a time.
StopReason Decode(Session& session, const Engine& engine, std::span<const float> logits,
                  const GenerateOptions& options, Sampler& sampler, TokenOutput& output,
                  GenerateResult& result) {
  std::vector<TokenId>& tokens = result.tokens;
  const auto limit = static_cast<std::size_t>(options.max_tokens);
  for (;;) {
    if (options.max_tokens >= 0 && tokens.size() >= limit) return StopReason::kMaxTokens;
    if (Interrupted()) return StopReason::kInterrupted;
    const TokenId token = SampleNext(sampler, logits);
    if (engine.tokenizer().IsEos(token)) return StopReason::kEndOfText;
    tokens.push_back(token);
    if (!output.Push(token)) return StopReason::kStopString;
    if (session.length() == session.context()) return StopReason::kContextFull;
    // The last token's own logits are not needed.
    if (options.max_tokens >= 0 && tokens.size() >= limit) return StopReason::kMaxTokens;
    logits = session.Append({&tokens.back(), 1});
    ++result.decode.tokens;
  }
}

GenerateResult GenerateInto(TokenOutput& output, Session& session, const Engine& engine,
                            std::span<const TokenId> prompt, const GenerateOptions& options) {
  Sampler sampler(options.sampler, static_cast<std::size_t>(engine.config().vocab_size));
  GenerateResult result;

  const PhaseClock prefill(engine);
  std::span<const float> logits = session.Append(prompt);
  for (const TokenId token : prompt) sampler.Accept(token);
  result.prefill.tokens = prompt.size();
  prefill.Stop(result.prefill);

  const PhaseClock decode(engine);
  try {
    result.stop = Decode(session, engine, logits, options, sampler, output, result);
  } catch (const InterruptedError&) {
    result.stop = StopReason::kInterrupted;
  }
  decode.Stop(result.decode);
  output.Finish();
  return result;
}

}  // namespace

std::string_view StopReasonName(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfText:
      return "end_of_text";
    case StopReason::kMaxTokens:
      return "max_tokens";
    case StopReason::kStopString:
      return "stop_string";
    case StopReason::kContextFull:
      return "context_full";
    case StopReason::kInterrupted:
      return "interrupted";
  }
  return "";
}

GenerateResult Generate(Session& session, const Engine& engine, std::span<const TokenId> prompt,
                        const GenerateOptions& options,
                        const std::function<void(std::string_view)>& on_text) {
  TextOutput output(engine.tokenizer(), options.stop, on_text);
  return GenerateInto(output, session, engine, prompt, options);
}

GenerateResult GenerateAnswer(Session& session, const Engine& engine,
                              std::span<const TokenId> prompt, const GenerateOptions& options,
                              AnswerReader reader,
                              const std::function<void(AnswerPart, std::string_view)>& on_part) {
  AnswerOutput output(engine.tokenizer(), options.stop, std::move(reader), on_part);
  return GenerateInto(output, session, engine, prompt, options);
}

}  // namespace doppler
