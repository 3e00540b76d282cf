#include "text/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <new>

#include <pcre2.h>

#include "base/error.h"
#include "text/regex_dialect.h"

namespace doppler {
namespace {

// The longest split pattern in use has some 500 bytes.
constexpr std::size_t kMaxPatternBytes = 16 * 1024;

// Linear work on the text in hand is what a sane pattern needs: a long run of spaces is walked
// through and back. Exponential work is stopped.
constexpr std::uint64_t kMatchLimitBase = 1'000'000;
constexpr std::uint64_t kMatchLimitPerByte = 20;

// Reserved, not used, until a pattern with a repeated group meets a very long word.
constexpr std::size_t kJitStackStart = 32 * 1024;
constexpr std::size_t kJitStackMax = 64 * 1024 * 1024;
constexpr std::uint32_t kHeapLimitKiB = 64 * 1024;

std::string MessageOf(int error) {
  std::array<PCRE2_UCHAR, 256> message{};
  pcre2_get_error_message(error, message.data(), message.size());
  return reinterpret_cast<const char*>(message.data());
}

PCRE2_SPTR Units(std::string_view text) {
  static constexpr PCRE2_UCHAR kEmpty[1] = {0};
  return text.empty() ? kEmpty : reinterpret_cast<PCRE2_SPTR>(text.data());
}

}  // namespace

void Pcre2Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }
void Pcre2Free::operator()(pcre2_real_match_data_8* data) const { pcre2_match_data_free(data); }
void Pcre2Free::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}
void Pcre2Free::operator()(pcre2_real_jit_stack_8* stack) const { pcre2_jit_stack_free(stack); }

MatchScratch::MatchScratch()
    : data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      stack_(pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr)) {
  if (data_ == nullptr || context_ == nullptr) throw std::bad_alloc();
  pcre2_set_heap_limit(context_.get(), kHeapLimitKiB);
  // Without a JIT there is no stack, and none is needed.
  if (stack_ != nullptr) pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
}

SplitPattern::SplitPattern(std::string_view pattern) : pattern_(pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    Throw("a split pattern has {} bytes, more than the {} that are supported", pattern.size(),
          kMaxPatternBytes);
  }
  const std::string dialect = ToPcre2Dialect(pattern);
  int error = 0;
  PCRE2_SIZE where = 0;
  // \C could stop inside a character.
  code_.reset(pcre2_compile(Units(dialect), dialect.size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &where,
                            nullptr));
  if (code_ == nullptr) {
    Throw("the split pattern '{}' does not compile: {} (byte {} of '{}')", pattern_,
          MessageOf(error), where, dialect);
  }
  // The pattern is interpreted where the JIT is missing or refuses it.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

std::optional<SplitPattern::Match> SplitPattern::Find(std::string_view text, std::size_t from,
                                                      MatchScratch* scratch) const {
  const std::uint64_t limit = kMatchLimitBase + kMatchLimitPerByte * text.size();
  pcre2_set_match_limit(scratch->context_.get(),
                        static_cast<std::uint32_t>(std::min<std::uint64_t>(
                            limit, std::numeric_limits<std::uint32_t>::max())));
  const int result = pcre2_match(code_.get(), Units(text), text.size(), from, PCRE2_NO_UTF_CHECK,
                                 scratch->data_.get(), scratch->context_.get());
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    Throw("the split pattern '{}' cannot be applied to a text of {} bytes: {}", pattern_,
          text.size(), MessageOf(result));
  }
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(scratch->data_.get());
  // \K can move the beginning past the end or before `from`.
  if (offsets[0] < from || offsets[1] < offsets[0]) {
    Throw("the split pattern '{}' matches backwards, which is not supported", pattern_);
  }
  return Match{offsets[0], offsets[1]};
}

}  // namespace doppler
