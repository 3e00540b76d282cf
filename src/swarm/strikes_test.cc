#include "swarm/strikes.h"

#include <string>

#include <gtest/gtest.h>

namespace doppler {
namespace {

void FailTogether(Strikes<std::string>& strikes, int first_piece, int pieces) {
  for (int piece = first_piece; piece < first_piece + pieces; ++piece) {
    strikes.Came(piece, "honest");
    strikes.Came(piece, "liar");
    strikes.Failed(piece);
  }
}

}  // namespace

TEST(StrikesTest, WhoSentAPieceAloneIsNotPardoned) {
  Strikes<std::string> strikes;
  FailTogether(strikes, 0, 4);
  strikes.Came(9, "liar");
  strikes.Came(9, "liar");
  strikes.Failed(9);
  EXPECT_FALSE(strikes.Pardons("liar"));
  EXPECT_TRUE(strikes.Pardons("honest"));
}

TEST(StrikesTest, ABanForFewFailuresHasOtherReasons) {
  Strikes<std::string> strikes;
  FailTogether(strikes, 0, 3);
  EXPECT_FALSE(strikes.Pardons("honest")) << "libtorrent knows which block was wrong";
  EXPECT_FALSE(strikes.Pardons("somebody"));
}

TEST(StrikesTest, PardonsEnd) {
  Strikes<std::string> strikes;
  for (int ban = 0; ban < 3; ++ban) {
    FailTogether(strikes, 4 * ban, 4);
    EXPECT_EQ(strikes.Pardons("honest"), ban < 2) << ban;
  }
}

TEST(StrikesTest, APieceThatPassedIsForgotten) {
  Strikes<std::string> strikes;
  strikes.Came(1, "honest");
  strikes.Passed(1);
  strikes.Came(1, "liar");
  strikes.Failed(1);
  strikes.Failed(1);
  for (int piece = 2; piece < 6; ++piece) {
    strikes.Came(piece, "honest");
    strikes.Came(piece, "liar");
    strikes.Failed(piece);
  }
  EXPECT_TRUE(strikes.Pardons("honest"));
  EXPECT_FALSE(strikes.Pardons("liar"));
}

}  // namespace doppler
