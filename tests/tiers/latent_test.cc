// Multi-head latent attention: what the KV holds, and the promises on models that have it.

#include <cstring>

#include <gtest/gtest.h>

#include "engine/plan.h"
#include "support/model_case.h"

namespace doppler {
namespace {

constexpr const char* kCases[] = {"deepseek-v3", "kimi-k2-fp8"};

struct LatentVariant {
  std::size_t slots = ~std::size_t{0};
  int threads = 1;
  int ubatch = 16;
  std::size_t decoded = 1;
  DType kv_dtype = DType::kF16;
};

std::vector<float> LatentLogits(const std::filesystem::path& model, const std::string& name,
                                const LatentVariant& variant) {
  EngineOptions options;
  options.context = 48;
  options.ubatch = variant.ubatch;
  options.logit_rows = 16;
  options.threads = variant.threads;
  options.most_slots = variant.slots;
  options.kv_dtype = variant.kv_dtype;
  Engine engine(model, options);
  return AllLogits(engine, LoadGoldenCase(name).input_ids, variant.decoded);
}

class LatentTest : public testing::TestWithParam<const char*> {
 protected:
  std::string name() const { return GetParam(); }
};

TEST_P(LatentTest, NeitherResidencyNorCompanyChangesABit) {
  const ConvertedModel model(DataFolder() / "golden" / name());
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16}) {
    const std::vector<float> expected = LatentLogits(model.path(), name(), {.kv_dtype = dtype});
    for (const LatentVariant& variant :
         {LatentVariant{.slots = 4, .threads = 2, .ubatch = 40},
          LatentVariant{.threads = 3, .ubatch = 1},
          LatentVariant{.slots = 5, .threads = 2, .ubatch = 7, .decoded = 40}}) {
      LatentVariant changed = variant;
      changed.kv_dtype = dtype;
      const std::vector<float> logits = LatentLogits(model.path(), name(), changed);
      ASSERT_EQ(logits.size(), expected.size());
      EXPECT_EQ(std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)), 0)
          << DTypeName(dtype) << " ubatch " << variant.ubatch;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, LatentTest, testing::ValuesIn(kCases),
                         [](const auto& tested) { return std::string(tested.param).substr(0, 4); });

TEST(LatentKv, OneLatentAndOneRotatedKeyPerTokenAndLayer) {
  const auto path = DataFolder() / "configs" / "kimi-k2" / "config.json";
  const ModelConfig config = ConfigFromHub(ReadTextFile(path), path.string());
  constexpr int kContext = 8192;
  const KvShape shape = KvShapeOf(config, DType::kF16, 16, kContext);
  EXPECT_EQ(shape.TotalBytes(), 61u * kContext * (512 + 64) * 2);
  EXPECT_EQ(shape.ValueBytes(LayerId(0)), 0u);
  const ConvertedModel model(DataFolder() / "golden" / "deepseek-v3");
  EngineOptions options;
  options.context = 64;
  EXPECT_EQ(Engine(model.path(), options).plan().kv, 3u * 64 * (40 + 16) * 2);
}

}  // namespace
}  // namespace doppler
