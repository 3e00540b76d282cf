// The remaining kernels of every path against the reference backend.

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "backend/kernel_cases.h"
#include "base/alloc_guard.h"

namespace doppler {
namespace {

class CpuBackendTest : public testing::TestWithParam<CpuPath> {
 protected:
  CpuBackendTest()
      : pool_(2),
        backend_(MakeCpuBackend(pool_, GetParam())),
        reference_(MakeReferenceBackend(pool_)) {}

  static OwnedRows Random(int rows, int cols, unsigned seed, float deviation = 1) {
    return {rows, cols, GaussianValues(rows * cols, seed, deviation), 3};
  }

  // Within `relative` of each value, or of `floor` if the value is smaller.
  static void ExpectNear(Rows a, Rows b, double relative, double floor = 1e-3) {
    for (int r = 0; r < a.rows; ++r) {
      for (int c = 0; c < a.cols; ++c) {
        const double size = std::max<double>(std::abs(b.Row(r)[c]), floor);
        ASSERT_NEAR(a.Row(r)[c], b.Row(r)[c], relative * size) << a.cols << ": " << r << ' ' << c;
      }
    }
  }

  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Backend> reference_;
};

constexpr int kTokens = 5;
constexpr int kSizes[] = {1, 7, 16, 33, 256, 5000};  // 5000 is enough for two threads

TEST_P(CpuBackendTest, RmsNorm) {
  for (const int size : kSizes) {
    for (const int heads : {1, 3}) {
      OwnedRows in = Random(kTokens, heads * size, 21, 3);
      const auto weight = GaussianValues(size, 22);
      OwnedRows expected(kTokens, heads * size);
      reference_->RmsNorm(in.view(), weight, 1e-5f, expected.view());
      backend_->RmsNorm(in.view(), weight, 1e-5f, in.view());
      ExpectNear(in.view(), expected.view(), 5e-6);
    }
  }
}

TEST_P(CpuBackendTest, LayerNormAndAddBias) {
  for (const int size : kSizes) {
    OwnedRows in = Random(kTokens, size, 21, 3);
    const auto weight = GaussianValues(size, 22);
    const auto bias = GaussianValues(size, 39);
    OwnedRows expected(kTokens, size);
    reference_->LayerNorm(in.view(), weight, bias, 1e-5f, expected.view());
    reference_->AddBias(weight, expected.view());
    backend_->LayerNorm(in.view(), weight, bias, 1e-5f, in.view());
    backend_->AddBias(weight, in.view());
    ExpectNear(in.view(), expected.view(), 5e-6, 1);
  }
}

TEST_P(CpuBackendTest, MixRows) {
  const std::vector<int> rows = {4, 0, 3, 5, 1, 1};
  const auto weights = GaussianValues(6, 41);
  for (const int size : kSizes) {
    OwnedRows in = Random(6, size, 42);
    for (const int tokens : {1, 2, 6}) {
      OwnedRows out = Random(tokens, size, 43);
      OwnedRows expected(tokens, size);
      reference_->MixRows(in.view(), rows, weights, expected.view());
      backend_->MixRows(in.view(), rows, weights, out.view());
      ExpectNear(out.view(), expected.view(), 5e-6, 1);
    }
  }
}

TEST_P(CpuBackendTest, Rope) {
  for (const int half : {1, 5, 32, 40}) {
    // All of a head, or its end.
    for (const int offset : {0, 3}) {
      for (const bool interleaved : {false, true}) {
        const RopeShape shape = {
            .head_dim = offset + 2 * half, .offset = offset, .interleaved = interleaved};
        OwnedRows x = Random(kTokens, 3 * shape.head_dim, 23);
        OwnedRows expected = x;
        OwnedRows cos = Random(kTokens, half, 24);
        OwnedRows sin = Random(kTokens, half, 25);
        reference_->Rope(expected.view(), shape, cos.view(), sin.view());
        backend_->Rope(x.view(), shape, cos.view(), sin.view());
        ExpectNear(x.view(), expected.view(), 1e-6, 1);
      }
    }
  }
}

TEST_P(CpuBackendTest, ClampedSwiGlu) {
  for (const int size : kSizes) {
    OwnedRows gate = Random(kTokens, size, 26, 5);
    OwnedRows up = Random(kTokens, size, 27, 5);
    OwnedRows expected(kTokens, size);
    reference_->ClampedSwiGlu(gate.view(), up.view(), 1.7f, 4.0f, expected.view());
    backend_->ClampedSwiGlu(gate.view(), up.view(), 1.7f, 4.0f, gate.view());
    ExpectNear(gate.view(), expected.view(), 2e-6, 1e-15);
  }
}

TEST_P(CpuBackendTest, SwiGlu) {
  for (const int size : kSizes) {
    for (const float deviation : {1.0f, 30.0f}) {
      OwnedRows gate = Random(kTokens, size, 26, deviation);
      OwnedRows up = Random(kTokens, size, 27);
      OwnedRows expected(kTokens, size);
      reference_->SwiGlu(gate.view(), up.view(), expected.view());
      backend_->SwiGlu(gate.view(), up.view(), gate.view());
      ExpectNear(gate.view(), expected.view(), 2e-6, 1e-20);
    }
  }
}

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

TEST_P(CpuBackendTest, AddAndGatherRowsAreExact) {
  for (const int size : kSizes) {
    OwnedRows x = Random(kTokens, size, 28);
    OwnedRows expected = x;
    OwnedRows y = Random(kTokens, size, 29);
    reference_->Add(y.view(), expected.view());
    backend_->Add(y.view(), x.view());
    ExpectNear(x.view(), expected.view(), 0);
  }
  for (const DTypeTraits& traits : kDTypes) {
    const auto table = RandomMatrix(traits.dtype, 9, 512, 30);
    const std::vector<TokenId> ids = {8, 0, 3, 3};
    OwnedRows out(4, 512);
    OwnedRows expected(4, 512);
    backend_->GatherRows(table.view, ids, out.view());
    reference_->GatherRows(table.view, ids, expected.view());
    ExpectNear(out.view(), expected.view(), 0);
  }
}

TEST_P(CpuBackendTest, OneTokenHasTheSameBitsInAnyCompanyAndOnAnyThreads) {
  constexpr int kCols = 6000;
  OwnedRows gate = Random(kTokens, kCols, 31);
  OwnedRows up = Random(kTokens, kCols, 32);
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
  OwnedRows x = Random(kTokens, 4096, 34);
  OwnedRows y = Random(kTokens, 4096, 35);
  OwnedRows cos = Random(kTokens, 32, 36);
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
  const Bytes one = backend_->ScratchBytes({.tokens = 1, .cols = 4096});
  const Bytes many = backend_->ScratchBytes({.tokens = 64, .cols = 4096});
  EXPECT_EQ(one == 0, GetParam() == CpuPath::kPortable);
  EXPECT_EQ(many, 64 * one);
}

INSTANTIATE_TEST_SUITE_P(Paths, CpuBackendTest, testing::ValuesIn(RunnableCpuPaths()),
                         [](const auto& test) {
                           std::string name(CpuPathName(test.param));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace doppler
