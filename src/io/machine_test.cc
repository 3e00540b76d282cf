#include "io/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/error.h"
#include "io/machine_fake_tree.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kMeminfo =
    "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    800 kB\n";

TEST(MachineFiles, FieldsAreWholeWords) {
  constexpr std::string_view kText = "VmRSSx: 1 kB\nVmRSS:\t 12 kB\nlimit 34\n";
  EXPECT_EQ(KilobyteField(kText, "VmRSS"), 12 * kKiB);
  EXPECT_EQ(FieldOf(kText, "limit"), "34");
  EXPECT_FALSE(FieldOf(kText, "lim"));
  EXPECT_FALSE(KilobyteField(kText, "limit"));
  EXPECT_FALSE(KilobyteField("A: 18446744073709551615 kB", "A"));
  EXPECT_EQ(ParseNumber(" 7\n"), 7u);
  EXPECT_FALSE(ParseNumber("7 8"));
}

TEST(MachineFiles, MountPointsAreUnescaped) {
  FakeTree tree;
  tree.Mount("/", R"(/media/my\040disk\134)", "ext4", "/dev/sda1", "rw");
  ASSERT_EQ(ReadMounts(tree.root()).size(), 1u);
  EXPECT_EQ(ReadMounts(tree.root())[0].point, "/media/my disk\\");
}

TEST(Memory, WithoutLimitsAllThatIsAvailable) {
  FakeTree tree;
  tree.Add("/proc/meminfo", kMeminfo);
  tree.Add("/proc/self/limits",
           "Limit                     Soft Limit           Hard Limit           Units\n"
           "Max data size             unlimited            unlimited            bytes\n"
           "Max address space         unlimited            unlimited            bytes\n");
  const MemoryInfo memory = DetectMemory(tree.root());
  EXPECT_EQ(memory.physical, 1000 * kKiB);
  EXPECT_EQ(memory.available, 800 * kKiB);
  EXPECT_EQ(memory.usable, 800 * kKiB);
  EXPECT_FALSE(memory.cgroup || memory.address_space_room || memory.data_room);
  EXPECT_THAT(memory.explanation,
              ElementsAre("1000 KiB physical, 800 KiB available now", "800 KiB usable"));
}

TEST(Memory, TheControlGroupsRoomCounts) {
  FakeTree tree;
  tree.Add("/proc/meminfo", kMeminfo);
  tree.Mount("/", "/sys/fs/cgroup", "cgroup2", "cgroup2", "rw");
  tree.Add("/proc/self/cgroup", "0::/job\n");
  tree.Add("/sys/fs/cgroup/job/memory.max", "512000\n");
  tree.Add("/sys/fs/cgroup/job/memory.current", "102400\n");
  const MemoryInfo memory = DetectMemory(tree.root());
  EXPECT_EQ(memory.usable, 400 * kKiB);
  EXPECT_THAT(memory.explanation, testing::Contains(HasSubstr("allows 500 KiB, of which 100 KiB")));
  // A limit above what the machine has left changes nothing.
  tree.Add("/sys/fs/cgroup/job/memory.max", "512000000\n");
  EXPECT_EQ(DetectMemory(tree.root()).usable, 800 * kKiB);
}

TEST(Memory, LimitsOfTheProcessCount) {
  FakeTree tree;
  tree.Add("/proc/meminfo", kMeminfo);
  tree.Add("/proc/self/status", "VmSize:	     100 kB\nVmData:	      60 kB\n");
  tree.Add("/proc/self/limits",
           "Max address space         307200               unlimited   bytes\n");
  EXPECT_EQ(DetectMemory(tree.root()).usable, 200 * kKiB);
  tree.Add("/proc/self/limits",
           "Max data size             102400               unlimited   bytes\n");
  EXPECT_EQ(DetectMemory(tree.root()).usable, 40 * kKiB);
  tree.Add("/proc/self/limits",
           "Max data size             1024                 unlimited   bytes\n");
  EXPECT_EQ(DetectMemory(tree.root()).usable, 0u);
}

TEST(Memory, UnknownMemoryIsAnError) {
  FakeTree tree;
  EXPECT_THROW(DetectMemory(tree.root()), Error);
  for (const std::string_view text :
       {"", "MemTotal: 5 kB\n", "MemTotal: x kB\nMemAvailable: 5 kB\n",
        "MemTotal: 5\nMemAvailable: 5\n"}) {
    tree.Add("/proc/meminfo", text);
    EXPECT_THROW(DetectMemory(tree.root()), Error) << text;
  }
}

TEST(Memory, ResidentBytesFollowWhatIsTouched) {
  constexpr Bytes kSize = 32 * kMiB;
  const Bytes before = CurrentResidentBytes();
  void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const Bytes during = CurrentResidentBytes();
  ::munmap(memory, kSize);
  EXPECT_GE(during, before + kSize - 2 * kMiB);
  EXPECT_LE(CurrentResidentBytes(), during - kSize + 2 * kMiB);
  EXPECT_GE(PeakResidentBytes() + 2 * kMiB, during);
}

TEST(Processor, ReadsAnX86Machine) {
  FakeTree tree;
  tree.Add("/proc/cpuinfo",
           "processor\t: 0\nmodel name\t: Example 9000\n"
           "flags\t\t: fpu avx avx2 avx512f avx512_vnni\n\nprocessor\t: 1\nmodel name\t: other\n");
  const std::string cache = "/sys/devices/system/cpu/cpu0/cache/";
  tree.Add(cache + "index0/size", "32K\n");
  tree.Add(cache + "index0/level", "1\n");
  tree.Add(cache + "index0/type", "Data\n");
  tree.Add(cache + "index1/size", "huge\n");
  tree.Add(cache + "index2/size", "32768K\n");
  tree.Add(cache + "index2/level", "3\n");
  tree.Add(cache + "index2/type", "Unified\n");
  const ProcessorInfo processor = DetectProcessor(tree.root(), 8);
  EXPECT_EQ(processor.model, "Example 9000");
  EXPECT_EQ(processor.cores, 8);
  EXPECT_EQ(processor.threads, 8);
  EXPECT_THAT(processor.features, ElementsAre("avx", "avx2", "avx512f", "avx512_vnni"));
  EXPECT_TRUE(processor.Has("avx2"));
  EXPECT_FALSE(processor.Has("amx_int8"));
  ASSERT_EQ(processor.caches.size(), 2u);
  EXPECT_EQ(processor.caches[0].type, "Data");
  EXPECT_EQ(processor.LastLevelCache(), 32 * kMiB);
}

TEST(Processor, ReadsAnArmMachine) {
  FakeTree tree;
  tree.Add("/proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n");
  tree.Add("/proc/device-tree/model", std::string_view("Board 5\0", 8));
  const ProcessorInfo processor = DetectProcessor(tree.root(), 4);
  EXPECT_EQ(processor.model, "Board 5");
  EXPECT_THAT(processor.features, ElementsAre("neon", "dotprod", "i8mm"));
  EXPECT_EQ(processor.LastLevelCache(), 0u);
}

TEST(Processor, AQuotaLimitsTheThreads) {
  FakeTree tree;
  tree.Mount("/", "/sys/fs/cgroup", "cgroup2", "cgroup2", "rw");
  tree.Add("/proc/self/cgroup", "0::/\n");
  for (const auto& [line, threads] :
       {std::pair("150000 100000", 2), {"1 100000", 1}, {"99900000 100000", 8}, {"max 1", 8}}) {
    tree.Add("/sys/fs/cgroup/cpu.max", line);
    EXPECT_EQ(DetectProcessor(tree.root(), 8).threads, threads) << line;
  }
}

TEST(Disk, FindsTheDiskOfAPartition) {
  FakeTree tree;
  tree.Mount("/", "/", "ext4", "/dev/vda", "rw");
  tree.Mount("/", "/data", "xfs", "/dev/nvme0n1p2", "rw");
  tree.Add("/sys/devices/pci0/nvme0n1/queue/rotational", "0\n");
  tree.Add("/sys/devices/pci0/nvme0n1/device/model", "Fast SSD 2TB   \n");
  tree.Add("/sys/devices/pci0/nvme0n1/nvme0n1p2/partition", "2\n");
  tree.Add("/sys/devices/virtio/vda/queue/rotational", "1\n");
  tree.Link("/sys/class/block/nvme0n1p2", "../../devices/pci0/nvme0n1/nvme0n1p2");
  tree.Link("/sys/class/block/vda", "../../devices/virtio/vda");
  const DiskInfo data = DetectMountedDisk("/data/models/x", tree.root());
  EXPECT_EQ(data.device, "nvme0n1p2");
  EXPECT_EQ(data.file_system, "xfs");
  EXPECT_EQ(data.model, "Fast SSD 2TB");
  EXPECT_EQ(data.rotational, false);
  const DiskInfo other = DetectMountedDisk("/database", tree.root());
  EXPECT_EQ(other.device, "vda");
  EXPECT_EQ(other.rotational, true);
  EXPECT_EQ(other.model, "");
}

TEST(Disk, FollowsMappedDevicesAndHiddenMounts) {
  FakeTree tree;
  tree.Mount("/", "/home", "ext4", "/dev/sda1", "rw");
  tree.Mount("/", "/home", "btrfs", "/dev/mapper/home", "rw");
  tree.Add("/dev/dm-0", "");
  tree.Link("/dev/mapper/home", "../dm-0");
  tree.Add("/sys/devices/virtual/dm-0/queue/rotational", "0\n");
  tree.Link("/sys/class/block/dm-0", "../../devices/virtual/dm-0");
  const DiskInfo disk = DetectMountedDisk("/home/me", tree.root());
  EXPECT_EQ(disk.file_system, "btrfs");
  EXPECT_EQ(disk.device, "dm-0");
}

TEST(Disk, FileSystemsWithoutADevice) {
  FakeTree tree;
  tree.Mount("/", "/", "overlay", "overlay", "rw");
  const DiskInfo disk = DetectMountedDisk("/x", tree.root());
  EXPECT_EQ(disk.file_system, "overlay");
  EXPECT_EQ(disk.device, "");
  EXPECT_FALSE(disk.rotational);
  EXPECT_EQ(DetectMountedDisk("/x", tree.root() / "none").file_system, "");
}

TEST(Disk, ThisMachine) {
  const TempFolder folder;
  EXPECT_FALSE(DetectDisk(folder.path()).direct_reads) << "no file to try";
  WriteTextFile(folder.path() / "data", std::string(kDirectAlignment, 'x'));
  const DiskInfo disk = DetectDisk(folder.path());
  EXPECT_TRUE(disk.direct_reads.has_value());
  EXPECT_GT(disk.total, 0u);
  EXPECT_LE(disk.free, disk.total);
  EXPECT_THROW(DetectDisk(folder.path() / "missing"), Error);
}

TEST(Machine, ReportsMemoryPressureOnlyIfReadable) {
  FakeTree tree;
  tree.Add("/proc/meminfo", kMeminfo);
  EXPECT_FALSE(DetectMachine(tree.root()).reports_memory_pressure);
  tree.Add("/proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
  EXPECT_TRUE(DetectMachine(tree.root()).reports_memory_pressure);
  EXPECT_FALSE(DetectMachine(tree.root()).unified_memory);
}

}  // namespace
}  // namespace doppler
