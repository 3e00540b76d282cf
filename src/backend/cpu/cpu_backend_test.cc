// What kernels over rows of floats do besides agreeing with the reference (kernel_list_test.cc).

#include <gtest/gtest.h>

#include "backend/kernel_work.h"
#include "base/alloc_guard.h"

namespace doppler {
namespace {

class CpuBackendTest : public testing::TestWithParam<CpuPath> {
 protected:
  CpuBackendTest() : pool_(2), backend_(MakeCpuBackend(pool_, GetParam())) {}

  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
};

constexpr int kTokens = 5;

TEST_P(CpuBackendTest, SwiGluAtTheEndsOfTheRange) {
  OwnedRows gate(1, 5, std::vector<float>{-1e4f, -88.0f, 0.0f, 88.0f, 1e4f});
  OwnedRows up(1, 5, std::vector<float>(5, 1.0f));
  backend_->SwiGlu(gate.view(), up.view(), gate.view());
  const float* out = gate.view().data;
  EXPECT_NEAR(out[0], 0, 1e-30);
  EXPECT_NEAR(out[1], 0, 1e-30);
  EXPECT_EQ(out[2], 0);
  EXPECT_EQ(out[3], 88.0f);
  EXPECT_EQ(out[4], 1e4f);
}

TEST_P(CpuBackendTest, NotANumberComesThrough) {
  OwnedRows gate(1, 3, std::vector<float>{1, std::nanf(""), 2});
  OwnedRows up(1, 3, std::vector<float>(3, 1.0f));
  backend_->SwiGlu(gate.view(), up.view(), gate.view());
  EXPECT_TRUE(std::isnan(gate.view().data[1]));
  EXPECT_FALSE(std::isnan(gate.view().data[2]));
}

TEST_P(CpuBackendTest, OneTokenHasTheSameBitsInAnyCompanyAndOnAnyThreads) {
  constexpr int kCols = 6000;
  OwnedRows gate = RandomRows(kTokens, kCols, 31);
  OwnedRows up = RandomRows(kTokens, kCols, 32);
  const auto weight = GaussianValues(kCols, 33);
  OwnedRows alone(kTokens, kCols);
  for (int t = 0; t < kTokens; ++t) {
    backend_->SwiGlu(gate.Slice(t, 1), up.Slice(t, 1), alone.Slice(t, 1));
    backend_->RmsNorm(alone.Slice(t, 1), weight, 1e-6f, alone.Slice(t, 1));
  }
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    const auto backend = MakeCpuBackend(pool, GetParam());
    OwnedRows out(kTokens, kCols);
    backend->SwiGlu(gate.view(), up.view(), out.view());
    backend->RmsNorm(out.view(), weight, 1e-6f, out.view());
    EXPECT_EQ(out.Bits(), alone.Bits()) << threads;
  }
}

TEST_P(CpuBackendTest, DoesNotAllocate) {
  OwnedRows x = RandomRows(kTokens, 4096, 34);
  OwnedRows y = RandomRows(kTokens, 4096, 35);
  OwnedRows cos = RandomRows(kTokens, 32, 36);
  const auto weight = GaussianValues(4096, 37);
  const auto table = RandomMatrix(DType::kQ6_K, 9, 4096, 38);
  const std::vector<TokenId> ids = {8, 0, 3, 3, 1};
  const float before = x.view().data[0];
  {
    NoAllocScope scope;
    backend_->GatherRows(table.view, ids, x.view());
    backend_->RmsNorm(x.view(), weight, 1e-6f, x.view());
    backend_->LayerNorm(x.view(), weight, weight, 1e-6f, x.view());
    backend_->AddBias(weight, x.view());
    backend_->Rope(x.view(), {.head_dim = 64}, cos.view(), cos.view());
    backend_->ClampedSwiGlu(x.view(), y.view(), 1.7f, 7, x.view());
    backend_->SwiGlu(x.view(), y.view(), x.view());
    backend_->Add(y.view(), x.view());
  }
  EXPECT_NE(x.view().data[0], before);
}

TEST_P(CpuBackendTest, ScratchGrowsWithTheLimits) {
  const auto bytes = [&](int tokens) {
    return backend_->ScratchBytes({.tokens = tokens, .cols = 4096});
  };
  // Rows that are put back into order take the same whatever the tokens.
  EXPECT_GT(backend_->ScratchBytes({.tokens = 1, .cols = 8192}), bytes(1));
  if (GetParam() == CpuPath::kPortable) {
    EXPECT_EQ(bytes(64), bytes(1));
    return;
  }
  EXPECT_GT(bytes(64), bytes(16));
  EXPECT_EQ(bytes(64) - bytes(32), 2 * (bytes(32) - bytes(16)));
  if (GetParam() == CpuPath::kAmxBf16) {
    EXPECT_EQ(bytes(16), bytes(1));
  } else {
    // The scales of eight tokens fill whole lines.
    EXPECT_EQ(bytes(32) - bytes(16), 2 * (bytes(16) - bytes(8)));
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, CpuBackendTest, testing::ValuesIn(RunnableCpuPaths()),
                         [](const auto& test) { return NameInTest(test.param); });

}  // namespace
}  // namespace doppler
