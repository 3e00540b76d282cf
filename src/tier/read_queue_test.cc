#include "tier/read_queue.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace doppler {
namespace {

class ReadQueueTest : public testing::Test {
 protected:
  ReadQueue Make(int depth) {
    return {32, depth, [this](QueuedRead read, ReadPriority priority) {
              started_ += std::string_view("dbs")[static_cast<std::size_t>(priority)];
              started_ += std::to_string(read.slot) + "." + std::to_string(read.part) + " ";
            }};
  }
  std::string Started() { return std::exchange(started_, ""); }

  std::string started_;
};

TEST_F(ReadQueueTest, KeepsOrderAndDepth) {
  ReadQueue queue = Make(2);
  for (std::uint32_t part = 0; part < 4; ++part) queue.Push(ReadPriority::kDemand, {1, part});
  EXPECT_EQ(Started(), "d1.0 d1.1 ");
  queue.Completed(ReadPriority::kDemand);
  EXPECT_EQ(Started(), "d1.2 ");
  EXPECT_FALSE(queue.Idle());
  for (int i = 0; i < 3; ++i) queue.Completed(ReadPriority::kDemand);
  EXPECT_EQ(Started(), "d1.3 ");
  EXPECT_TRUE(queue.Idle());
}

TEST_F(ReadQueueTest, TheBackgroundHasTheDeviceUntilSomethingIsDemanded) {
  ReadQueue queue = Make(4);
  for (std::uint32_t part = 0; part < 8; ++part) queue.Push(ReadPriority::kBackground, {7, part});
  EXPECT_EQ(Started(), "b7.0 b7.1 b7.2 b7.3 ");
  queue.Push(ReadPriority::kDemand, {1, 0});
  EXPECT_EQ(Started(), "");
  queue.Completed(ReadPriority::kBackground);
  EXPECT_EQ(Started(), "d1.0 ");
  // From now on one place of four is the background's.
  queue.Completed(ReadPriority::kBackground);
  queue.Completed(ReadPriority::kBackground);
  EXPECT_EQ(Started(), "");
  queue.Completed(ReadPriority::kBackground);
  EXPECT_EQ(Started(), "b7.4 ");
}

TEST_F(ReadQueueTest, PromotesOneSlot) {
  ReadQueue queue = Make(1);
  queue.Push(ReadPriority::kDemand, {0, 0});
  for (const std::uint32_t slot : {5u, 6u, 5u, 8u}) {
    queue.Push(ReadPriority::kBackground, {slot, slot});
  }
  EXPECT_EQ(queue.Promote(5), 2u);
  EXPECT_EQ(queue.Promote(9), 0u);
  Started();
  for (const ReadPriority ended : {ReadPriority::kDemand, ReadPriority::kDemand,
                                   ReadPriority::kDemand, ReadPriority::kBackground}) {
    queue.Completed(ended);
  }
  EXPECT_EQ(Started(), "d5.5 d5.5 b6.6 b8.8 ");
}

TEST_F(ReadQueueTest, SpeculativeReadsWaitUntilNoDemandIsOnTheDevice) {
  ReadQueue queue = Make(8);
  queue.Push(ReadPriority::kDemand, {0, 0});
  queue.Push(ReadPriority::kBackground, {1, 0});
  for (std::uint32_t part = 0; part < 4; ++part) queue.Push(ReadPriority::kSpeculative, {2, part});
  EXPECT_EQ(Started(), "d0.0 b1.0 ");
  queue.Completed(ReadPriority::kDemand);
  // A quarter of the places.
  EXPECT_EQ(Started(), "s2.0 s2.1 ");
  queue.Push(ReadPriority::kDemand, {3, 0});
  EXPECT_EQ(Started(), "d3.0 ");
  queue.Completed(ReadPriority::kSpeculative);
  EXPECT_EQ(Started(), "");
  EXPECT_EQ(queue.Promote(2), 2u);
  EXPECT_EQ(Started(), "d2.2 d2.3 ");
}

TEST_F(ReadQueueTest, WithdrawsAllSpeculativeReadsOfASlotOrNone) {
  ReadQueue queue = Make(4);
  for (std::uint32_t part = 0; part < 2; ++part) queue.Push(ReadPriority::kSpeculative, {1, part});
  for (std::uint32_t part = 0; part < 2; ++part) queue.Push(ReadPriority::kSpeculative, {2, part});
  queue.Push(ReadPriority::kSpeculative, {3, 0});
  EXPECT_EQ(Started(), "s1.0 ");
  EXPECT_FALSE(queue.Withdraw(1, 2));
  EXPECT_TRUE(queue.Withdraw(2, 2));
  for (int i = 0; i < 3; ++i) queue.Completed(ReadPriority::kSpeculative);
  EXPECT_EQ(Started(), "s1.1 s3.0 ");
  EXPECT_TRUE(queue.Idle());
}

TEST_F(ReadQueueTest, StopForgetsWhatWaits) {
  ReadQueue queue = Make(1);
  queue.Push(ReadPriority::kDemand, {0, 0});
  queue.Push(ReadPriority::kDemand, {0, 1});
  Started();
  queue.Stop();
  queue.Completed(ReadPriority::kDemand);
  queue.Push(ReadPriority::kDemand, {0, 2});
  EXPECT_EQ(Started(), "");
  EXPECT_TRUE(queue.Idle());
}

TEST_F(ReadQueueTest, CountsTheTimeInWhichSomethingIsOnTheDevice) {
  ReadQueue queue = Make(1);
  EXPECT_EQ(queue.BusySeconds(), 0);
  queue.Push(ReadPriority::kDemand, {1, 0});
  queue.Push(ReadPriority::kDemand, {1, 1});
  const double first = queue.BusySeconds();
  queue.Completed(ReadPriority::kDemand);
  EXPECT_GE(queue.BusySeconds(), first);
  queue.Completed(ReadPriority::kDemand);
  const double both = queue.BusySeconds();
  EXPECT_GT(both, 0);
  EXPECT_EQ(queue.BusySeconds(), both);
}

}  // namespace
}  // namespace doppler
