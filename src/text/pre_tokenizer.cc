#include "text/pre_tokenizer.h"

#include <cstddef>

#include "base/error.h"

namespace doppler {
namespace {

// Each step calls the next, so their number bounds the stack.
constexpr std::size_t kMaxSteps = 64;

struct Piece {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool match = false;
};

bool Joins(SplitBehavior behavior, bool match_before, bool match) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
    case SplitBehavior::kRemoved:
      return false;
    case SplitBehavior::kMergedWithPrevious:
      return match && !match_before;
    case SplitBehavior::kMergedWithNext:
      return !match && match_before;
    case SplitBehavior::kContiguous:
      return match == match_before;
  }
  return false;
}

// Joins pieces as the behaviour wants and gives on those that hold something.
class Joiner {
 public:
  Joiner(SplitBehavior behavior, std::string_view text, PreTokenizer::Emit emit)
      : behavior_(behavior), text_(text), emit_(emit) {}

  void Add(Piece piece) {
    if (any_ && Joins(behavior_, pending_.match, piece.match)) {
      pending_.end = piece.end;
      pending_.match = piece.match;
    } else {
      Flush();
      pending_ = piece;
      any_ = true;
    }
  }

  void Flush() {
    if (pending_.begin == pending_.end) return;
    if (pending_.match && behavior_ == SplitBehavior::kRemoved) return;
    emit_(text_.substr(pending_.begin, pending_.end - pending_.begin));
  }

 private:
  SplitBehavior behavior_;
  std::string_view text_;
  PreTokenizer::Emit emit_;
  Piece pending_;
  bool any_ = false;
};

// The character after `at`, which an empty match must step over.
std::size_t NextBoundary(std::string_view text, std::size_t at) {
  do {
    ++at;
  } while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u);
  return at;
}

void SplitOnce(const SplitPattern& pattern, SplitBehavior behavior, bool invert,
               std::string_view text, MatchScratch* scratch, PreTokenizer::Emit emit) {
  Joiner joiner(behavior, text, emit);
  std::size_t done = 0;
  for (std::size_t from = 0; from <= text.size();) {
    const auto match = pattern.Find(text, from, scratch);
    if (!match) break;
    if (match->begin > done) joiner.Add({done, match->begin, invert});
    joiner.Add({match->begin, match->end, !invert});
    done = match->end;
    from = match->end > match->begin ? match->end : NextBoundary(text, match->end);
  }
  if (done < text.size()) joiner.Add({done, text.size(), invert});
  joiner.Flush();
}

}  // namespace

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void PreTokenizer::AddSplit(std::string_view pattern, SplitBehavior behavior, bool invert) {
  if (steps_.size() >= kMaxSteps) Throw("the pre-tokenizer has more than {} steps", kMaxSteps);
  steps_.push_back({SplitPattern(pattern), behavior, invert});
}

void PreTokenizer::AddPrefixSpace() {
  if (steps_.size() >= kMaxSteps) Throw("the pre-tokenizer has more than {} steps", kMaxSteps);
  steps_.emplace_back();
}

void PreTokenizer::Split(std::string_view text, MatchScratch* scratch, Emit emit) const {
  if (!text.empty()) RunFrom(0, text, scratch, emit);
}

void PreTokenizer::RunFrom(std::size_t step, std::string_view text, MatchScratch* scratch,
                           Emit emit) const {
  if (step == steps_.size()) return emit(text);
  const auto next = [&](std::string_view piece) { RunFrom(step + 1, piece, scratch, emit); };
  const Step& now = steps_[step];
  if (now.pattern) {
    SplitOnce(*now.pattern, now.behavior, now.invert, text, scratch, next);
  } else if (text.front() == ' ') {
    next(text);
  } else {
    next(" " + std::string(text));
  }
}

}  // namespace doppler
