// Budgets against the operating system's own accounting: the peak of the process, and a memory
// control group that kills whoever goes beyond its limit.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/bytes.h"
#include "e2e/budget.h"

namespace doppler {
namespace {

// A control group below this process's own that may use so much memory, swap included. Where none
// may be made (it takes root, and a hierarchy that is writable), programs run without.
class MemoryGroup {
 public:
  explicit MemoryGroup(Bytes limit) {
    for (const char* hierarchy : {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"}) {
      if (Make(hierarchy, limit)) return;
    }
    folder_.clear();
  }
  ~MemoryGroup() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove(folder_, ignored);
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;

  // Options that put a program into the group.
  ProcessOptions Options() const {
    if (folder_.empty()) return {};
    const std::string list = folder_ / "cgroup.procs";
    return {.prepare = [list] {
      const int file = ::open(list.c_str(), O_WRONLY);
      if (::write(file, "0", 1) != 1) ::_exit(126);
      ::close(file);
    }};
  }

 private:
  bool Make(const fs::path& hierarchy, Bytes limit) {
    std::error_code error;
    folder_ = hierarchy / ("doppler-test-" + std::to_string(::getpid()));
    if (!fs::create_directory(folder_, error)) return false;
    if (Set("memory.limit_in_bytes", limit) || Set("memory.max", limit)) {
      // Version 1 counts swap together with memory, version 2 apart; either may be missing.
      Set("memory.memsw.limit_in_bytes", limit);
      Set("memory.swap.max", 0);
      return true;
    }
    fs::remove(folder_, error);
    return false;
  }

  bool Set(const char* file, Bytes value) const {
    const int descriptor = ::open((folder_ / file).c_str(), O_WRONLY);
    if (descriptor < 0) return false;
    const std::string text = std::to_string(value);
    const bool set = ::write(descriptor, text.data(), text.size()) > 0;
    ::close(descriptor);
    return set;
  }

  fs::path folder_;
};

void ExpectWithin(const BudgetRun& run, const std::string& budget) {
  const auto bytes = ParseSize(budget);
  ASSERT_TRUE(run.stats.is_object());
  EXPECT_EQ(run.stats.at("plan").at("budget_bytes"), bytes);
  EXPECT_LE(run.stats.at("peak_resident_bytes"), bytes);
}

void ExpectSameTextWithin(const fs::path& model, const std::string& budget,
                          const std::string& text) {
  SCOPED_TRACE(model.string() + " in " + budget);
  const BudgetRun alone = RunInBudget(model, budget);
  EXPECT_EQ(alone.text, text);
  ExpectWithin(alone, budget);
  const MemoryGroup group(ParseSize(budget));
  const BudgetRun confined = RunInBudget(model, budget, group.Options());
  EXPECT_EQ(confined.text, text);
  ExpectWithin(confined, budget);
}

TEST(PeakMemoryTest, TinyModels) {
  for (const char* name : {"llama3", "mixtral"}) {
    const ConvertedModel model(Golden(name));
    const std::string text = RunInBudget(model.path(), "1G").text;
    ExpectSameTextWithin(model.path(), SmallestBudget(model.path()), text);
    ExpectSameTextWithin(model.path(), "64M", text);
  }
}

TEST(PeakMemoryTest, AModelThatIsLargerThanItsBudget) {
  const BudgetRun whole = RunInBudget(DemoModel(), "1G");
  const std::string smallest = SmallestBudget(DemoModel());
  ExpectSameTextWithin(DemoModel(), smallest, whole.text);
  ExpectSameTextWithin(DemoModel(), "64M", whole.text);
  const BudgetRun tight = RunInBudget(DemoModel(), smallest);
  EXPECT_LT(tight.stats["plan"]["expert_slots"], tight.stats["plan"]["experts"]);
  EXPECT_GT(tight.stats["decode"]["expert_evictions"], 0);
  // The budget is rounded up, and what that leaves may hold the small layers of this model: whether
  // some of them are streamed differs from one program to the next.
  EXPECT_EQ(tight.stats["decode"]["streamed_bytes_read"],
            tight.stats["decode"]["tokens"].get<Bytes>() *
                tight.stats["plan"]["streamed_bytes_per_pass"].get<Bytes>());
  EXPECT_EQ(whole.stats["plan"]["streamed_layers"], 0);
  EXPECT_LT(tight.stats["peak_resident_bytes"], whole.stats["peak_resident_bytes"]);
}

// Without --host-memory the group's limit is what the program goes by.
TEST(PeakMemoryTest, AnAutomaticBudgetRespectsTheGroup) {
  constexpr Bytes kLimit = 160 * kMiB;
  const MemoryGroup group(kLimit);
  const ProcessOptions options = group.Options();
  const TempFolder folder;
  const fs::path file = folder.path() / "stats.json";
  Output({"run", DemoModel(), "-p", "Once", "-n", "8", "--stats", file}, options);
  const nlohmann::json stats = ReadJson(file);
  EXPECT_LE(stats.at("peak_resident_bytes"), stats.at("plan").at("budget_bytes"));
  if (options.prepare) {
    EXPECT_LT(stats["plan"]["budget_bytes"], kLimit);
  }
}

}  // namespace
}  // namespace doppler
