// Attention and the KV of every path against the reference backend.

#include <algorithm>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "backend/kernel_cases.h"
#include "base/alloc_guard.h"

namespace doppler {
namespace {

struct Shape {
  int heads = 1;
  int kv_heads = 1;
  int key_dim = 1;
  int value_dim = 1;
  int block_tokens = 1;
  bool shares_keys = false;
  int window = 0;
  bool sinks = false;

  int QueryCols() const { return heads * key_dim; }
  int OutCols() const { return heads * value_dim; }
};

// Blocks of exactly the size they need.
class OwnedKv {
 public:
  OwnedKv(DType dtype, const Shape& shape, int blocks) : dtype_(dtype), shape_(shape) {
    for (int block = 0; block < blocks; ++block) {
      keys_.push_back(Add(shape.key_dim));
      if (!shape.shares_keys) values_.push_back(Add(shape.value_dim));
    }
  }

  static OwnedKv For(DType dtype, const Shape& shape, int positions) {
    return {dtype, shape, (positions + shape.block_tokens - 1) / shape.block_tokens};
  }

  KvView view() const {
    return {.keys = keys_,
            .values = values_,
            .dtype = dtype_,
            .block_tokens = shape_.block_tokens,
            .kv_heads = shape_.kv_heads,
            .key_dim = shape_.key_dim,
            .value_dim = shape_.value_dim,
            .window = shape_.window};
  }
  const std::vector<std::vector<std::byte>>& storage() const { return storage_; }

 private:
  std::byte* Add(int dim) {
    const auto elements = static_cast<std::uint64_t>(shape_.kv_heads * shape_.block_tokens * dim);
    storage_.emplace_back(*RowBytes(dtype_, elements));
    return storage_.back().data();
  }

  DType dtype_;
  Shape shape_;
  std::vector<std::vector<std::byte>> storage_;
  std::vector<std::byte*> keys_;
  std::vector<std::byte*> values_;
};

class AttentionTest : public testing::TestWithParam<std::tuple<CpuPath, DType>> {
 protected:
  static constexpr int kPositions = 41;

  static CpuPath path() { return std::get<0>(GetParam()); }
  static DType dtype() { return std::get<1>(GetParam()); }

  static OwnedRows Keys(const Shape& shape) {
    const int cols = shape.kv_heads * shape.key_dim;
    return {kPositions, cols, GaussianValues(kPositions * cols, 11), 4};
  }
  static OwnedRows Values(const Shape& shape) {
    const int cols = shape.kv_heads * shape.value_dim;
    return {kPositions, cols, GaussianValues(kPositions * cols, 12)};
  }

  static void Store(Backend& backend, const OwnedKv& kv, const Shape& shape, int first, int count) {
    OwnedRows keys = Keys(shape);
    OwnedRows values = Values(shape);
    const Rows some = shape.shares_keys ? Rows{} : values.Slice(first, count);
    backend.StoreKv(keys.Slice(first, count), some, first, kv.view());
  }
  static void Fill(Backend& backend, const OwnedKv& kv, const Shape& shape) {
    Store(backend, kv, shape, 0, 9);
    Store(backend, kv, shape, 9, kPositions - 9);
  }

  static std::unique_ptr<Backend> Make(ThreadPool& pool, const Shape& shape) {
    auto backend = MakeCpuBackend(pool, path());
    backend->Reserve({.tokens = kPositions,
                      .context = kPositions,
                      .heads = shape.heads,
                      .head_dim = shape.key_dim});
    return backend;
  }

  static OwnedRows Queries(int tokens, const Shape& shape) {
    return {tokens, shape.QueryCols(), GaussianValues(tokens * shape.QueryCols(), 13, 2)};
  }

  // `sinks` holds what the result points to.
  static AttentionShape Parameters(const Shape& shape, std::vector<float>& sinks) {
    if (shape.sinks) sinks = GaussianValues(shape.heads, 15);
    return {.heads = shape.heads,
            .scale = 1 / std::sqrt(static_cast<float>(shape.key_dim)),
            .sinks = sinks};
  }
};

const Shape kShapes[] = {
    {.heads = 4, .kv_heads = 2, .key_dim = 64, .value_dim = 64, .block_tokens = 16},
    {.heads = 3, .kv_heads = 3, .key_dim = 20, .value_dim = 20, .block_tokens = 5},
    {.heads = 10, .kv_heads = 1, .key_dim = 33, .value_dim = 33, .block_tokens = 24},
    {.heads = 6, .kv_heads = 2, .key_dim = 24, .value_dim = 40, .block_tokens = 16, .sinks = true},
    {.heads = 4,
     .kv_heads = 2,
     .key_dim = 16,
     .value_dim = 16,
     .block_tokens = 8,
     .window = 7,
     .sinks = true},
    // Latents: the values are the first part of the keys, for more heads than one task takes.
    {.heads = 21,
     .kv_heads = 1,
     .key_dim = 57,
     .value_dim = 41,
     .block_tokens = 16,
     .shares_keys = true},
    {.heads = 5,
     .kv_heads = 1,
     .key_dim = 288,
     .value_dim = 256,
     .block_tokens = 32,
     .shares_keys = true}};

TEST_P(AttentionTest, AgreesWithTheReference) {
  ThreadPool pool(2);
  for (const Shape& shape : kShapes) {
    const auto backend = Make(pool, shape);
    const auto reference = MakeReferenceBackend(pool);
    reference->Reserve({.context = kPositions});
    const OwnedKv kv = OwnedKv::For(dtype(), shape, kPositions);
    Fill(*backend, kv, shape);
    std::vector<float> sinks;
    const AttentionShape parameters = Parameters(shape, sinks);
    for (const int first : {0, kPositions - 6}) {
      OwnedRows queries = Queries(6, shape);
      OwnedRows out(6, shape.OutCols(), 1);
      OwnedRows expected(6, shape.OutCols());
      backend->Attention(queries.view(), parameters, first, kv.view(), out.view());
      reference->Attention(queries.view(), parameters, first, kv.view(), expected.view());
      for (int t = 0; t < 6; ++t) {
        for (int i = 0; i < shape.OutCols(); ++i) {
          ASSERT_NEAR(out.view().Row(t)[i], expected.view().Row(t)[i], 2e-5)
              << "key dim " << shape.key_dim << " token " << first + t << " value " << i;
        }
      }
    }
  }
}

TEST_P(AttentionTest, ARingOfBlocksGivesTheSameBitsAsAllOfThem) {
  const Shape& shape = kShapes[4];
  ThreadPool pool(2);
  const auto backend = Make(pool, shape);
  std::vector<float> sinks;
  const AttentionShape parameters = Parameters(shape, sinks);
  const OwnedKv all = OwnedKv::For(dtype(), shape, kPositions);
  Fill(*backend, all, shape);
  const OwnedKv ring(dtype(), shape, 3);
  OwnedRows queries = Queries(kPositions, shape);
  OwnedRows out(kPositions, shape.OutCols());
  OwnedRows expected(kPositions, shape.OutCols());
  backend->Attention(queries.view(), parameters, 0, all.view(), expected.view());
  for (int first = 0; first < kPositions; first += 9) {
    const int count = std::min(9, kPositions - first);
    Store(*backend, ring, shape, first, count);
    backend->Attention(queries.Slice(first, count), parameters, first, ring.view(),
                       out.Slice(first, count));
  }
  EXPECT_EQ(out.Bits(), expected.Bits());
}

TEST_P(AttentionTest, StoresTheSameBitsAsTheReference) {
  ThreadPool pool(2);
  for (const Shape& shape : kShapes) {
    const OwnedKv kv = OwnedKv::For(dtype(), shape, kPositions);
    const OwnedKv expected = OwnedKv::For(dtype(), shape, kPositions);
    Fill(*Make(pool, shape), kv, shape);
    Fill(*MakeReferenceBackend(pool), expected, shape);
    EXPECT_EQ(kv.storage(), expected.storage()) << shape.key_dim;
  }
}

TEST_P(AttentionTest, OneTokenHasTheSameBitsInAnyCompanyAndOnAnyThreads) {
  for (const Shape& shape : kShapes) {
    ThreadPool one(1);
    const auto single = Make(one, shape);
    const OwnedKv kv = OwnedKv::For(dtype(), shape, kPositions);
    Fill(*single, kv, shape);
    std::vector<float> sinks;
    const AttentionShape parameters = Parameters(shape, sinks);
    OwnedRows queries = Queries(kPositions, shape);
    OwnedRows alone(kPositions, shape.OutCols());
    for (int t = 0; t < kPositions; ++t) {
      single->Attention(queries.Slice(t, 1), parameters, t, kv.view(), alone.Slice(t, 1));
    }
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      OwnedRows out(kPositions, shape.OutCols());
      Make(pool, shape)->Attention(queries.view(), parameters, 0, kv.view(), out.view());
      EXPECT_EQ(out.Bits(), alone.Bits()) << threads << " threads, key dim " << shape.key_dim;
    }
  }
}

TEST_P(AttentionTest, DoesNotAllocate) {
  ThreadPool pool(2);
  for (const Shape& shape : {kShapes[0], kShapes[5]}) {
    const auto backend = Make(pool, shape);
    const OwnedKv kv = OwnedKv::For(dtype(), shape, kPositions);
    Fill(*backend, kv, shape);
    OwnedRows keys = Keys(shape);
    OwnedRows values = Values(shape);
    const Rows some = shape.shares_keys ? Rows{} : values.Slice(0, 1);
    OwnedRows queries = Queries(1, shape);
    OwnedRows out(1, shape.OutCols());
    {
      NoAllocScope scope;
      backend->StoreKv(keys.Slice(0, 1), some, kPositions - 1, kv.view());
      backend->Attention(queries.view(), {.heads = shape.heads, .scale = 1, .sinks = {}},
                         kPositions - 1, kv.view(), out.view());
    }
    EXPECT_NE(out.view().data[0], 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, AttentionTest,
                         testing::Combine(testing::ValuesIn(RunnableCpuPaths()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBf16)),
                         [](const auto& test) {
                           std::string name(CpuPathName(std::get<0>(test.param)));
                           name += "_" + std::string(DTypeName(std::get<1>(test.param)));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace doppler
