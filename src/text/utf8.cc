#include "text/utf8.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include <utf8proc.h>

#include "base/error.h"

namespace doppler {
namespace {

// No code point below this one has a combining class or is the second half of a composition, so
// text can be cut before any of them and normalised in parts.
constexpr char32_t kFirstCombining = 0x300;

// What a lead byte promises. The second byte has a narrower range after E0, ED, F0 and F4: it
// excludes overlong forms, surrogates and code points above U+10FFFF.
struct Lead {
  std::uint8_t length = 0;  // 0: not a lead byte
  std::uint8_t second_min = 0x80;
  std::uint8_t second_max = 0xBF;
};

Lead LeadOf(std::uint8_t byte) {
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {.length = 2};
  if (byte == 0xE0) return {.length = 3, .second_min = 0xA0};
  if (byte == 0xED) return {.length = 3, .second_max = 0x9F};
  if (byte < 0xF0) return {.length = 3};
  if (byte == 0xF0) return {.length = 4, .second_min = 0x90};
  if (byte < 0xF4) return {.length = 4};
  if (byte == 0xF4) return {.length = 4, .second_max = 0x8F};
  return {};
}

bool IsAscii8(const char* bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof(word));
  return (word & 0x8080808080808080u) == 0;
}

using CodePoints = std::vector<utf8proc_int32_t>;

void AppendDecomposed(char32_t code_point, CodePoints* out) {
  // A canonical decomposition has at most four code points.
  std::array<utf8proc_int32_t, 8> parts{};
  int boundary_class = 0;
  const auto count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(code_point), parts.data(), parts.size(),
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), &boundary_class);
  DOPPLER_CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()));
  out->insert(out->end(), parts.begin(), parts.begin() + count);
}

int CombiningClass(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

// Sorts each run of marks by combining class. utf8proc's own sort takes quadratic time on a long
// run, which a prompt could exploit.
void OrderMarks(CodePoints* points) {
  const auto is_mark = [](utf8proc_int32_t point) { return CombiningClass(point) != 0; };
  for (auto at = points->begin(); at != points->end();) {
    const auto first = std::find_if(at, points->end(), is_mark);
    at = std::find_if_not(first, points->end(), is_mark);
    std::stable_sort(first, at,
                     [](auto a, auto b) { return CombiningClass(a) < CombiningClass(b); });
  }
}

void AppendNfc(std::string_view text, std::string* out) {
  CodePoints points;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = DecodeUtf8(text, at);
    AppendDecomposed(step.code_point, &points);
    at += step.length;
  }
  OrderMarks(&points);
  const auto count =
      utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  DOPPLER_CHECK(count >= 0);
  for (const auto point : std::span(points).first(static_cast<std::size_t>(count))) {
    AppendUtf8(static_cast<char32_t>(point), out);
  }
}

}  // namespace

Utf8Step DecodeUtf8(std::string_view text, std::size_t at) {
  const std::uint8_t first = ByteAt(text, at);
  if (first < 0x80) return {.status = Utf8Status::kValid, .code_point = first, .length = 1};
  const Lead lead = LeadOf(first);
  if (lead.length == 0) return {.code_point = 0xFFFD};
  char32_t code_point = first & (0x7Fu >> lead.length);
  for (std::uint8_t i = 1; i < lead.length; ++i) {
    if (at + i == text.size()) {
      return {.status = Utf8Status::kIncomplete, .code_point = 0xFFFD, .length = i};
    }
    const std::uint8_t next = ByteAt(text, at + i);
    const bool fits =
        i == 1 ? next >= lead.second_min && next <= lead.second_max : next >= 0x80 && next <= 0xBF;
    if (!fits) return {.code_point = 0xFFFD, .length = i};
    code_point = (code_point << 6) | (next & 0x3Fu);
  }
  return {.status = Utf8Status::kValid, .code_point = code_point, .length = lead.length};
}

std::size_t InvalidUtf8Prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = DecodeUtf8(text, at);
    if (step.status == Utf8Status::kValid) break;
    at += step.length;
  }
  return at;
}

std::size_t ValidUtf8Prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size() && IsAscii8(text.data() + at)) {
      at += 8;
      continue;
    }
    const Utf8Step step = DecodeUtf8(text, at);
    if (step.status != Utf8Status::kValid) return at;
    at += step.length;
  }
  return at;
}

void AppendUtf8(char32_t code_point, std::string* out) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes.data());
  DOPPLER_CHECK(length > 0);
  for (const auto byte : std::span(bytes).first(static_cast<std::size_t>(length))) {
    out->push_back(static_cast<char>(byte));
  }
}

bool IsWordCharacter(char32_t code_point) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool IsWhitespace(char32_t code_point) {
  if ((code_point >= 0x09 && code_point <= 0x0D) || code_point == 0x85) return true;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

std::string NormalizeNfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t copied = 0;  // everything before it is in `out`
  std::size_t cut = 0;     // the last place where the text can be cut
  bool combining = false;  // whether something from kFirstCombining on stands after `cut`
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = DecodeUtf8(text, at);
    if (step.code_point < kFirstCombining) {
      if (combining) {
        AppendNfc(text.substr(cut, at - cut), &out);
        copied = at;
      }
      combining = false;
      cut = at;
    } else if (!combining) {
      combining = true;
      out.append(text.substr(copied, cut - copied));
    }
    at += step.length;
  }
  if (combining) {
    AppendNfc(text.substr(cut), &out);
  } else {
    out.append(text.substr(copied));
  }
  return out;
}

}  // namespace doppler
