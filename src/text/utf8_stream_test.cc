#include "text/utf8_stream.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace doppler {
namespace {

std::string Whole(std::string_view bytes) {
  Utf8Stream stream;
  std::string out = stream.Push(bytes);
  return out + stream.Flush();
}

// Feeds `bytes` in the pieces that the bits of `cuts` make and returns the pieces that came out.
std::vector<std::string> InPieces(std::string_view bytes, unsigned cuts) {
  Utf8Stream stream;
  std::vector<std::string> out;
  std::string piece;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    piece += bytes[i];
    if ((cuts >> i & 1u) != 0) {
      out.push_back(stream.Push(piece));
      piece.clear();
    }
  }
  out.push_back(stream.Push(piece));
  out.push_back(stream.Flush());
  return out;
}

std::string Joined(const std::vector<std::string>& pieces) {
  std::string out;
  for (const std::string& piece : pieces) out += piece;
  return out;
}

const std::string kFffd = "\xEF\xBF\xBD";

TEST(Utf8Stream, EverySplitGivesTheSameTextInWholeCharacters) {
  for (const std::string text : {"aé€😀b", "日本\xF0\x9F",
                                 "\xE2\x82"
                                 "A\xFF\xC3\xA9",
                                 "😀é"}) {
    const std::string whole = Whole(text);
    for (unsigned cuts = 0; cuts < (1u << text.size()); ++cuts) {
      const std::vector<std::string> pieces = InPieces(text, cuts);
      ASSERT_EQ(Joined(pieces), whole) << cuts;
      // A piece that is valid by itself passes through a fresh stream unchanged.
      for (const std::string& piece : pieces) ASSERT_EQ(Whole(piece), piece) << cuts;
    }
  }
}

TEST(Utf8Stream, ValidTextPassesUnchanged) {
  const std::string text = std::string("a\0b", 3) + "é€😀\u07FF\u0800\uFFFF\U0010FFFF";
  EXPECT_EQ(Whole(text), text);
}

TEST(Utf8Stream, HoldsBackOnlyWhatCanStillBecomeACharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.Push("a\xF0\x9F"), "a");
  EXPECT_EQ(stream.Push("\x98"), "");
  EXPECT_EQ(stream.Push("\x80"), "😀");
  EXPECT_EQ(stream.Push("\xFF"), kFffd);              // never a lead byte
  EXPECT_EQ(stream.Push("\xE0\x80"), kFffd + kFffd);  // overlong: known at the second byte
  EXPECT_EQ(stream.Flush(), "");
}

TEST(Utf8Stream, ReplacesMaximalSubparts) {
  // The examples of The Unicode Standard, tables 3-8 to 3-11.
  EXPECT_EQ(Whole("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
                  "A"),
            kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + "A");
  EXPECT_EQ(Whole("\xED\xA0\x80\xED\xBF\xBF\xED\xAF"
                  "A"),
            kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + kFffd + "A");
  EXPECT_EQ(Whole("\xF4\x91\x92\x93\xFF"
                  "A\x80\xBF"
                  "B"),
            kFffd + kFffd + kFffd + kFffd + kFffd + "A" + kFffd + kFffd + "B");
  EXPECT_EQ(Whole("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
                  "A"),
            kFffd + kFffd + kFffd + kFffd + "A");
}

TEST(Utf8Stream, FlushEndsAnUnfinishedCharacterAndStartsAfresh) {
  Utf8Stream stream;
  EXPECT_EQ(stream.Push("\xE2\x82"), "");
  EXPECT_EQ(stream.Flush(), kFffd);
  EXPECT_EQ(stream.Flush(), "");
  EXPECT_EQ(stream.Push("\xAC"), kFffd);
}

}  // namespace
}  // namespace doppler
