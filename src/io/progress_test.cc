#include "io/progress.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "io/file.h"

namespace doppler {
namespace {

TEST(ProgressLine, SaysHowFarAndHowLong) {
  EXPECT_EQ(
      ProgressLine("converting", {.done = 12 * kMiB, .total = 48 * kMiB, .rate = 12.0 * kMiB}, 80),
      "converting      12.0 MiB of 48.0 MiB   25%   12.0 MiB/s   0:03 left");
  EXPECT_EQ(ProgressLine("checking",
                         {.done = 5, .total = 8000, .rate = 2, .unit = ProgressUnit::kItems}, 80),
            "checking        5 of 8000   0%   2.0/s   1:06:38 left");
}

TEST(ProgressLine, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(ProgressLine("reading", {.done = 512}, 80), "reading         512 B");
  EXPECT_EQ(ProgressLine("reading", {.done = 512, .rate = 100}, 80),
            "reading         512 B   100 B/s");
  EXPECT_EQ(ProgressLine("reading", {.done = 512, .total = 1024}, 80),
            "reading         512 B of 1.00 KiB   50%");
}

TEST(ProgressLine, IsDoneOnlyAtTheEnd) {
  const auto line = [](std::uint64_t done) {
    return ProgressLine("x", {.done = done, .total = 1000, .unit = ProgressUnit::kItems}, 80);
  };
  EXPECT_NE(line(999).find(" 99%"), std::string::npos);
  EXPECT_NE(line(1000).find(" 100%"), std::string::npos);
  EXPECT_NE(line(2000).find(" 100%"), std::string::npos);
}

TEST(ProgressLine, FitsTheWidth) {
  const ProgressState state{.done = 1024, .total = 2048};
  EXPECT_EQ(ProgressLine("a label that is long", state, 36),
            "a label   1.00 KiB of 2.00 KiB   50%");
  for (std::size_t width = 0; width < 60; ++width) {
    EXPECT_LE(ProgressLine("a label that is long", state, width).size(), width);
  }
  EXPECT_EQ(ProgressLine("\u00e9\u00e9", {.done = 1}, 8), "\u00e9    1 B")
      << "cut between characters";
}

class ProgressMeterTest : public testing::Test {
 protected:
  ProgressMeterTest() : out_(std::fopen((folder_.path() / "out").c_str(), "w")) {}
  ~ProgressMeterTest() override { std::fclose(out_); }

  ProgressOptions Options() {
    return {.out = out_, .enabled = true, .seconds = [this] { return now_; }};
  }
  std::string Output() {
    std::fflush(out_);
    return ReadTextFile(folder_.path() / "out");
  }
  std::size_t Draws() {
    const std::string output = Output();
    return static_cast<std::size_t>(std::count(output.begin(), output.end(), '\r'));
  }

  TempFolder folder_;
  std::FILE* out_;
  double now_ = 100;
};

TEST_F(ProgressMeterTest, DrawsAtMostTenTimesASecond) {
  ProgressMeter meter("x", 1000, Options());
  for (int millisecond = 0; millisecond < 1000; ++millisecond) {
    meter.Update(static_cast<std::uint64_t>(millisecond));
    now_ += 0.001;
  }
  EXPECT_GE(Draws(), 9u);
  EXPECT_LE(Draws(), 11u);
}

TEST_F(ProgressMeterTest, EndsItsLineOnce) {
  {
    ProgressMeter meter("copying", 4 * kMiB, Options());
    meter.Update(kMiB);
    now_ += 2;
    meter.Update(4 * kMiB);
    meter.Finish();
    meter.Finish();
    meter.Update(5 * kMiB);
  }
  const std::string output = Output();
  EXPECT_EQ(std::count(output.begin(), output.end(), '\n'), 1);
  EXPECT_TRUE(output.ends_with("4.00 MiB of 4.00 MiB   100%   2.00 MiB/s\x1b[K\n")) << output;
}

TEST_F(ProgressMeterTest, EndsItsLineWhenTheWorkFails) {
  { ProgressMeter meter("never drawn", 10, Options()); }
  EXPECT_EQ(Output(), "");
  {
    ProgressMeter meter("x", 10, Options());
    meter.Update(1);
  }
  EXPECT_TRUE(Output().ends_with("\n"));
}

TEST_F(ProgressMeterTest, SmoothsTheRate) {
  ProgressMeter meter("x", 100 * kMiB, Options());
  for (int second = 1; second <= 20; ++second) {
    now_ += 1;
    meter.Update(static_cast<std::uint64_t>(second) * kMiB);
  }
  EXPECT_TRUE(Output().ends_with("20%   1.00 MiB/s   1:20 left\x1b[K")) << Output();
  now_ += 0.125;
  meter.Update(30 * kMiB);
  EXPECT_TRUE(Output().ends_with("30%   5.43 MiB/s   0:13 left\x1b[K")) << Output();
}

TEST_F(ProgressMeterTest, IsSilentWithoutATerminal) {
  ProgressMeter meter("x", 10, {.out = out_});
  meter.Update(5);
  meter.Finish();
  EXPECT_EQ(Output(), "");
}

}  // namespace
}  // namespace doppler
