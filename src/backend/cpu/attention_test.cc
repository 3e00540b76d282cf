// What attention does besides agreeing with the reference (kernel_list_test.cc).

#include <algorithm>
#include <tuple>

#include <gtest/gtest.h>

#include "backend/kernel_attention.h"
#include "base/alloc_guard.h"

namespace doppler {
namespace {

constexpr int kPositions = 41;

// A query of each position.
KernelShape AllPositions(KernelShape shape) {
  shape.tokens = kPositions;
  shape.context = kPositions;
  return shape;
}

class AttentionTest : public testing::TestWithParam<std::tuple<CpuPath, DType>> {
 protected:
  static DType dtype() { return std::get<1>(GetParam()); }

  static std::unique_ptr<Backend> Make(ThreadPool& pool, const AttentionData& data) {
    auto backend = MakeCpuBackend(pool, std::get<0>(GetParam()));
    backend->Reserve(data.Limits());
    return backend;
  }
  static OwnedRows Out(const KernelShape& shape) {
    return {shape.tokens, shape.heads * shape.value_dim};
  }
};

TEST_P(AttentionTest, ARingOfBlocksGivesTheSameBitsAsAllOfThem) {
  const KernelShape shape = AllPositions(kOddAttention[4]);
  AttentionData data(shape);
  ThreadPool pool(2);
  const auto backend = Make(pool, data);
  const OwnedKv all(dtype(), shape);
  data.Store(*backend, all, 0, kPositions);
  const OwnedKv ring(dtype(), shape, 3);
  OwnedRows out = Out(shape);
  OwnedRows expected = Out(shape);
  backend->Attention(data.queries.view(), data.Parameters(), 0, all.view(), expected.view());
  for (int first = 0; first < kPositions; first += 9) {
    const int count = std::min(9, kPositions - first);
    data.Store(*backend, ring, first, count);
    backend->Attention(data.queries.Slice(first, count), data.Parameters(), first, ring.view(),
                       out.Slice(first, count));
  }
  EXPECT_EQ(out.Bits(), expected.Bits());
}

TEST_P(AttentionTest, OneTokenHasTheSameBitsInAnyCompanyAndOnAnyThreads) {
  for (const KernelShape& odd : kOddAttention) {
    const KernelShape shape = AllPositions(odd);
    AttentionData data(shape);
    ThreadPool one(1);
    const auto single = Make(one, data);
    const OwnedKv kv(dtype(), shape);
    data.Store(*single, kv, 0, kPositions);
    OwnedRows alone = Out(shape);
    for (int t = 0; t < kPositions; ++t) {
      single->Attention(data.queries.Slice(t, 1), data.Parameters(), t, kv.view(),
                        alone.Slice(t, 1));
    }
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      OwnedRows out = Out(shape);
      Make(pool, data)->Attention(data.queries.view(), data.Parameters(), 0, kv.view(), out.view());
      EXPECT_EQ(out.Bits(), alone.Bits()) << threads << " threads, key dim " << shape.key_dim;
    }
  }
}

TEST_P(AttentionTest, DoesNotAllocate) {
  ThreadPool pool(2);
  for (const KernelShape& odd : {kOddAttention[0], kOddAttention[5]}) {
    const KernelShape shape = AllPositions(odd);
    AttentionData data(shape);
    const auto backend = Make(pool, data);
    const OwnedKv kv(dtype(), shape);
    data.Store(*backend, kv, 0, kPositions);
    OwnedRows out(1, shape.heads * shape.value_dim);
    {
      NoAllocScope scope;
      data.Store(*backend, kv, kPositions - 1, 1);
      backend->Attention(data.queries.Slice(0, 1), data.Parameters(), kPositions - 1, kv.view(),
                         out.view());
    }
    EXPECT_NE(out.view().data[0], 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, AttentionTest,
                         testing::Combine(testing::ValuesIn(RunnableCpuPaths()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBf16)),
                         [](const auto& test) { return NameInTest(test.param); });

}  // namespace
}  // namespace doppler
