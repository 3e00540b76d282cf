// Models with more shards than the process may open files: the same bits, and shards that are gone
// when they are opened.

#include <algorithm>
#include <cstring>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "support/model_case.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

const std::vector<TokenId> kTokens = {5, 81, 3, 200, 17, 44, 9, 130, 7, 99, 61, 2, 250, 18, 33, 74};
constexpr std::size_t kTokensDecoded = 6;

// The lowest limit with which an artifact can be opened.
std::size_t LowestLimit(const fs::path& folder) {
  const std::vector<ShardEntry> shards = Artifact(folder).manifest().shards;
  const auto others = std::count_if(shards.begin(), shards.end(), [](const ShardEntry& shard) {
    return shard.type != ShardType::kExpert;
  });
  return static_cast<std::size_t>(others) + kOtherFiles + kLeastExpertFiles;
}

EngineOptions FewFiles(const fs::path& folder) {
  EngineOptions options;
  options.with_tokenizer = false;
  options.context = 64;
  options.ubatch = 16;
  options.logit_rows = 16;
  options.threads = 2;
  options.most_slots = 4;
  options.open_files = LowestLimit(folder);
  return options;
}

std::vector<float> LogitsOf(Engine& engine) { return AllLogits(engine, kTokens, kTokensDecoded); }

std::vector<float> LogitsWithAllOpen(const fs::path& folder) {
  EngineOptions options = FewFiles(folder);
  options.open_files.reset();
  Engine engine(folder, options);
  EXPECT_FALSE(engine.artifact().files().on_demand());
  return LogitsOf(engine);
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return !a.empty() && a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(OpenFiles, FewGiveTheSameBitsAsAll) {
  const std::vector<float> expected = LogitsWithAllOpen(DemoModel());
  for (const std::size_t resident_layers : {~std::size_t{0}, std::size_t{2}}) {
    EngineOptions options = FewFiles(DemoModel());
    options.most_resident_layers = resident_layers;
    Engine engine(DemoModel(), options);
    EXPECT_TRUE(SameBits(LogitsOf(engine), expected)) << resident_layers;
    const ShardFiles& files = engine.artifact().files();
    EXPECT_EQ(files.most_expert_files(), kLeastExpertFiles);
    EXPECT_EQ(files.expert_shards(), 144u);
    EXPECT_GT(files.stats().evictions, 0u);
    EXPECT_LE(files.stats().opens - files.stats().evictions, kLeastExpertFiles);
    EXPECT_THAT(std::string(engine.experts()->registered()), Not(HasSubstr("files")));
  }
}

TEST(OpenFiles, TooFewAreRefusedWithALimitThatWouldDo) {
  const std::size_t lowest = LowestLimit(DemoModel());
  EXPECT_THAT(MessageOf([&] { Artifact(DemoModel(), lowest - 1); }),
              HasSubstr("'ulimit -n " + std::to_string(lowest) + "'"));
  EXPECT_TRUE(Artifact(DemoModel(), lowest).files().on_demand());
}

// Shards that vanish fail the pass that wants them, with what is said at the opening; when they are
// back, so is the model.
TEST(OpenFiles, ShardsThatVanishEndAPassAndNothingElse) {
  const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe");
  const std::vector<float> expected = LogitsWithAllOpen(model.path());
  Engine engine(model.path(), FewFiles(model.path()));
  const fs::path shards = model.path() / "shards";
  for (int turn = 0; turn < 2; ++turn) {
    fs::rename(shards, model.path() / "elsewhere");
    EXPECT_THAT(MessageOf([&] { LogitsOf(engine); }),
                testing::AllOf(HasSubstr("the shard"), HasSubstr("is missing")));
    fs::rename(model.path() / "elsewhere", shards);
    EXPECT_TRUE(SameBits(LogitsOf(engine), expected));
  }
}

// A cache with few slots over an artifact with few open files; none is open at the start.
class FewFilesCacheTest : public testing::Test {
 protected:
  FewFilesCacheTest() {
    ExpertCacheOptions options;
    options.slots = {3};
    const std::vector<int> experts(3, 16);
    cache_ =
        std::make_unique<ExpertCache>(artifact_, FindExperts(artifact_, experts), budget_, options);
  }

  fs::path PathOf(int expert) const { return artifact_.files().path(ShardOf(expert)); }
  ShardId ShardOf(int expert) const {
    return FindExpertRecord(artifact_.manifest(), LayerId(0), ExpertId(expert)).shard;
  }
  // The message of what is wrong with an expert; empty if nothing is.
  std::string Touch(int expert) {
    ExpertLease lease;
    const ExpertId id(expert);
    EXPECT_EQ(cache_->Acquire(LayerId(0), {&id, 1}, {&lease, 1}), AcquireResult::kOk);
    try {
      lease.Wait();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  const ConvertedModel model_{DataFolder() / "golden" / "qwen3-moe"};
  const Artifact artifact_{model_.path(), LowestLimit(model_.path())};
  MemoryBudget budget_{64 * kMiB};
  std::unique_ptr<ExpertCache> cache_;
};

TEST_F(FewFilesCacheTest, ADeletedShardIsMissingUntilItIsBack) {
  fs::rename(PathOf(4), model_.path() / "away");
  EXPECT_THAT(Touch(4), testing::AllOf(HasSubstr(PathOf(4).string()), HasSubstr("is missing")));
  EXPECT_EQ(Touch(5), "");
  EXPECT_THAT(Touch(4), HasSubstr("is missing"));
  fs::rename(model_.path() / "away", PathOf(4));
  EXPECT_EQ(Touch(4), "");
}

TEST_F(FewFilesCacheTest, AFailedOpenOfOneLeavesTheOthersOfTheCall) {
  fs::remove(PathOf(4));
  const std::vector<ExpertId> ids = {ExpertId(3), ExpertId(4), ExpertId(5)};
  std::vector<ExpertLease> leases(3);
  ASSERT_EQ(cache_->Acquire(LayerId(0), ids, leases), AcquireResult::kOk);
  leases[0].Wait();
  EXPECT_THROW(leases[1].Wait(), Error);
  leases[2].Wait();
}

TEST_F(FewFilesCacheTest, AFailedOpenInTheBackgroundIsForgotten) {
  fs::rename(PathOf(4), model_.path() / "away");
  ASSERT_TRUE(cache_->ReadAhead(LayerId(0), ExpertId(4), 0, ExpertCache::Replace::kNothing));
  while (cache_->BackgroundReads() > 0) std::this_thread::yield();
  EXPECT_FALSE(cache_->Resident(LayerId(0), ExpertId(4)));
  fs::rename(model_.path() / "away", PathOf(4));
  EXPECT_EQ(Touch(4), "");
}

// Promise 3 with a file that another one has taken the place of since the opening.
TEST_F(FewFilesCacheTest, AReplacedShardIsFoundByItsHash) {
  fs::copy_file(PathOf(5), model_.path() / "other");
  fs::rename(model_.path() / "other", PathOf(4));
  EXPECT_THAT(Touch(4), testing::AllOf(HasSubstr(PathOf(4).string()), HasSubstr("is damaged")));
  fs::resize_file(PathOf(6), 4096);
  EXPECT_THAT(Touch(6), testing::AllOf(HasSubstr(PathOf(6).string()), HasSubstr("truncated")));
  EXPECT_EQ(Touch(5), "");
}

}  // namespace
}  // namespace doppler
