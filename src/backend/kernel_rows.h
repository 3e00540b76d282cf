// The kernels over rows of floats, as entries of the list.
#pragma once

#include "backend/kernel_work.h"

namespace doppler {

inline std::vector<KernelShape> OddRows(DType) {
  std::vector<KernelShape> shapes;
  // 5000 is enough for two threads.
  for (const int cols : {1, 7, 16, 33, 256, 5000}) shapes.push_back({.tokens = 5, .cols = cols});
  return shapes;
}
inline const std::vector<KernelShape> kLargeRows = {{.tokens = 1, .cols = 14336},
                                                    {.tokens = 64, .cols = 14336}};

// Work on `in`, which is copied before, since it is changed.
template <class Run>
KernelWork InPlaceWork(const std::shared_ptr<OwnedRows>& in, double relative, double floor,
                       const Run& run) {
  const auto out = std::make_shared<OwnedRows>(*in);
  KernelWork work;
  work.run = [in, out, run](Backend& backend) {
    *out = *in;
    run(backend, out->view());
  };
  work.results = [out] { return FlatValues(out->view()); };
  work.bound = NearBound(relative, floor);
  return work;
}

inline std::shared_ptr<OwnedRows> SharedRows(int rows, int cols, unsigned seed,
                                             float deviation = 1) {
  return std::make_shared<OwnedRows>(RandomRows(rows, cols, seed, deviation));
}

// A row holds `heads` runs that are normalised alone.
inline KernelWork RmsNormWork(DType, const KernelShape& shape) {
  const auto weight = GaussianValues(shape.cols, 22);
  return InPlaceWork(SharedRows(shape.tokens, shape.heads * shape.cols, 21, 3), 5e-6, 1e-3,
                     [weight](Backend& backend, Rows x) { backend.RmsNorm(x, weight, 1e-5f, x); });
}

inline std::vector<KernelShape> OddHeadRows(DType type) {
  std::vector<KernelShape> shapes = OddRows(type);
  for (const KernelShape& shape : OddRows(type)) {
    shapes.push_back({.tokens = shape.tokens, .cols = shape.cols, .heads = 3});
  }
  return shapes;
}

inline KernelWork LayerNormWork(DType, const KernelShape& shape) {
  const auto weight = GaussianValues(shape.cols, 22);
  const auto bias = GaussianValues(shape.cols, 39);
  return InPlaceWork(
      SharedRows(shape.tokens, shape.cols, 21, 3), 5e-6, 1,
      [weight, bias](Backend& backend, Rows x) { backend.LayerNorm(x, weight, bias, 1e-5f, x); });
}

inline KernelWork AddBiasWork(DType, const KernelShape& shape) {
  const auto bias = GaussianValues(shape.cols, 39);
  return InPlaceWork(SharedRows(shape.tokens, shape.cols, 21, 3), 0, 0,
                     [bias](Backend& backend, Rows x) { backend.AddBias(bias, x); });
}

inline KernelWork AddWork(DType, const KernelShape& shape) {
  const auto y = SharedRows(shape.tokens, shape.cols, 29);
  return InPlaceWork(SharedRows(shape.tokens, shape.cols, 28), 0, 0,
                     [y](Backend& backend, Rows x) { backend.Add(y->view(), x); });
}

// `cols` pairs of three heads.
inline KernelWork RopeWork(DType, const KernelShape& shape) {
  const RopeShape parameters = {.head_dim = shape.offset + 2 * shape.cols,
                                .offset = shape.offset,
                                .interleaved = shape.interleaved};
  const auto cos = SharedRows(shape.tokens, shape.cols, 24);
  const auto sin = SharedRows(shape.tokens, shape.cols, 25);
  return InPlaceWork(SharedRows(shape.tokens, shape.heads * parameters.head_dim, 23), 1e-6, 1,
                     [parameters, cos, sin](Backend& backend, Rows x) {
                       backend.Rope(x, parameters, cos->view(), sin->view());
                     });
}

inline std::vector<KernelShape> OddRopes(DType) {
  std::vector<KernelShape> shapes;
  for (const int half : {1, 5, 32, 40}) {
    for (const int offset : {0, 3}) {  // all of a head, or its end
      for (const bool interleaved : {false, true}) {
        shapes.push_back(
            {.tokens = 5, .cols = half, .heads = 3, .offset = offset, .interleaved = interleaved});
      }
    }
  }
  return shapes;
}
inline const std::vector<KernelShape> kLargeRopes = {{.tokens = 1, .cols = 64, .heads = 32},
                                                     {.tokens = 64, .cols = 64, .heads = 32}};

inline KernelWork SwiGluWork(DType, const KernelShape& shape) {
  const auto gate = SharedRows(shape.tokens, shape.cols, 26, 10);
  const auto up = SharedRows(shape.tokens, shape.cols, 27);
  const auto out = std::make_shared<OwnedRows>(shape.tokens, shape.cols);
  KernelWork work;
  work.run = [gate, up, out](Backend& backend) {
    backend.SwiGlu(gate->view(), up->view(), out->view());
  };
  work.results = [out] { return FlatValues(out->view()); };
  work.bound = NearBound(2e-6, 1e-20);
  return work;
}

inline KernelWork ClampedSwiGluWork(DType, const KernelShape& shape) {
  const auto up = SharedRows(shape.tokens, shape.cols, 27, 5);
  return InPlaceWork(SharedRows(shape.tokens, shape.cols, 26, 5), 2e-6, 1e-15,
                     [up](Backend& backend, Rows gate) {
                       backend.ClampedSwiGlu(gate, up->view(), 1.7f, 4.0f, gate);
                     });
}

// Two of six rows for each token.
inline KernelWork MixRowsWork(DType, const KernelShape& shape) {
  const auto in = SharedRows(6, shape.cols, 42);
  const auto out = std::make_shared<OwnedRows>(shape.tokens, shape.cols);
  std::vector<int> rows;
  for (int i = 0; i < 2 * shape.tokens; ++i) rows.push_back(5 * i % 6);
  const auto weights = GaussianValues(2 * shape.tokens, 41);
  KernelWork work;
  work.run = [in, out, rows, weights](Backend& backend) {
    backend.MixRows(in->view(), rows, weights, out->view());
  };
  work.results = [out] { return FlatValues(out->view()); };
  work.bound = NearBound(5e-6, 1);
  return work;
}

inline void AddRowKernels(std::vector<KernelSpec>& all) {
  const std::vector<DType> floats = {DType::kF32};
  all.push_back({"RmsNorm", floats, OddHeadRows, kLargeRows, RmsNormWork});
  all.push_back({"LayerNorm", floats, OddRows, kLargeRows, LayerNormWork});
  all.push_back({"Rope", floats, OddRopes, kLargeRopes, RopeWork});
  all.push_back({"SwiGlu", floats, OddRows, kLargeRows, SwiGluWork});
  all.push_back({"ClampedSwiGlu", floats, OddRows, kLargeRows, ClampedSwiGluWork});
  all.push_back({"Add", floats, OddRows, kLargeRows, AddWork});
  all.push_back({"AddBias", floats, OddRows, kLargeRows, AddBiasWork});
  all.push_back({"MixRows", floats, OddRows, kLargeRows, MixRowsWork});
}

}  // namespace doppler
