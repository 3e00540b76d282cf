// No answer depends on what is given back and taken again, and when a memory watch does it.

#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/machine_fake_tree.h"
#include "support/give_back_case.h"

namespace doppler {
namespace {

void ExpectTheSameBits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  ASSERT_FALSE(a.empty());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

// Promise 1.
class GiveBackAnswerTest : public testing::TestWithParam<ReaderKind> {
 protected:
  void SetUp() override {
    if (GetParam() == ReaderKind::kUring && !UringPermitted()) GTEST_SKIP();
  }
  static const std::vector<float>& Expected() {
    static const std::vector<float> expected = [] {
      Engine engine(SmallModel().path(), SmallRegions(ReaderKind::kThreads));
      return AllLogits(engine, TwoDozenTokens(), kDecodedTokens);
    }();
    return expected;
  }
};

INSTANTIATE_TEST_SUITE_P(Readers, GiveBackAnswerTest, testing::ValuesIn(kReaderKinds),
                         ReaderKindName);

// After a router has spoken, and before its experts are acquired, in prefill and in decode.
TEST_P(GiveBackAnswerTest, DoesNotDependOnWhatGoesWithinAToken) {
  EngineOptions options = SmallRegions(GetParam());
  ExpertCache* cache = nullptr;
  std::mt19937 random(2);
  options.on_route = [&](LayerId, int, std::span<const RoutedExpert>) {
    const Bytes bytes = random() % (cache->size() / 2);
    random() % 2 == 0 ? cache->GiveBack(bytes) : cache->TakeAgain(bytes);
  };
  Engine engine(SmallModel().path(), options);
  cache = engine.experts();
  ExpectTheSameBits(AllLogits(engine, TwoDozenTokens(), kDecodedTokens), Expected());
  EXPECT_GT(cache->stats().given_back, cache->size());
  EXPECT_GT(cache->stats().taken_again, cache->size());
}

TEST_P(GiveBackAnswerTest, DoesNotDependOnWhatAnotherThreadGivesBack) {
  Engine engine(SmallModel().path(), SmallRegions(GetParam()));
  std::atomic<bool> done{false};
  std::thread resizer([&] {
    ExpertCache& cache = *engine.experts();
    for (std::mt19937 random(3); !done;) {
      const Bytes bytes = random() % cache.size();
      random() % 2 == 0 ? cache.GiveBack(bytes) : cache.TakeAgain(bytes);
    }
  });
  const std::vector<float> logits = AllLogits(engine, TwoDozenTokens(), kDecodedTokens);
  done = true;
  resizer.join();
  ExpectTheSameBits(logits, Expected());
}

// Samples of a system that is short of memory for some seconds, and then is not; a second passes
// between two of them.
class MadeUpPressure {
 public:
  // Pressure in the seconds [from, to).
  MadeUpPressure(int from, int to) : from_(from), to_(to) {}

  PressureSource Source() {
    return {.name = "made up",
            .sample = [this] { return Sample(); },
            .period = std::chrono::milliseconds(0)};
  }
  // Waits until that many samples were taken and what followed from them is done.
  void WaitFor(int samples) {
    for (int seen = samples_; seen <= samples; seen = samples_) samples_.wait(seen);
  }
  // No second begins after this one, until it is set anew.
  void StopAt(int second) {
    last_ = second;
    last_.notify_all();
  }

 private:
  PressureSample Sample() {
    const int second = samples_.fetch_add(1);
    samples_.notify_all();
    for (int last = last_; second > last; last = last_) last_.wait(last);
    if (second >= from_ && second < to_) stalled_us_ += 500'000;
    return {.seconds = static_cast<double>(second), .stalled_us = stalled_us_, .available = kGiB};
  }

  const int from_;
  const int to_;
  std::uint64_t stalled_us_ = 0;
  std::atomic<int> samples_ = 0;
  std::atomic<int> last_ = std::numeric_limits<int>::max();
};

EngineOptions Watching(MadeUpPressure& pressure) {
  EngineOptions options = SmallRegions(ReaderKind::kThreads);
  options.give_back = true;
  options.pressure = pressure.Source();
  return options;
}

TEST(MemoryWatch, GivesBackUnderPressureAndTakesAgainAfterQuiet) {
  MadeUpPressure pressure(3, 6);
  pressure.StopAt(6);
  Engine engine(SmallModel().path(), Watching(pressure));
  const ExpertCache& cache = *engine.experts();
  const Bytes step = GiveBackOptionsFor(cache.size(), cache.least(), cache.region()).step;
  const std::vector<float> expected = AllLogits(engine, TwoDozenTokens(), kDecodedTokens);
  pressure.WaitFor(6);
  EXPECT_EQ(engine.expert_stats().given_back, 3 * step);
  EXPECT_EQ(cache.present(), cache.size() - 3 * step);
  ExpectTheSameBits(AllLogits(engine, TwoDozenTokens(), kDecodedTokens), expected);
  pressure.StopAt(1000);
  pressure.WaitFor(200);
  EXPECT_EQ(engine.expert_stats().given_back, 3 * step);
  EXPECT_EQ(engine.expert_stats().taken_again, 3 * step);
  EXPECT_EQ(cache.present(), cache.size());
  ExpectTheSameBits(AllLogits(engine, TwoDozenTokens(), kDecodedTokens), expected);
  pressure.StopAt(std::numeric_limits<int>::max());
  ASSERT_NE(engine.memory_watch(), nullptr);
  EXPECT_EQ(engine.memory_watch()->source(), "made up");
  EXPECT_EQ(engine.memory_watch()->problem(), "");
}

TEST(MemoryWatch, LeavesTheLeastUnderPressureForEver) {
  MadeUpPressure pressure(1, std::numeric_limits<int>::max());
  Engine engine(SmallModel().path(), Watching(pressure));
  pressure.WaitFor(100);
  const auto least = static_cast<std::size_t>(engine.config().experts_per_token);
  EXPECT_GE(engine.experts()->slots(), least);
  EXPECT_LT(engine.experts()->slots(), 2 * least);
  EXPECT_EQ(AllLogits(engine, TwoDozenTokens(), kDecodedTokens).size(), 24u * 320);
}

TEST(MemoryWatch, OfASourceThatFailsSaysWhyAndTheRunGoesOn) {
  EngineOptions options = SmallRegions(ReaderKind::kThreads);
  options.give_back = true;
  options.pressure = PressureSource{
      .name = "broken", .sample = []() -> PressureSample { throw Error("no pressure here"); }};
  Engine engine(SmallModel().path(), options);
  while (engine.memory_watch()->problem().empty()) std::this_thread::yield();
  EXPECT_EQ(engine.memory_watch()->problem(), "no pressure here");
  EXPECT_EQ(AllLogits(engine, TwoDozenTokens(), kDecodedTokens).size(), 24u * 320);
}

TEST(MemoryWatch, IsThereOnlyIfAskedForAndIfThereAreExperts) {
  MadeUpPressure pressure(0, 0);
  EngineOptions options = Watching(pressure);
  options.give_back = false;
  EXPECT_EQ(Engine(SmallModel().path(), options).memory_watch(), nullptr);
  options.give_back = true;
  const ConvertedModel dense(DataFolder() / "golden" / "llama3");
  EXPECT_EQ(Engine(dense.path(), options).memory_watch(), nullptr);
}

// From the kernel's files to the slots.
TEST(MemoryWatch, ReadsTheFilesOfTheSystem) {
  const FakeTree tree;
  tree.Add("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
  tree.Add("/proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
  PressureSource source = *SystemPressure(tree.root());
  std::atomic<int> second = 0;
  source.period = std::chrono::milliseconds(0);
  source.sample = [&, read = source.sample] {
    // A third of the time is stalled in the second that follows the first sample.
    if (second == 1) {
      tree.Add("/proc/pressure/memory", "some avg10=3.00 avg60=0.30 avg300=0.06 total=333333\n");
    }
    PressureSample sample = read();
    sample.seconds = second.fetch_add(1);
    second.notify_all();
    return sample;
  };
  EngineOptions options = SmallRegions(ReaderKind::kThreads);
  options.give_back = true;
  options.pressure = source;
  Engine engine(SmallModel().path(), options);
  for (int seen = second; seen < 60; seen = second) second.wait(seen);
  const ExpertCache& cache = *engine.experts();
  const Bytes step = GiveBackOptionsFor(cache.size(), cache.least(), cache.region()).step;
  EXPECT_EQ(engine.expert_stats().given_back, step);
  EXPECT_EQ(engine.expert_stats().taken_again, step);
}

}  // namespace
}  // namespace doppler
