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
  int heads;
  int kv_heads;
  int head_dim;
  int block_tokens;
};

// Blocks of exactly the size they need.
class OwnedKv {
 public:
  OwnedKv(DType dtype, const Shape& shape, int positions) : dtype_(dtype), shape_(shape) {
    const auto blocks =
        static_cast<std::size_t>((positions + shape.block_tokens - 1) / shape.block_tokens);
    const int elements = shape.kv_heads * shape.block_tokens * shape.head_dim;
    const std::size_t size = *RowBytes(dtype, static_cast<std::uint64_t>(elements));
    storage_.assign(2 * blocks, std::vector<std::byte>(size));
    for (std::size_t block = 0; block < blocks; ++block) {
      keys_.push_back(storage_[2 * block].data());
      values_.push_back(storage_[2 * block + 1].data());
    }
  }

  KvView view() const {
    return {.keys = keys_,
            .values = values_,
            .dtype = dtype_,
            .block_tokens = shape_.block_tokens,
            .kv_heads = shape_.kv_heads,
            .head_dim = shape_.head_dim};
  }
  const std::vector<std::vector<std::byte>>& storage() const { return storage_; }

 private:
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

  static void Fill(Backend& backend, const OwnedKv& kv, const Shape& shape) {
    const int cols = shape.kv_heads * shape.head_dim;
    const int count = kPositions * cols;
    OwnedRows keys(kPositions, cols, GaussianValues(count, 11), 4);
    OwnedRows values(kPositions, cols, GaussianValues(count, 12));
    backend.StoreKv(keys.Slice(0, 9), values.Slice(0, 9), 0, kv.view());
    backend.StoreKv(keys.Slice(9, kPositions - 9), values.Slice(9, kPositions - 9), 9, kv.view());
  }

  static std::unique_ptr<Backend> Make(ThreadPool& pool, const Shape& shape) {
    auto backend = MakeCpuBackend(pool, path());
    backend->Reserve({.tokens = kPositions,
                      .context = kPositions,
                      .heads = shape.heads,
                      .head_dim = shape.head_dim});
    return backend;
  }

  static OwnedRows Queries(int tokens, const Shape& shape) {
    const int cols = shape.heads * shape.head_dim;
    return {tokens, cols, GaussianValues(tokens * cols, 13, 2)};
  }

  static float Scale(const Shape& shape) {
    return 1 / std::sqrt(static_cast<float>(shape.head_dim));
  }
};

const Shape kShapes[] = {{.heads = 4, .kv_heads = 2, .head_dim = 64, .block_tokens = 16},
                         {.heads = 3, .kv_heads = 3, .head_dim = 20, .block_tokens = 5},
                         {.heads = 10, .kv_heads = 1, .head_dim = 33, .block_tokens = 24}};

TEST_P(AttentionTest, AgreesWithTheReference) {
  ThreadPool pool(2);
  for (const Shape& shape : kShapes) {
    const auto backend = Make(pool, shape);
    const auto reference = MakeReferenceBackend(pool);
    reference->Reserve({.context = kPositions});
    OwnedKv kv(dtype(), shape, kPositions);
    Fill(*backend, kv, shape);
    for (const int first : {0, kPositions - 6}) {
      OwnedRows queries = Queries(6, shape);
      OwnedRows out(6, shape.heads * shape.head_dim, 1);
      OwnedRows expected(6, shape.heads * shape.head_dim);
      backend->Attention(queries.view(), shape.heads, Scale(shape), first, kv.view(), out.view());
      reference->Attention(queries.view(), shape.heads, Scale(shape), first, kv.view(),
                           expected.view());
      for (int t = 0; t < 6; ++t) {
        for (int i = 0; i < shape.heads * shape.head_dim; ++i) {
          ASSERT_NEAR(out.view().Row(t)[i], expected.view().Row(t)[i], 1e-5)
              << "dim " << shape.head_dim << " token " << first + t << " value " << i;
        }
      }
    }
  }
}

TEST_P(AttentionTest, StoresTheSameBitsAsTheReference) {
  ThreadPool pool(2);
  for (const Shape& shape : kShapes) {
    OwnedKv kv(dtype(), shape, kPositions);
    OwnedKv expected(dtype(), shape, kPositions);
    Fill(*Make(pool, shape), kv, shape);
    Fill(*MakeReferenceBackend(pool), expected, shape);
    EXPECT_EQ(kv.storage(), expected.storage()) << shape.head_dim;
  }
}

TEST_P(AttentionTest, OneTokenHasTheSameBitsInAnyCompanyAndOnAnyThreads) {
  for (const Shape& shape : kShapes) {
    ThreadPool one(1);
    const auto single = Make(one, shape);
    OwnedKv kv(dtype(), shape, kPositions);
    Fill(*single, kv, shape);
    const int cols = shape.heads * shape.head_dim;
    OwnedRows queries = Queries(kPositions, shape);
    OwnedRows alone(kPositions, cols);
    for (int t = 0; t < kPositions; ++t) {
      single->Attention(queries.Slice(t, 1), shape.heads, Scale(shape), t, kv.view(),
                        alone.Slice(t, 1));
    }
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      OwnedRows out(kPositions, cols);
      Make(pool, shape)
          ->Attention(queries.view(), shape.heads, Scale(shape), 0, kv.view(), out.view());
      EXPECT_EQ(out.Bits(), alone.Bits()) << threads << " threads, dim " << shape.head_dim;
    }
  }
}

TEST_P(AttentionTest, DoesNotAllocate) {
  ThreadPool pool(2);
  const Shape& shape = kShapes[0];
  const auto backend = Make(pool, shape);
  OwnedKv kv(dtype(), shape, kPositions);
  Fill(*backend, kv, shape);
  const int cols = shape.kv_heads * shape.head_dim;
  OwnedRows row(1, cols, GaussianValues(cols, 14));
  OwnedRows queries = Queries(1, shape);
  OwnedRows out(1, shape.heads * shape.head_dim);
  {
    NoAllocScope scope;
    backend->StoreKv(row.view(), row.view(), kPositions - 1, kv.view());
    backend->Attention(queries.view(), shape.heads, 1, kPositions - 1, kv.view(), out.view());
  }
  EXPECT_NE(out.view().data[0], 0);
}

INSTANTIATE_TEST_SUITE_P(Paths, AttentionTest,
                         testing::Combine(testing::ValuesIn(RunnablePaths()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBf16)),
                         [](const auto& test) {
                           std::string name(CpuPathName(std::get<0>(test.param)));
                           name += "_" + std::string(DTypeName(std::get<1>(test.param)));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace doppler
