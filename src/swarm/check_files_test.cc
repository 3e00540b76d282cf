#include "swarm/check_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "io/file.h"
#include "swarm/artifact_torrent.h"
#include "swarm/sample_artifact.h"

namespace doppler {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

constexpr const char* kExpertShard = "shards/00002.bin";  // of five pieces

}  // namespace

class CheckFilesTest : public testing::Test {
 protected:
  CheckFilesTest() : folder_(temp_.path() / "m") {
    WriteSampleArtifact(folder_);
    torrent_ = DescribeArtifact(folder_);
    known_ = torrent_;
    FillLayers(folder_, known_, [](Bytes) {});
  }
  // What there is of the expert shard, with its layer known or not.
  FileCheck Check(const Torrent& torrent) {
    TorrentFile file = *torrent.Find(kExpertShard);
    return CheckFile(folder_ / kExpertShard, file, [](Bytes) {});
  }

  TempFolder temp_;
  std::filesystem::path folder_;
  Torrent torrent_;  // without layers
  Torrent known_;
};

TEST_F(CheckFilesTest, FindsAWholeFileAndItsLayer) {
  TorrentFile file = *torrent_.Find(kExpertShard);
  const FileCheck check = CheckFile(folder_ / kExpertShard, file, [](Bytes) {});
  EXPECT_TRUE(check.whole);
  EXPECT_EQ(check.leaves.size(), 20u);
  EXPECT_EQ(file.layer, known_.Find(kExpertShard)->layer);
}

TEST_F(CheckFilesTest, SeveralThreadsFindTheSame) {
  ThreadPool pool(3);
  TorrentFile file = *torrent_.Find(kExpertShard);
  const FileCheck check = CheckFile(folder_ / kExpertShard, file, pool);
  EXPECT_TRUE(check.whole);
  EXPECT_EQ(check.leaves, CheckFile(folder_ / kExpertShard, file, [](Bytes) {}).leaves);
  EXPECT_EQ(file.layer, known_.Find(kExpertShard)->layer);
  std::string bytes = SampleBytes(2, 320 * kKiB);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  WriteSampleFile(folder_ / kExpertShard, bytes);
  file = *known_.Find(kExpertShard);
  EXPECT_THAT(CheckFile(folder_ / kExpertShard, file, pool).pieces,
              ElementsAre(true, true, true, true, false));
  std::filesystem::remove(folder_ / kExpertShard);
  std::filesystem::create_directory(folder_ / kExpertShard);
  EXPECT_THAT(MessageOf([&] { CheckFile(folder_ / kExpertShard, file, pool); }),
              HasSubstr("not a plain file"));
}

TEST_F(CheckFilesTest, FindsPiecesWhereTheLayerIsKnown) {
  std::string bytes = SampleBytes(2, 320 * kKiB);
  bytes[kPieceBytes] = static_cast<char>(bytes[kPieceBytes] ^ 1);
  bytes.resize(3 * kPieceBytes + 100);
  WriteSampleFile(folder_ / kExpertShard, bytes);
  EXPECT_THAT(Check(known_).pieces, ElementsAre(true, false, true, false, false));
  EXPECT_EQ(BytesThere(*known_.Find(kExpertShard), Check(known_)), 2 * kPieceBytes);
  EXPECT_THAT(Check(torrent_).pieces, Each(false));
}

TEST_F(CheckFilesTest, TakesNothingFromAMissingOrEmptyFile) {
  WriteSampleFile(folder_ / kExpertShard, "");
  EXPECT_THAT(Check(known_).pieces, Each(false));
  std::filesystem::remove(folder_ / kExpertShard);
  EXPECT_THAT(Check(known_).pieces, Each(false));
}

TEST_F(CheckFilesTest, CutsOffWhatIsTooLong) {
  const std::string bytes = SampleBytes(2, 320 * kKiB);
  WriteSampleFile(folder_ / kExpertShard, bytes + "more");
  CutToSize(folder_ / kExpertShard, bytes.size());
  EXPECT_EQ(ReadTextFile(folder_ / kExpertShard), bytes);
  CutToSize(folder_ / kExpertShard, bytes.size() + 1);
  EXPECT_EQ(std::filesystem::file_size(folder_ / kExpertShard), bytes.size());
  CutToSize(folder_ / "none", 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "none"));
}

TEST_F(CheckFilesTest, RefusesALink) {
  std::filesystem::remove(folder_ / kExpertShard);
  std::filesystem::create_symlink(folder_ / "shards/00001.bin", folder_ / kExpertShard);
  EXPECT_THAT(MessageOf([this] { Check(known_); }), HasSubstr("is not a plain file"));
}

TEST_F(CheckFilesTest, ChecksAllFilesAndCountsBytes) {
  Bytes last = 0;
  const auto checks = CheckFiles(folder_, torrent_, "manifest.json", 2, [&last](Bytes done) {
    EXPECT_GT(done, last);
    last = done;
  });
  EXPECT_EQ(last, BytesOnDisk(folder_, torrent_));
  EXPECT_THAT(checks, Each(testing::Field(&FileCheck::whole, true)));
  EXPECT_EQ(HaveBits(checks), AllBits(torrent_));
  EXPECT_EQ(WriteTorrent(torrent_), WriteTorrent(known_));
}

TEST_F(CheckFilesTest, LooksForTheManifestUnderTheNameThatItHas) {
  const auto checks = CheckFiles(folder_, known_, "other.json", 1, [](Bytes) {});
  EXPECT_FALSE(checks.front().whole);
  EXPECT_EQ(HaveBits(checks).front(), 0x7f);
}

TEST_F(CheckFilesTest, AFileThatIsAsItWasIsNotReadAgain) {
  Bytes hashed = 0;
  const auto check = [&](Torrent& torrent, const std::vector<CheckedFile>& known) {
    hashed = 0;
    std::vector<FileCheck> checks =
        CheckChangedFiles(folder_, torrent, known, 2, [&](Bytes done, Bytes total) {
          hashed = done;
          EXPECT_LE(done, total);
        });
    for (const FileCheck& file : checks) EXPECT_TRUE(file.whole);
    return CheckedOf(torrent, checks);
  };
  const Bytes all = BytesOnDisk(folder_, known_);
  const std::vector<CheckedFile> record = check(known_, {});
  EXPECT_EQ(hashed, all);
  EXPECT_EQ(record.size(), known_.files.size());
  EXPECT_EQ(check(known_, record), record);
  EXPECT_EQ(hashed, 0u);
  // Without the layers a seed could not answer: small files need none.
  check(torrent_, record);
  EXPECT_EQ(hashed, 4 * 320 * kKiB + 132 * kKiB);
  // The same bytes and the same time of the last change, and yet written.
  const std::filesystem::path path = folder_ / kExpertShard;
  const auto time = std::filesystem::last_write_time(path);
  WriteSampleFile(path, SampleBytes(2, 320 * kKiB));
  std::filesystem::last_write_time(path, time);
  EXPECT_EQ(StampOf(path)->modified_ns, record[3].stamp.modified_ns);
  EXPECT_NE(check(known_, record), record);
  EXPECT_EQ(hashed, 320 * kKiB);
}

TEST_F(CheckFilesTest, ARecordIsOfOneRoot) {
  std::vector<CheckedFile> record =
      CheckedOf(known_, CheckFiles(folder_, known_, "manifest.json", 1, [](Bytes) {}));
  const auto expert = std::find_if(record.begin(), record.end(), [](const CheckedFile& file) {
    return file.path == kExpertShard;
  });
  ASSERT_NE(expert, record.end());
  expert->root[0] ^= 1;
  Bytes hashed = 0;
  CheckChangedFiles(folder_, known_, record, 1, [&](Bytes done, Bytes) { hashed = done; });
  EXPECT_EQ(hashed, 320 * kKiB);
}

}  // namespace doppler
