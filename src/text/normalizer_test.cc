#include "text/normalizer.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

Normalizer Metaspaces() {
  Normalizer out;
  out.AddPrepend("▁");
  out.AddReplace({.from = " ", .to = "▁"});
  return out;
}

TEST(Normalizer, WithoutStepsKeepsAll) {
  EXPECT_TRUE(Normalizer().empty());
  EXPECT_EQ(Normalizer().Apply(" a\xFF"), " a\xFF");
}

TEST(Normalizer, StepsFollowOneAnother) {
  EXPECT_EQ(Metaspaces().Apply("a  b"), "▁a▁▁b");
  EXPECT_EQ(Metaspaces().Apply(" a"), "▁▁a");
  EXPECT_EQ(Metaspaces().Apply("▁"), "▁▁");
  EXPECT_EQ(Metaspaces().Apply(""), "");
  EXPECT_EQ(Metaspaces().Apply("\xFF \xC3"), "▁\xFF▁\xC3");
}

TEST(Normalizer, NfcLeavesOtherBytesAlone) {
  Normalizer nfc;
  nfc.AddNfc();
  EXPECT_EQ(nfc.Apply("e\u0301\xFF\u0301 o\u0308\xE2\x96"), "é\xFF\u0301 ö\xE2\x96");
}

TEST(Normalizer, ReplacesFromTheLeft) {
  EXPECT_EQ(ReplaceAll("aaa", {.from = "aa", .to = "b"}, 10), "ba");
  EXPECT_EQ(ReplaceAll("aaa", {.from = "a", .to = ""}, 10), "");
  EXPECT_THROW(ReplaceAll("aaa", {.from = "a", .to = "bb"}, 5), Error);
  EXPECT_THROW(Normalizer().AddReplace({.from = "", .to = "b"}), Error);
}

TEST(Normalizer, GrowthIsBounded) {
  Normalizer out;
  for (int i = 0; i < 40; ++i) out.AddReplace({.from = "a", .to = "aa"});
  EXPECT_EQ(out.Apply("b"), "b");
  EXPECT_THROW(out.Apply("a"), Error);
  Normalizer many;
  for (int i = 0; i < 64; ++i) many.AddNfc();
  EXPECT_THROW(many.AddNfc(), Error);
}

}  // namespace
}  // namespace doppler
