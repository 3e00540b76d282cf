#include "text/utf8.h"

#include <string>

#include <gtest/gtest.h>

namespace doppler {
namespace {

TEST(Utf8, DecodesWhatItAppends) {
  for (const char32_t point :
       {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xD7FFu, 0xE000u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string text;
    AppendUtf8(point, &text);
    const Utf8Step step = DecodeUtf8(text, 0);
    EXPECT_EQ(step.status, Utf8Status::kValid);
    EXPECT_EQ(step.code_point, point);
    EXPECT_EQ(step.length, text.size());
  }
}

TEST(Utf8, TellsInvalidFromIncomplete) {
  EXPECT_EQ(DecodeUtf8("\xE2\x82", 0).status, Utf8Status::kIncomplete);
  EXPECT_EQ(DecodeUtf8("\xE2\x82"
                       "a",
                       0)
                .status,
            Utf8Status::kInvalid);
  EXPECT_EQ(DecodeUtf8("\xE2\x82"
                       "a",
                       0)
                .length,
            2);
  EXPECT_EQ(DecodeUtf8("\xED\xA0\x80", 0).status, Utf8Status::kInvalid);  // a surrogate
  EXPECT_EQ(DecodeUtf8("\xF5\x80\x80\x80", 0).status, Utf8Status::kInvalid);
}

TEST(Utf8, FindsTheValidPrefix) {
  const std::string valid = "twelve bytes and é€😀 and more";
  EXPECT_EQ(ValidUtf8Prefix(valid), valid.size());
  EXPECT_EQ(ValidUtf8Prefix(valid + "\xC3"), valid.size());
  EXPECT_EQ(ValidUtf8Prefix("\x80" + valid), 0u);
  EXPECT_EQ(ValidUtf8Prefix(""), 0u);
  EXPECT_EQ(InvalidUtf8Prefix("\x80\xFF\xE2\x96" + valid), 4u);
  EXPECT_EQ(InvalidUtf8Prefix("\x80\xC3"), 2u);
  EXPECT_EQ(InvalidUtf8Prefix(valid), 0u);
}

TEST(Utf8, CharacterClasses) {
  for (const char32_t point : {U'a', U'é', U'日', U'7', U'_', U'\u0301'}) {
    EXPECT_TRUE(IsWordCharacter(point)) << std::uint32_t{point};
  }
  for (const char32_t point : {U' ', U'-', U'😀', U'½', U'\0'}) {
    EXPECT_FALSE(IsWordCharacter(point)) << std::uint32_t{point};
  }
  for (const char32_t point : {U' ', U'\t', U'\n', U'\u0085', U'\u00A0', U'\u2028', U'\u3000'}) {
    EXPECT_TRUE(IsWhitespace(point)) << std::uint32_t{point};
  }
  for (const char32_t point : {U'a', U'\u200B', U'\u180E', U'\0'}) {
    EXPECT_FALSE(IsWhitespace(point)) << std::uint32_t{point};
  }
}

TEST(NormalizeNfc, ComposesAndOrders) {
  EXPECT_EQ(NormalizeNfc("plain text"), "plain text");
  EXPECT_EQ(NormalizeNfc("e\u0301"), "é");
  EXPECT_EQ(NormalizeNfc("caffe\u0300 e cosi\u0300"), "caffè e così");
  EXPECT_EQ(NormalizeNfc("\u0301"), "\u0301");
  EXPECT_EQ(NormalizeNfc("q\u0307\u0323"), "q\u0323\u0307");  // below before above
  EXPECT_EQ(NormalizeNfc("\u1100\u1161\u11A8"), "각");
  EXPECT_EQ(NormalizeNfc("\u212B\u2126"), "ÅΩ");      // singletons
  EXPECT_EQ(NormalizeNfc("\u0958"), "\u0915\u093C");  // excluded from composition
  EXPECT_EQ(NormalizeNfc(std::string("e\0\u0301", 4)), std::string("e\0\u0301", 4));
}

TEST(NormalizeNfc, CutsTextOnlyWhereNothingComposes) {
  std::string nfd;
  std::string nfc;
  for (int i = 0; i < 50; ++i) {
    nfd += "nai\u0308ve “x” 日本 a\u0327\u0301; ";
    nfc += "naïve “x” 日本 á\u0327; ";
  }
  EXPECT_EQ(NormalizeNfc(nfd), NormalizeNfc(nfc));
  EXPECT_EQ(NormalizeNfc(NormalizeNfc(nfd)), NormalizeNfc(nfd));
}

TEST(NormalizeNfc, LongRunsOfMarksTakeNoQuadraticTime) {
  // 200,000 marks in the worst order: a quadratic sort would not end within the test's limit.
  std::string text = "a";
  for (int i = 0; i < 100'000; ++i) text += "\u0301\u0323";
  const std::string out = NormalizeNfc(text);
  EXPECT_EQ(out.substr(0, 3), "ạ");
}

}  // namespace
}  // namespace doppler
