#include "text/byte_alphabet.h"

#include <set>

#include <gtest/gtest.h>

namespace doppler {
namespace {

TEST(ByteAlphabet, SpellsEveryByteDifferentlyAndBack) {
  std::set<char32_t> characters;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    characters.insert(ByteToCharacter(static_cast<std::uint8_t>(byte)));
    std::string back;
    EXPECT_TRUE(SpelledToBytes(BytesToSpelled(one), &back));
    EXPECT_EQ(back, one);
  }
  EXPECT_EQ(characters.size(), 256u);
  EXPECT_EQ(*characters.begin(), U'!');
  EXPECT_EQ(*characters.rbegin(), U'\u0143');
}

TEST(ByteAlphabet, KnownSpellings) {
  EXPECT_EQ(BytesToSpelled(" the\n"), "ĠtheĊ");
  EXPECT_EQ(BytesToSpelled("\xC2\xAD"), "ÂŃ");
  EXPECT_EQ(BytesToSpelled("日"), "æĹ¥");
}

TEST(ByteAlphabet, RefusesOtherCharacters) {
  std::string bytes;
  for (const char* spelled : {"a b", "日", "\n", "\u00AD", "\u0144", "\xFF"}) {
    EXPECT_FALSE(SpelledToBytes(spelled, &bytes)) << spelled;
  }
}

}  // namespace
}  // namespace doppler
