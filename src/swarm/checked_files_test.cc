#include "swarm/checked_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "io/file.h"
#include "swarm/sample_artifact.h"

namespace doppler {

using testing::HasSubstr;
using testing::IsEmpty;

namespace {

std::vector<CheckedFile> SampleRecord() {
  CheckedFile file;
  file.path = "shards/00001.bin";
  file.root.fill(0xab);
  file.stamp = {.size = 4096, .modified_ns = -1, .changed_ns = 5, .inode = 7, .device = ~0ull};
  CheckedFile manifest = file;
  manifest.path = "manifest.json";
  return {manifest, file};
}

// A record with another text in place of one in it, and its hash at the end.
std::string RecordProblem(const std::string& from, const std::string& to) {
  std::string text = FormatChecked(SampleRecord());
  text.resize(text.size() - 65);
  const std::size_t at = text.find(from);
  DOPPLER_CHECK(at != std::string::npos);
  text.replace(at, from.size(), to);
  text += ToHex(Sha256(std::as_bytes(std::span(text)))) + "\n";
  return MessageOf([&] { ParseChecked(text); });
}

}  // namespace

TEST(CheckedFilesTest, ReadsWhatItWrites) {
  EXPECT_EQ(ParseChecked(FormatChecked(SampleRecord())), SampleRecord());
  EXPECT_THAT(ParseChecked(FormatChecked({})), IsEmpty());
  const TempFolder temp;
  EXPECT_THAT(ReadChecked(temp.path()), IsEmpty());
  WriteChecked(temp.path(), SampleRecord());
  EXPECT_EQ(ReadChecked(temp.path()), SampleRecord());
}

TEST(CheckedFilesTest, RefusesAnyOtherText) {
  EXPECT_THAT(RecordProblem("files 1", "files 2"), HasSubstr("another kind"));
  EXPECT_THAT(RecordProblem(" 4096 ", " 04096 "), HasSubstr("a number in it is none"));
  EXPECT_THAT(RecordProblem(" 4096 ", " -4096 "), HasSubstr("a number in it is none"));
  EXPECT_THAT(RecordProblem(" 4096 ", " 18446744073709551616 "), HasSubstr("a number in it"));
  EXPECT_THAT(RecordProblem("ab", "AB"), HasSubstr("a hash in it is none"));
  EXPECT_THAT(RecordProblem("manifest.json", "../manifest.json"), HasSubstr("no file of a name"));
  EXPECT_THAT(RecordProblem("00001.bin\n", "00001.bin"), HasSubstr("not whole"));
  EXPECT_THAT(RecordProblem(" 7 ", " "), HasSubstr("not whole"));
}

// As a damaged disk or a write that was cut leave it.
TEST(CheckedFilesTest, ADamagedRecordIsAsNone) {
  const std::string text = FormatChecked(SampleRecord());
  const TempFolder temp;
  for (const std::string& damaged : {std::string(), text.substr(1), text.substr(0, text.size() - 1),
                                     text + "\n", std::string(text).replace(70, 1, "x")}) {
    WriteSampleFile(temp.path() / kCheckedCache, damaged);
    EXPECT_THAT(ReadChecked(temp.path()), IsEmpty()) << damaged;
  }
}

}  // namespace doppler
