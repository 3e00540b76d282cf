#include "text/pre_tokenizer.h"

#include <algorithm>
#include <cstddef>
#include <utility>

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

bool MarksStart(PrependScheme scheme, bool first) {
  return scheme == PrependScheme::kAlways || (scheme == PrependScheme::kFirst && first);
}

// `text` with `mark` for each space, and one before it if `marks_start`.
std::string WithMarks(std::string_view text, const std::string& mark, bool marks_start) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  if (marks_start && text.front() != ' ' && !text.starts_with(mark)) out = mark;
  for (const char c : text) {
    if (c == ' ') {
      out += mark;
    } else {
      out += c;
    }
  }
  return out;
}

// Gives on the pieces that begin where `mark` stands.
void SplitBefore(std::string_view text, std::string_view mark, PreTokenizer::Emit emit) {
  std::size_t begin = 0;
  for (std::size_t at = text.find(mark); at != std::string_view::npos;
       at = text.find(mark, at + mark.size())) {
    if (at > begin) emit(text.substr(begin, at - begin));
    begin = at;
  }
  emit(text.substr(begin));
}

}  // namespace

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct PreTokenizer::Run {
  MatchScratch* scratch;
  Emit emit;
};

void PreTokenizer::Add(Step step) {
  if (steps_.size() >= kMaxSteps) Throw("the pre-tokenizer has more than {} steps", kMaxSteps);
  steps_.push_back(std::move(step));
}

void PreTokenizer::AddSplit(std::string_view pattern, SplitBehavior behavior, bool invert) {
  Step step;
  step.pattern.emplace(pattern);
  step.behavior = behavior;
  step.invert = invert;
  Add(std::move(step));
}

void PreTokenizer::AddPrefixSpace() {
  Step step;
  step.kind = Kind::kPrefixSpace;
  Add(std::move(step));
}

void PreTokenizer::AddMetaspace(std::string mark, PrependScheme scheme, bool split) {
  if (mark.empty()) Throw("the pre-tokenizer 'Metaspace' has an empty replacement");
  Step step;
  step.kind = Kind::kMetaspaces;
  step.mark = std::move(mark);
  step.scheme = scheme;
  step.split = split;
  Add(std::move(step));
}

bool PreTokenizer::NeedsUtf8() const {
  return std::any_of(steps_.begin(), steps_.end(),
                     [](const Step& step) { return step.kind == Kind::kSplit; });
}

void PreTokenizer::Split(std::string_view text, bool first, MatchScratch* scratch,
                         Emit emit) const {
  if (!text.empty()) RunFrom(0, text, first, {scratch, emit});
}

void PreTokenizer::RunFrom(std::size_t step, std::string_view text, bool first,
                           const Run& run) const {
  if (step == steps_.size()) return run.emit(text);
  const auto next = [&](std::string_view piece) {
    RunFrom(step + 1, piece, first && piece.data() == text.data(), run);
  };
  const Step& now = steps_[step];
  switch (now.kind) {
    case Kind::kSplit:
      return SplitOnce(*now.pattern, now.behavior, now.invert, text, run.scratch, next);
    case Kind::kPrefixSpace:
      if (text.front() == ' ') return next(text);
      return RunFrom(step + 1, " " + std::string(text), first, run);
    case Kind::kMetaspaces: {
      const std::string marked = WithMarks(text, now.mark, MarksStart(now.scheme, first));
      if (!now.split) return RunFrom(step + 1, marked, first, run);
      return SplitBefore(marked, now.mark, [&](std::string_view piece) {
        RunFrom(step + 1, piece, first && piece.data() == marked.data(), run);
      });
    }
  }
}

}  // namespace doppler
