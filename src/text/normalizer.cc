#include "text/normalizer.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "text/utf8.h"

namespace doppler {
namespace {

constexpr std::size_t kMaxNormalizerSteps = 64;

// A space becomes the three bytes of U+2581, so three times the longest text that is encoded. A
// short text must not become a long one: that would be a trap.
constexpr Bytes kMaxNormalized = 3 * kGiB;
constexpr Bytes kMaxGrowth = 16;
constexpr Bytes kAlwaysAllowed = 64 * kKiB;

std::size_t MostFor(std::string_view text) {
  return std::min(kMaxNormalized, kMaxGrowth * text.size() + kAlwaysAllowed);
}

[[noreturn]] void FailTooLong(std::size_t most) {
  Throw("the normalizer makes a text longer than {}; it is damaged", FormatSize(most));
}

std::string NfcOfAnyBytes(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t valid = ValidUtf8Prefix(text);
    out += NormalizeNfc(text.substr(0, valid));
    text.remove_prefix(valid);
    const std::size_t invalid = InvalidUtf8Prefix(text);
    out += text.substr(0, invalid);
    text.remove_prefix(invalid);
  }
  return out;
}

}  // namespace

std::string ReplaceAll(std::string_view text, const TextReplacement& replacement,
                       std::size_t most) {
  const auto& [from, to] = replacement;
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = 0; (at = text.find(from, done)) != std::string_view::npos;) {
    out += text.substr(done, at - done);
    out += to;
    if (out.size() > most) FailTooLong(most);
    done = at + from.size();
  }
  out += text.substr(done);
  if (out.size() > most) FailTooLong(most);
  return out;
}

void Normalizer::Add(Step step) {
  if (steps_.size() >= kMaxNormalizerSteps)
    Throw("the normalizer has more than {} steps", kMaxNormalizerSteps);
  steps_.push_back(std::move(step));
}

void Normalizer::AddNfc() { Add({.kind = Kind::kNfc, .replacement = {}}); }

void Normalizer::AddPrepend(std::string prefix) {
  Add({.kind = Kind::kPrepend, .replacement = {.from = {}, .to = std::move(prefix)}});
}

void Normalizer::AddReplace(TextReplacement replacement) {
  if (replacement.from.empty()) Throw("the normalizer 'Replace' replaces nothing");
  Add({.kind = Kind::kReplace, .replacement = std::move(replacement)});
}

std::string Normalizer::Apply(std::string_view text) const {
  const std::size_t most = MostFor(text);
  std::string out(text);
  for (const Step& step : steps_) {
    if (out.empty()) break;
    switch (step.kind) {
      case Kind::kNfc:
        out = NfcOfAnyBytes(out);
        break;
      case Kind::kPrepend:
        out.insert(0, step.replacement.to);
        if (out.size() > most) FailTooLong(most);
        break;
      case Kind::kReplace:
        out = ReplaceAll(out, step.replacement, most);
        break;
    }
  }
  return out;
}

}  // namespace doppler
