#include "swarm/piece_check.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/file.h"
#include "swarm/artifact_torrent.h"
#include "swarm/sample_artifact.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class PieceCheckTest : public testing::Test {
 protected:
  PieceCheckTest() {
    WriteSampleArtifact(temp_.path());
    torrent_ = DescribeArtifact(temp_.path());
    FillLayers(temp_.path(), torrent_, [](Bytes) {});
  }

  std::uint32_t Index(const std::string& path) const {
    return static_cast<std::uint32_t>(torrent_.IndexOf(path));
  }
  std::size_t FirstPieceOf(const std::string& path) const {
    return FirstPieces(torrent_)[torrent_.IndexOf(path)];
  }

  TempFolder temp_;
  Torrent torrent_;
  const std::string expert_ = "shards/00003.bin";
};

TEST_F(PieceCheckTest, AllOfAWholeModelMayBeSent) {
  PieceCheck check(temp_.path(), "manifest.json", torrent_);
  for (std::size_t piece = 0; piece < PieceCount(torrent_); ++piece) {
    EXPECT_TRUE(check.MaySend(piece)) << piece;
  }
  EXPECT_THAT(check.TakeDamaged(), IsEmpty());
}

TEST_F(PieceCheckTest, ADamagedPieceIsTold) {
  std::string bytes = SampleBytes(3, 320 * kKiB);
  bytes[2 * kPieceBytes + 7] ^= 1;
  WriteSampleFile(temp_.path() / expert_, bytes);
  PieceCheck check(temp_.path(), "manifest.json", torrent_);
  const std::size_t first = FirstPieceOf(expert_);
  EXPECT_TRUE(check.MaySend(first));
  EXPECT_TRUE(check.MaySend(first + 1));
  EXPECT_FALSE(check.MaySend(first + 2));
  EXPECT_FALSE(check.MaySend(first + 2));
  EXPECT_FALSE(check.MaySend(first + 3));
  EXPECT_FALSE(check.MaySend(first));
  EXPECT_THAT(check.TakeDamaged(), ElementsAre(Index(expert_)));
  EXPECT_TRUE(check.MaySend(FirstPieceOf("shards/00004.bin")));
  EXPECT_THAT(check.TakeDamaged(), IsEmpty());
}

TEST_F(PieceCheckTest, AFileThatIsShortOrMissingIsDamaged) {
  fs::remove(temp_.path() / expert_);
  const std::string cut = "shards/00004.bin";
  fs::resize_file(temp_.path() / cut, 2 * kPieceBytes);
  PieceCheck check(temp_.path(), "manifest.json", torrent_);
  EXPECT_FALSE(check.MaySend(FirstPieceOf(expert_)));
  EXPECT_FALSE(check.MaySend(FirstPieceOf(expert_) + 1));
  EXPECT_TRUE(check.MaySend(FirstPieceOf(cut) + 1));
  EXPECT_FALSE(check.MaySend(FirstPieceOf(cut) + 2));
  EXPECT_THAT(check.TakeDamaged(), ElementsAre(Index(expert_), Index(cut)));
}

TEST_F(PieceCheckTest, APieceIsReadOnce) {
  PieceCheck check(temp_.path(), "manifest.json", torrent_);
  const std::size_t first = FirstPieceOf(expert_);
  ASSERT_TRUE(check.MaySend(first));
  WriteSampleFile(temp_.path() / expert_, SampleBytes(9, 320 * kKiB));
  EXPECT_TRUE(check.MaySend(first));
  EXPECT_FALSE(check.MaySend(first + 1));
}

TEST_F(PieceCheckTest, TheManifestIsWhereItIsSaid) {
  fs::rename(temp_.path() / "manifest.json", temp_.path() / "manifest.coming");
  PieceCheck check(temp_.path(), "manifest.coming", torrent_);
  EXPECT_TRUE(check.MaySend(FirstPieceOf("manifest.json")));
}

// What was never hashed is left to those who ask for it.
TEST_F(PieceCheckTest, WithoutHashesNothingIsWrong) {
  torrent_.files[Index(expert_)].layer.clear();
  WriteSampleFile(temp_.path() / expert_, SampleBytes(9, 320 * kKiB));
  PieceCheck check(temp_.path(), "manifest.json", torrent_);
  EXPECT_TRUE(check.MaySend(FirstPieceOf(expert_)));
}

}  // namespace
}  // namespace doppler
