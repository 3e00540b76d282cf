#include "swarm/info_fetch.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

constexpr std::size_t kPiece = 16384;

std::string DataMessage(std::size_t piece, const std::string& bytes) {
  return "d8:msg_typei1e5:piecei" + std::to_string(piece) + "e10:total_sizei1ee" + bytes;
}

}  // namespace

TEST(InfoFetchTest, PiecesAreAskedForInOrderAFewAtATime) {
  InfoFetch fetch;
  EXPECT_FALSE(fetch.HasBegun());
  fetch.Begin(2, 10 * kPiece + 5);
  EXPECT_EQ(fetch.peer_id(), 2);
  EXPECT_EQ(fetch.NextRequest(), "d8:msg_typei0e5:piecei0ee");
  for (int i = 1; i < 8; ++i) EXPECT_TRUE(fetch.NextRequest()) << i;
  EXPECT_FALSE(fetch.NextRequest());
  std::string whole;
  for (std::size_t i = 0; i < 11; ++i) {
    const std::string bytes(i < 10 ? kPiece : 5, static_cast<char>('a' + i));
    EXPECT_FALSE(fetch.IsComplete());
    fetch.Take(DataMessage(i, bytes));
    while (fetch.NextRequest()) {
    }
    whole += bytes;
  }
  EXPECT_TRUE(fetch.IsComplete());
  EXPECT_EQ(fetch.info(), whole);
}

TEST(InfoFetchTest, SizesAndNumbersThatCannotBeAreRefused) {
  InfoFetch fetch;
  EXPECT_THROW(fetch.Begin(2, 0), Error);
  EXPECT_THROW(fetch.Begin(2, kMostInfoBytes + 1), Error);
  EXPECT_THROW(fetch.Begin(0, 100), Error);
  EXPECT_THROW(fetch.Begin(256, 100), Error);
  EXPECT_FALSE(fetch.HasBegun());
}

TEST(InfoFetchTest, WhatWasNotAskedForIsRefused) {
  InfoFetch fetch;
  fetch.Begin(2, 2 * kPiece);
  EXPECT_THROW(fetch.Take(DataMessage(0, std::string(kPiece, 'x'))), Error) << "not asked yet";
  fetch.NextRequest();
  fetch.NextRequest();
  EXPECT_THROW(fetch.Take(DataMessage(1, std::string(kPiece, 'x'))), Error) << "out of order";
  EXPECT_THROW(fetch.Take(DataMessage(0, std::string(kPiece + 1, 'x'))), Error) << "too long";
  EXPECT_THROW(fetch.Take("d8:msg_typei2e5:piecei0ee"), Error) << "a refusal";
  EXPECT_THROW(fetch.Take(""), Error);
  EXPECT_EQ(fetch.bytes(), 0u);
}

TEST(InfoFetchTest, ItsOwnRequestsAreIgnored) {
  InfoFetch fetch;
  fetch.Begin(2, 3);
  fetch.NextRequest();
  fetch.Take("d8:msg_typei0e5:piecei0ee");
  fetch.Take(DataMessage(0, "abc"));
  EXPECT_EQ(fetch.info(), "abc");
}

}  // namespace doppler
