#include "swarm/bencode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"

namespace doppler {

using testing::HasSubstr;

TEST(BencodeTest, ReadsWhatItWrites) {
  BencodeWriter out;
  out.OpenDict().String("a").Integer(-7).String("b").OpenList().String("x").Integer(0).Close();
  const std::string text = out.Close().Take();
  EXPECT_EQ(text, "d1:ai-7e1:bl1:xi0eee");
  const BencodeValue value = ParseBencode(text);
  EXPECT_EQ(value.Find("a")->Integer("a"), -7);
  EXPECT_EQ(value.Find("b")->List("b").size(), 2u);
  EXPECT_EQ(value.Find("b")->raw(), "l1:xi0ee");
  EXPECT_EQ(value.Find("c"), nullptr);
}

TEST(BencodeTest, RefusesASecondSpelling) {
  for (const char* text : {"i01e", "i-0e", "i e", "ie", "i+1e", "02:ab", "d1:bi0e1:ai0ee",
                           "d1:ai0e1:ai0ee", "i1e ", "l", "d1:ae", "3:ab", "-1:a", ""}) {
    EXPECT_THAT(MessageOf([text] { ParseBencode(text); }), HasSubstr("not bencoded")) << text;
  }
}

TEST(BencodeTest, BoundsDepthAndNumber) {
  EXPECT_THAT(MessageOf([] { ParseBencode(std::string(100000, 'l')); }), HasSubstr("too deep"));
  std::string list = "l";
  for (int i = 0; i < (1 << 20) + 1; ++i) list += "le";
  EXPECT_THAT(MessageOf([&list] { ParseBencode(list + "e"); }), HasSubstr("too many"));
}

TEST(BencodeTest, NamesAValueOfAnotherKind) {
  const BencodeValue value = ParseBencode("i1e");
  EXPECT_THAT(MessageOf([&value] { value.String("name"); }), HasSubstr("'name' is not a string"));
}

}  // namespace doppler
