#include "io/cgroup.h"

#include <gtest/gtest.h>

#include "io/machine_fake_tree.h"

namespace doppler {
namespace {

constexpr std::string_view kNone1 = "9223372036854771712\n";  // version 1, pages of 4 KiB

void AddVersion1(const FakeTree& tree, const std::string& group, std::string_view limit,
                 std::string_view usage, std::string_view inactive_file = "0") {
  tree.Add(group + "/memory.limit_in_bytes", limit);
  tree.Add(group + "/memory.usage_in_bytes", usage);
  tree.Add(group + "/memory.stat", fmt::format("inactive_file 7\ntotal_cache 5\n"
                                               "total_inactive_file {}\n",
                                               inactive_file));
}

void AddVersion2(const FakeTree& tree, const std::string& group, std::string_view limit,
                 std::string_view high, std::string_view current) {
  tree.Add(group + "/memory.max", limit);
  tree.Add(group + "/memory.high", high);
  tree.Add(group + "/memory.current", current);
  tree.Add(group + "/memory.stat", "anon 5\ninactive_file 100\nactive_file 30\n");
}

FakeTree& MountVersion1(FakeTree& tree, std::string_view group) {
  tree.Mount("/", "/sys/fs/cgroup/cpu", "cgroup", "cgroup", "rw,cpu,cpuacct");
  tree.Mount("/", "/sys/fs/cgroup/memory", "cgroup", "cgroup", "rw,memory");
  tree.Add("/proc/self/cgroup", fmt::format("4:memory:{0}\n3:cpu,cpuacct:{0}\n0::/\n", group));
  return tree;
}

FakeTree& MountVersion2(FakeTree& tree, std::string_view group) {
  tree.Mount("/", "/sys/fs/cgroup", "cgroup2", "cgroup2", "rw,nsdelegate");
  tree.Add("/proc/self/cgroup", fmt::format("0::{}\n", group));
  return tree;
}

TEST(CgroupMemory, NothingWithoutGroups) {
  FakeTree tree;
  EXPECT_FALSE(DetectCgroupMemory(tree.root()));
  tree.Add("/proc/self/cgroup", "0::/\n");
  EXPECT_FALSE(DetectCgroupMemory(tree.root()));
}

TEST(CgroupMemory, Version1CountsNoCacheThatCanBeDropped) {
  FakeTree tree;
  MountVersion1(tree, "/job");
  AddVersion1(tree, "/sys/fs/cgroup/memory/job", "1000000\n", "400000\n", "150000");
  AddVersion1(tree, "/sys/fs/cgroup/memory", kNone1, "900000\n");
  const auto memory = DetectCgroupMemory(tree.root());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->version, 1);
  EXPECT_EQ(memory->path, tree.At("/sys/fs/cgroup/memory/job"));
  EXPECT_EQ(memory->limit, 1000000u);
  EXPECT_EQ(memory->used_unreclaimable, 250000u);
  EXPECT_EQ(memory->room(), 750000u);
}

TEST(CgroupMemory, Version1LimitAboveTheGroup) {
  FakeTree tree;
  MountVersion1(tree, "/pod/container");
  AddVersion1(tree, "/sys/fs/cgroup/memory/pod/container", kNone1, "100\n");
  AddVersion1(tree, "/sys/fs/cgroup/memory/pod", "5000\n", "4000\n");
  AddVersion1(tree, "/sys/fs/cgroup/memory", kNone1, "9000\n");
  const auto memory = DetectCgroupMemory(tree.root());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->path, tree.At("/sys/fs/cgroup/memory/pod"));
  EXPECT_EQ(memory->room(), 1000u);
}

TEST(CgroupMemory, TheLeastRoomCountsNotTheSmallestLimit) {
  FakeTree tree;
  MountVersion1(tree, "/pod/container");
  AddVersion1(tree, "/sys/fs/cgroup/memory/pod/container", "3000\n", "100\n");
  AddVersion1(tree, "/sys/fs/cgroup/memory/pod", "5000\n", "4800\n");
  const auto memory = DetectCgroupMemory(tree.root());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->limit, 5000u);
  EXPECT_EQ(memory->room(), 200u);
}

TEST(CgroupMemory, Version1KnowsLimitsAboveTheMount) {
  FakeTree tree;
  MountVersion1(tree, "/");
  AddVersion1(tree, "/sys/fs/cgroup/memory", kNone1, "100\n");
  tree.Add("/sys/fs/cgroup/memory/memory.stat",
           "hierarchical_memory_limit 4096000\ntotal_inactive_file 40\n");
  const auto memory = DetectCgroupMemory(tree.root());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->limit, 4096000u);
  EXPECT_EQ(memory->used_unreclaimable, 60u);
}

TEST(CgroupMemory, WithoutALimitThereIsNoAnswer) {
  FakeTree one;
  MountVersion1(one, "/job");
  AddVersion1(one, "/sys/fs/cgroup/memory/job", kNone1, "100\n");
  EXPECT_FALSE(DetectCgroupMemory(one.root()));
  FakeTree two;
  MountVersion2(two, "/user.slice/job");
  AddVersion2(two, "/sys/fs/cgroup/user.slice/job", "max\n", "max\n", "100\n");
  EXPECT_FALSE(DetectCgroupMemory(two.root()));
}

TEST(CgroupMemory, Version2LimitAboveTheGroup) {
  FakeTree tree;
  MountVersion2(tree, "/user.slice/job");
  AddVersion2(tree, "/sys/fs/cgroup/user.slice/job", "max\n", "max\n", "100\n");
  AddVersion2(tree, "/sys/fs/cgroup/user.slice", "8000\n", "max\n", "500\n");
  const auto memory = DetectCgroupMemory(tree.root());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->version, 2);
  EXPECT_EQ(memory->path, tree.At("/sys/fs/cgroup/user.slice"));
  EXPECT_EQ(memory->limit, 8000u);
  EXPECT_EQ(memory->used_unreclaimable, 400u);
}

TEST(CgroupMemory, Version2HighIsALimitToo) {
  FakeTree tree;
  MountVersion2(tree, "/job");
  AddVersion2(tree, "/sys/fs/cgroup/job", "8000\n", "6000\n", "50\n");
  const auto memory = DetectCgroupMemory(tree.root());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->limit, 6000u);
  EXPECT_EQ(memory->used_unreclaimable, 0u) << "less in use than can be dropped";
}

TEST(CgroupMemory, HybridFindsTheControllerInVersion1) {
  FakeTree tree;
  MountVersion1(tree, "/job");
  tree.Mount("/", "/sys/fs/cgroup/unified", "cgroup2", "cgroup2", "rw");
  tree.Add("/sys/fs/cgroup/unified/cgroup.procs", "1\n");
  AddVersion1(tree, "/sys/fs/cgroup/memory/job", "2000\n", "500\n");
  const auto memory = DetectCgroupMemory(tree.root());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->version, 1);
  EXPECT_EQ(memory->room(), 1500u);
}

TEST(CgroupMemory, AContainerThatSeesItsGroupAsTheRoot) {
  // As Docker mounts it without a cgroup namespace: the mount's root is the group itself.
  FakeTree bound;
  bound.Mount("/docker/abc", "/sys/fs/cgroup/memory", "cgroup", "cgroup", "rw,memory");
  bound.Add("/proc/self/cgroup", "4:memory:/docker/abc\n");
  AddVersion1(bound, "/sys/fs/cgroup/memory", "1000\n", "10\n");
  ASSERT_TRUE(DetectCgroupMemory(bound.root()));
  EXPECT_EQ(DetectCgroupMemory(bound.root())->room(), 990u);

  // The path of the host does not exist below the mount.
  FakeTree host_path;
  MountVersion1(host_path, "/docker/abc");
  AddVersion1(host_path, "/sys/fs/cgroup/memory", "1000\n", "20\n");
  ASSERT_TRUE(DetectCgroupMemory(host_path.root()));
  EXPECT_EQ(DetectCgroupMemory(host_path.root())->room(), 980u);

  // Moved out of its own namespace.
  FakeTree upwards;
  MountVersion2(upwards, "/../../other");
  AddVersion2(upwards, "/sys/fs/cgroup", "1000\n", "max\n", "130\n");
  ASSERT_TRUE(DetectCgroupMemory(upwards.root()));
  EXPECT_EQ(DetectCgroupMemory(upwards.root())->room(), 970u);
}

TEST(CgroupMemory, MalformedFilesSetNoLimit) {
  FakeTree tree;
  MountVersion1(tree, "/job");
  for (const std::string_view limit :
       {"", "\n", "lots\n", "-1\n", "12 34\n", "99999999999999999999999\n"}) {
    AddVersion1(tree, "/sys/fs/cgroup/memory/job", limit, "100\n");
    EXPECT_FALSE(DetectCgroupMemory(tree.root())) << limit;
  }
  AddVersion1(tree, "/sys/fs/cgroup/memory/job", "1000\n", "unknown\n", "unknown");
  ASSERT_TRUE(DetectCgroupMemory(tree.root()));
  EXPECT_EQ(DetectCgroupMemory(tree.root())->room(), 1000u);
  for (const std::string_view self : {"", "memory\n", "4:memory\n", ":::\n", "4:memory:\n"}) {
    tree.Add("/proc/self/cgroup", self);
    EXPECT_FALSE(DetectCgroupMemory(tree.root())) << self;
  }
}

TEST(CgroupMemory, MalformedMountsAreSkipped) {
  FakeTree tree;
  tree.Add("/proc/self/cgroup", "4:memory:/\n");
  for (const std::string_view mounts :
       {"nonsense\n", "1 2 3 - cgroup cgroup memory\n", "1 2 0:1 / .. rw - cgroup cgroup memory\n",
        "1 2 0:1 / / rw - cgroup cgroup memory\n", "1 2 0:1 / \\04 rw - cgroup cgroup memory\n"}) {
    tree.Add("/proc/self/mountinfo", mounts);
    EXPECT_FALSE(DetectCgroupMemory(tree.root())) << mounts;
  }
}

TEST(CgroupProcessors, ReadsTheSmallestQuota) {
  FakeTree tree;
  MountVersion1(tree, "/job");
  tree.Add("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
  tree.Add("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(DetectCgroupProcessors(tree.root()));
  tree.Add("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(DetectCgroupProcessors(tree.root()), 1.5);

  FakeTree two;
  MountVersion2(two, "/a/b");
  two.Add("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_FALSE(DetectCgroupProcessors(two.root()));
  two.Add("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
  EXPECT_EQ(DetectCgroupProcessors(two.root()), 3.0);
  two.Add("/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
  EXPECT_EQ(DetectCgroupProcessors(two.root()), 2.0);
  two.Add("/sys/fs/cgroup/a/b/cpu.max", "200000\n");
  EXPECT_EQ(DetectCgroupProcessors(two.root()), 3.0);
}

}  // namespace
}  // namespace doppler
