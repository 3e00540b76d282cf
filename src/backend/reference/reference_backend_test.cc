// The reference backend against numbers worked out by hand or by formula in double precision.

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "backend/backend.h"
#include "backend/quantize.h"

namespace doppler {
namespace {

class ReferenceBackendTest : public testing::Test {
 protected:
  ReferenceBackendTest() : pool_(2), backend_(MakeReferenceBackend(pool_)) {
    backend_->Reserve({.tokens = 4, .cols = 256, .context = 16, .heads = 4, .head_dim = 4});
  }

  static Rows View(std::vector<float>& data, int rows) {
    const int cols = static_cast<int>(data.size()) / rows;
    return {data.data(), rows, cols, cols};
  }

  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
};

TEST_F(ReferenceBackendTest, MatMul) {
  const std::vector<float> weights = {1, 2, 3, 4, 5, 6};  // [2, 3]
  std::vector<float> in = {1, 0, -1, 2, 2, 2};            // [2, 3]
  std::vector<float> out(4);
  const auto bytes = std::as_bytes(std::span(weights));
  backend_->MatMul({bytes.data(), DType::kF32, 2, 3}, View(in, 2), View(out, 2));
  EXPECT_EQ(out, (std::vector<float>{-2, -2, 12, 30}));
}

TEST_F(ReferenceBackendTest, MatMulOfBlocks) {
  std::vector<float> weights(2 * 32);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 7) - 3;
  weights[0] = weights[32] = 127;  // so that every value is a whole number of steps
  std::vector<std::byte> blocks(*RowBytes(DType::kQ8_0, weights.size()));
  Quantize(DType::kQ8_0, weights, blocks);
  std::vector<float> in(32, 2);
  std::vector<float> out(2);
  backend_->MatMul({blocks.data(), DType::kQ8_0, 2, 32}, View(in, 1), View(out, 1));
  float expected[2] = {};
  for (std::size_t i = 0; i < weights.size(); ++i) expected[i / 32] += 2 * weights[i];
  EXPECT_FLOAT_EQ(out[0], expected[0]);
  EXPECT_FLOAT_EQ(out[1], expected[1]);
}

TEST_F(ReferenceBackendTest, GatherRowsTakesRowsInTheGivenOrder) {
  const std::vector<float> table = {1, 2, 3, 4, 5, 6};
  const std::vector<TokenId> ids = {2, 0, 2};
  std::vector<float> out(6);
  const auto bytes = std::as_bytes(std::span(table));
  backend_->GatherRows({bytes.data(), DType::kF32, 3, 2}, ids, View(out, 3));
  EXPECT_EQ(out, (std::vector<float>{5, 6, 1, 2, 5, 6}));
}

TEST_F(ReferenceBackendTest, RmsNormTakesEachHeadAlone) {
  std::vector<float> x = {3, 4, 0, 10};
  backend_->RmsNorm(View(x, 1), std::vector<float>{1, 2}, 0.0f, View(x, 1));
  const float root = std::sqrt(12.5f);
  EXPECT_FLOAT_EQ(x[0], 3 / root);
  EXPECT_FLOAT_EQ(x[1], 8 / root);
  EXPECT_FLOAT_EQ(x[2], 0);
  EXPECT_FLOAT_EQ(x[3], 20 / std::sqrt(50.0f));
}

TEST_F(ReferenceBackendTest, RopeTurnsTheHalves) {
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};  // two heads of 4
  std::vector<float> cos = {0, 1};
  std::vector<float> sin = {1, 0};
  backend_->Rope(View(x, 1), {.head_dim = 4}, View(cos, 1), View(sin, 1));
  EXPECT_EQ(x, (std::vector<float>{-3, 2, 1, 4, -7, 6, 5, 8}));
}

TEST_F(ReferenceBackendTest, InterleavedRopeTurnsNeighboursAfterTheOffset) {
  std::vector<float> x = {9, 1, 2, 3, 4, 9, 5, 6, 7, 8};  // two heads of 1 + 4
  std::vector<float> cos = {0, 1};
  std::vector<float> sin = {1, 0};
  backend_->Rope(View(x, 1), {.head_dim = 5, .offset = 1, .interleaved = true}, View(cos, 1),
                 View(sin, 1));
  EXPECT_EQ(x, (std::vector<float>{9, -2, 1, 3, 4, 9, -6, 5, 7, 8}));
}

TEST_F(ReferenceBackendTest, LayerNormTakesTheMeanAway) {
  std::vector<float> x = {1, 2, 3, 6};
  backend_->LayerNorm(View(x, 1), std::vector<float>{1, 1, 1, 2}, std::vector<float>{0, 0, 5, 0},
                      0.0f, View(x, 1));
  const float root = std::sqrt(14.0f / 4);
  EXPECT_FLOAT_EQ(x[0], -2 / root);
  EXPECT_FLOAT_EQ(x[1], -1 / root);
  EXPECT_FLOAT_EQ(x[2], 5);
  EXPECT_FLOAT_EQ(x[3], 6 / root);
}

TEST_F(ReferenceBackendTest, ClampedSwiGluAndAddBias) {
  std::vector<float> gate = {9, -9, 1};
  std::vector<float> up = {5, -5, 1};
  backend_->ClampedSwiGlu(View(gate, 1), View(up, 1), 2.0f, 3.0f, View(gate, 1));
  EXPECT_FLOAT_EQ(gate[0], 3 / (1 + std::exp(-6.0f)) * 4);
  EXPECT_FLOAT_EQ(gate[1], -9 / (1 + std::exp(18.0f)) * -2);
  EXPECT_FLOAT_EQ(gate[2], 1 / (1 + std::exp(-2.0f)) * 2);
  std::vector<float> rows = {1, 2, 3, 4};
  backend_->AddBias(std::vector<float>{10, 20}, View(rows, 2));
  EXPECT_EQ(rows, (std::vector<float>{11, 22, 13, 24}));
}

TEST_F(ReferenceBackendTest, SwiGluAndAdd) {
  std::vector<float> gate = {0, 1, -100};
  std::vector<float> up = {5, 2, 3};
  backend_->SwiGlu(View(gate, 1), View(up, 1), View(gate, 1));
  EXPECT_EQ(gate[0], 0);
  EXPECT_FLOAT_EQ(gate[1], 2 / (1 + std::exp(-1.0f)));
  EXPECT_NEAR(gate[2], 0, 1e-30);
  backend_->Add(View(up, 1), View(gate, 1));
  EXPECT_EQ(gate[0], 5);
}

// Two query heads share one KV head; blocks of two positions.
TEST_F(ReferenceBackendTest, AttentionSeesNothingAfterItself) {
  std::vector<float> storage(4 * 2);
  auto bytes = std::as_writable_bytes(std::span(storage));
  std::vector<std::byte*> keys = {bytes.data(), bytes.data() + 8};
  std::vector<std::byte*> values = {bytes.data() + 16, bytes.data() + 24};
  const KvView kv{.keys = keys,
                  .values = values,
                  .dtype = DType::kF32,
                  .block_tokens = 2,
                  .kv_heads = 1,
                  .key_dim = 1,
                  .value_dim = 1};
  std::vector<float> key_rows = {0, 1, 2};
  std::vector<float> value_rows = {10, 20, 30};
  backend_->StoreKv(View(key_rows, 3), View(value_rows, 3), 0, kv);
  EXPECT_EQ(storage, (std::vector<float>{0, 1, 2, 0, 10, 20, 30, 0}));

  std::vector<float> queries = {7, 7, 0, 2};  // tokens 1 and 2, two heads each
  std::vector<float> out(4);
  backend_->Attention(View(queries, 2), {.heads = 2, .scale = 0.5f, .sinks = {}}, 1, kv,
                      View(out, 2));
  const auto softmax = [&](float query, int positions) {
    double sum = 0;
    double total = 0;
    for (int p = 0; p < positions; ++p) {
      const double weight = std::exp(0.5 * query * p);
      sum += weight;
      total += weight * value_rows[static_cast<std::size_t>(p)];
    }
    return total / sum;
  };
  EXPECT_NEAR(out[0], softmax(7, 2), 1e-4);
  EXPECT_NEAR(out[1], softmax(7, 2), 1e-4);
  EXPECT_NEAR(out[2], 20, 1e-4);
  EXPECT_NEAR(out[3], softmax(2, 3), 1e-4);
}

// One position after the other; the values are the first of each key's two numbers.
TEST_F(ReferenceBackendTest, AttentionOfSharedKeysAWindowAndASink) {
  std::vector<float> storage(4 * 2);
  auto bytes = std::as_writable_bytes(std::span(storage));
  std::vector<std::byte*> keys = {bytes.data(), bytes.data() + 16};
  const KvView kv{.keys = keys,
                  .values = {},
                  .dtype = DType::kF32,
                  .block_tokens = 2,
                  .kv_heads = 1,
                  .key_dim = 2,
                  .value_dim = 1,
                  .window = 2};
  std::vector<float> key_rows = {10, 7, 20, 1, 30, 2};
  backend_->StoreKv(View(key_rows, 3), {}, 0, kv);
  std::vector<float> query = {0, 1};
  std::vector<float> out(1);
  const std::vector<float> sinks = {0.5f};
  backend_->Attention(View(query, 1), {.heads = 1, .scale = 1, .sinks = sinks}, 2, kv,
                      View(out, 1));
  const double total = std::exp(1.0) + std::exp(2.0) + std::exp(0.5);
  EXPECT_NEAR(out[0], (20 * std::exp(1.0) + 30 * std::exp(2.0)) / total, 1e-4);
}

}  // namespace
}  // namespace doppler
