#include "io/memory_pressure.h"

#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "io/machine_fake_tree.h"

namespace doppler {
namespace {

constexpr std::string_view kCalm =
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

TEST(MemoryPressure, ReadsBothLines) {
  const MemoryPressure pressure = ParseMemoryPressure(
      "some avg10=1.53 avg60=0.87 avg300=0.10 total=157656722\n"
      "full avg10=100.00 avg60=0.41 avg300=0.08 total=18446744073709551615\n",
      "here");
  EXPECT_EQ(pressure.some.average_10, 1.53);
  EXPECT_EQ(pressure.some.average_60, 0.87);
  EXPECT_EQ(pressure.some.average_300, 0.1);
  EXPECT_EQ(pressure.some.total_microseconds, 157656722u);
  ASSERT_TRUE(pressure.full);
  EXPECT_EQ(pressure.full->average_10, 100);
  EXPECT_EQ(pressure.full->total_microseconds, 18446744073709551615u);
}

TEST(MemoryPressure, PassesOverWhatItDoesNotKnow) {
  const MemoryPressure pressure = ParseMemoryPressure(
      "irq avg10=x\n\nsome avg10=0.00 avg60=0.00 avg300=0.00 total=7 peak=9\n", "here");
  EXPECT_EQ(pressure.some.total_microseconds, 7u);
  EXPECT_FALSE(pressure.full);
}

TEST(MemoryPressure, SaysWhatIsWrong) {
  const auto problem = [](std::string_view text) {
    return MessageOf([text] { ParseMemoryPressure(text, "the/file"); });
  };
  EXPECT_EQ(problem(""), "the/file: there is no line 'some'; is it a pressure file of Linux?");
  EXPECT_EQ(problem("full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
            "the/file: there is no line 'some'; is it a pressure file of Linux?");
  EXPECT_EQ(problem("some avg10=0.00 avg60=0.00 total=0\n"),
            "the/file: the line 'some' has no avg300; is it a pressure file of Linux?");
  EXPECT_EQ(problem("some avg10=0.00 avg60=0.00 avg300=0.00 total=0 total=0\n"),
            "the/file: the line 'some' has total twice; is it a pressure file of Linux?");
  EXPECT_EQ(problem(std::string(kCalm) + std::string(kCalm)),
            "the/file: the line 'some' is there twice; is it a pressure file of Linux?");
  EXPECT_EQ(problem("some avg10=0.00 avg60=0.00 avg300=0.00 total=-1\n"),
            "the/file: '-1' is no value for total of the line 'some'; is it a pressure file of "
            "Linux?");
  for (const char* percent : {"", "100.01", "-1", "nan", "1e1", "5x", "0x1"}) {
    EXPECT_EQ(problem(fmt::format("some avg10={} avg60=0 avg300=0 total=0\n", percent)),
              fmt::format("the/file: '{}' is no value for avg10 of the line 'some'; "
                          "is it a pressure file of Linux?",
                          percent));
  }
}

TEST(MemoryPressureFile, IsTheMachinesWithoutGroups) {
  const FakeTree tree;
  EXPECT_FALSE(FindMemoryPressureFile(tree.root()));
  tree.Add("/proc/pressure/memory", kCalm);
  EXPECT_EQ(FindMemoryPressureFile(tree.root()), tree.At("/proc/pressure/memory"));
  EXPECT_EQ(ReadMemoryPressure(tree.At("/proc/pressure/memory")).some.total_microseconds, 0u);
}

// What a kernel does that counts nothing: the file is there and reading it fails.
TEST(MemoryPressureFile, IsNoneThatCannotBeRead) {
  const FakeTree tree;
  std::filesystem::create_directories(tree.At("/proc/pressure/memory"));
  EXPECT_FALSE(FindMemoryPressureFile(tree.root()));
  EXPECT_THROW(ReadMemoryPressure(tree.At("/proc/pressure/memory")), Error);
}

TEST(MemoryPressureFile, IsThatOfTheGroupWhichLimits) {
  FakeTree tree;
  tree.Add("/proc/pressure/memory", kCalm);
  tree.Mount("/", "/sys/fs/cgroup", "cgroup2", "cgroup2", "rw,nsdelegate");
  tree.Add("/proc/self/cgroup", "0::/pod/container\n");
  for (const char* group : {"/sys/fs/cgroup/pod", "/sys/fs/cgroup/pod/container"}) {
    tree.Add(std::string(group) + "/memory.max", "max\n");
    tree.Add(std::string(group) + "/memory.current", "1000\n");
    tree.Add(std::string(group) + "/memory.pressure", kCalm);
  }
  // No group limits anything, so that memory is short only when the machine's is.
  EXPECT_EQ(FindMemoryPressureFile(tree.root()), tree.At("/proc/pressure/memory"));
  tree.Add("/sys/fs/cgroup/pod/memory.max", "5000\n");
  EXPECT_EQ(FindMemoryPressureFile(tree.root()), tree.At("/sys/fs/cgroup/pod/memory.pressure"));
  tree.Add("/sys/fs/cgroup/pod/container/memory.high", "2000\n");
  EXPECT_EQ(FindMemoryPressureFile(tree.root()),
            tree.At("/sys/fs/cgroup/pod/container/memory.pressure"));
  // A group for which the kernel does not count.
  std::filesystem::remove(tree.At("/sys/fs/cgroup/pod/container/memory.pressure"));
  EXPECT_EQ(FindMemoryPressureFile(tree.root()), tree.At("/proc/pressure/memory"));
}

TEST(MemoryPressureFile, IsTheMachinesInAVersion1Group) {
  FakeTree tree;
  tree.Add("/proc/pressure/memory", kCalm);
  tree.Mount("/", "/sys/fs/cgroup/memory", "cgroup", "cgroup", "rw,memory");
  tree.Add("/proc/self/cgroup", "4:memory:/\n");
  tree.Add("/sys/fs/cgroup/memory/memory.limit_in_bytes", "5000\n");
  EXPECT_EQ(FindMemoryPressureFile(tree.root()), tree.At("/proc/pressure/memory"));
}

}  // namespace
}  // namespace doppler
