#include "io/child_process.h"

#include <array>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error_testing.h"
#include "io/file.h"

namespace doppler {

using std::chrono::milliseconds;
using testing::HasSubstr;

namespace {

// A program of the shell that speaks to descriptor 3.
std::filesystem::path Script(const TempFolder& temp, const std::string& body) {
  const std::filesystem::path path = temp.path() / "program";
  std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

std::string ReceiveAll(ChildProcess& child) {
  std::string all;
  while (child.Receive(milliseconds(10000), all) != ChildProcess::Received::kEnd) {
  }
  return all;
}

}  // namespace

TEST(ChildProcessTest, IsSpokenToOverItsSocket) {
  const TempFolder temp;
  ChildProcess child(Script(temp, "read line <&3; echo \"heard $line\" >&3; exit 7"));
  EXPECT_TRUE(child.Send("words\n"));
  EXPECT_EQ(ReceiveAll(child), "heard words\n");
  EXPECT_EQ(child.Join(milliseconds(10000)), "ended with status 7");
}

TEST(ChildProcessTest, SaysWhichSignalEndedIt) {
  const TempFolder temp;
  ChildProcess child(Script(temp, "kill -SEGV $$"));
  EXPECT_EQ(ReceiveAll(child), "");
  EXPECT_EQ(child.Join(milliseconds(10000)), "was ended by signal 11");
}

TEST(ChildProcessTest, IsEndedWhenItDoesNotEnd) {
  const TempFolder temp;
  ChildProcess child(Script(temp, "exec sleep 1000"));
  std::string nothing;
  EXPECT_EQ(child.Receive(milliseconds(1), nothing), ChildProcess::Received::kNothing);
  EXPECT_EQ(child.Join(milliseconds(1)), "was ended by signal 9");
}

TEST(ChildProcessTest, WaitsNoLongerThanUntilItIsWoken) {
  const TempFolder temp;
  ChildProcess child(Script(temp, "exec sleep 1000"));
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  ASSERT_EQ(::write(ends[1], "x", 1), 1);
  std::string nothing;
  // Without the wake the test would not end in time.
  EXPECT_EQ(child.Receive(std::chrono::hours(1), nothing, ends[0]),
            ChildProcess::Received::kNothing);
  for (const int end : ends) ::close(end);
}

TEST(ChildProcessTest, NamesAProgramThatIsMissing) {
  EXPECT_THAT(MessageOf([] { ChildProcess child("/no/such/program"); }),
              HasSubstr("'/no/such/program' is missing"));
}

}  // namespace doppler
