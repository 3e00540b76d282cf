// The kernels that read weights, as entries of the list.
#pragma once

#include <algorithm>
#include <utility>

#include "backend/kernel_work.h"
#include "backend/row_groups.h"

namespace doppler {

inline std::vector<DType> EveryType() {
  std::vector<DType> types;
  for (const DTypeTraits& traits : kDTypes) types.push_back(traits.dtype);
  return types;
}

// One block, an odd number of blocks, more than a kernel takes at once; for floats also lengths
// that fill no register.
inline std::vector<int> OddColumns(DType type) {
  if (IsFloat(type) || HasScaleGrid(type)) return {1, 7, 16, 37, 300, 700};
  const int block = Traits(type).block_elements;
  return {block, 2 * block, 3 * block, (block < 256 ? 11 : 5) * block};
}

inline std::vector<KernelShape> OddProducts(DType type) {
  std::vector<KernelShape> shapes;
  for (const int cols : OddColumns(type)) {
    for (const int rows : {1, 3, 17}) {
      for (const int tokens : {1, 2, 3, 5, 16}) {
        shapes.push_back({.tokens = tokens, .rows = rows, .cols = cols});
      }
    }
  }
  return shapes;
}

inline std::vector<KernelShape> OddGroupedProducts(DType type) {
  std::vector<KernelShape> shapes;
  for (const int cols : OddColumns(type)) {
    for (const int tokens : {1, 2, 3, 5, 16}) {
      shapes.push_back({.tokens = tokens, .rows = 2 * kGroupRows, .cols = cols});
    }
  }
  return shapes;
}

// Fewer of them: the products are those of MatMul.
inline std::vector<KernelShape> OddGated(DType type) {
  const int cols = OddColumns(type).back();
  return {{.tokens = 1, .rows = 5, .cols = cols}, {.tokens = 7, .rows = 35, .cols = cols}};
}

inline const std::vector<KernelShape> kLargeProducts = {{.tokens = 1, .rows = 0, .cols = 4096},
                                                        {.tokens = 64, .rows = 1024, .cols = 4096}};

inline const std::vector<KernelShape> kLargeGated = {{.tokens = 1, .rows = 768, .cols = 2048},
                                                     {.tokens = 64, .rows = 768, .cols = 2048}};

// Rows so that a matrix takes about 128 MiB, more than any cache.
inline int RowCount(DType type, const KernelShape& shape) {
  if (shape.rows > 0) return shape.rows;
  return static_cast<int>(128 * kMiB / *RowBytes(type, static_cast<unsigned>(shape.cols)) / 16) *
         16;
}

// A matrix and its activations, which int8 holds exactly.
struct ProductData {
  ProductData(DType type, const KernelShape& shape, int in_cols)
      : matrix(MatrixOf(type, RowCount(type, shape), shape.cols)),
        in(shape.tokens, in_cols, ExactActivations(shape.tokens * in_cols, 2), 3) {}

  OwnedMatrix matrix;
  OwnedRows in;
};

inline KernelWork WorkOf(const std::shared_ptr<ProductData>& data,
                         const std::shared_ptr<OwnedRows>& out) {
  const double tokens = data->in.view().rows;
  KernelWork work;
  work.limits = {.tokens = data->in.view().rows,
                 .cols = data->in.view().cols,
                 .kept_cols = data->in.view().cols};
  work.results = [out] { return FlatValues(out->view()); };
  work.operations = 2 * tokens * data->matrix.view.rows * data->matrix.view.cols;
  work.bytes = data->matrix.bytes.size();
  return work;
}

inline KernelWork MatMulWorkOf(const std::shared_ptr<ProductData>& data, const KernelShape& shape) {
  const int rows = data->matrix.view.rows;
  const auto out = std::make_shared<OwnedRows>(shape.tokens, rows, 2);
  KernelWork work = WorkOf(data, out);
  work.run = [data, out](Backend& backend) {
    backend.MatMul(data->matrix.view, data->in.view(), out->view());
  };
  work.size = [data, rows](std::size_t index) {
    const auto at = static_cast<int>(index);
    return SizeOfProducts(data->matrix.view, at % rows, data->in.view().Row(at / rows));
  };
  work.bound = [size = work.size](std::size_t index, float) { return 1e-5 * size(index); };
  return work;
}

inline KernelWork MatMulWork(DType type, const KernelShape& shape) {
  return MatMulWorkOf(std::make_shared<ProductData>(type, shape, shape.cols), shape);
}

// The same of a matrix in groups of rows.
inline KernelWork MatMulOfGroupsWork(DType type, const KernelShape& shape) {
  const auto data = std::make_shared<ProductData>(type, shape, shape.cols);
  data->matrix = InGroups(data->matrix.view);
  return MatMulWorkOf(data, shape);
}

inline std::vector<int> FirstRows(int count) {
  std::vector<int> rows;
  for (int row = 0; row < count; ++row) rows.push_back(row);
  return rows;
}

inline std::vector<int> LastToFirst(int count) {
  std::vector<int> rows = FirstRows(count);
  std::reverse(rows.begin(), rows.end());
  return rows;
}

// Some gated units of those rows of activations, the last with biases, and the up projection of
// the middle one of a type of its own.
struct GatedUnits {
  static constexpr int kUnits = 3;

  GatedUnits(DType type, DType middle_up, int rows_of_each, int cols, std::vector<int> in_rows)
      : rows(rows_of_each),
        chosen(std::move(in_rows)),
        gate_bias(GaussianValues(rows, 51)),
        up_bias(GaussianValues(rows, 52)),
        up_values(kUnits * tokens(), rows),
        out(kUnits * tokens(), rows, 2) {
    for (unsigned i = 0; i < 2 * kUnits; ++i) {
      matrices.push_back(RandomMatrix(i == 3 ? middle_up : type, rows, cols, 60 + i));
    }
    for (int i = 0; i < kUnits; ++i) {
      const auto first = static_cast<std::size_t>(2 * i);
      units.push_back({.rows = chosen,
                       .gate = &matrices[first].view,
                       .up = &matrices[first + 1].view,
                       .gate_bias = i == 2 ? gate_bias : std::span<const float>(),
                       .up_bias = i == 2 ? up_bias : std::span<const float>(),
                       .up_values = RowsOfUnit(up_values, i),
                       .out = RowsOfUnit(out, i)});
    }
  }
  GatedUnits(const GatedUnits&) = delete;
  GatedUnits& operator=(const GatedUnits&) = delete;

  int tokens() const { return static_cast<int>(chosen.size()); }
  Rows RowsOfUnit(OwnedRows& all, int unit) const { return all.Slice(unit * tokens(), tokens()); }

  int rows;
  std::vector<int> chosen;
  std::vector<OwnedMatrix> matrices;
  std::vector<float> gate_bias;
  std::vector<float> up_bias;
  OwnedRows up_values;
  OwnedRows out;
  std::vector<GatedProduct> units;
};

// Of all tokens, or of what is kept: all tokens from the last to the first.
inline KernelWork GatedWork(DType type, const KernelShape& shape, bool kept) {
  const auto in = std::make_shared<OwnedRows>(shape.tokens, shape.cols,
                                              ExactActivations(shape.tokens * shape.cols, 2), 3);
  const auto data =
      std::make_shared<GatedUnits>(type, type, shape.rows, shape.cols,
                                   kept ? LastToFirst(shape.tokens) : FirstRows(shape.tokens));
  KernelWork work;
  work.limits = {.tokens = shape.tokens, .cols = shape.cols, .kept_cols = shape.cols};
  work.results = [data] { return FlatValues(data->out.view()); };
  work.operations = 4.0 * GatedUnits::kUnits * shape.tokens * shape.rows * shape.cols;
  for (const OwnedMatrix& matrix : data->matrices) work.bytes += matrix.bytes.size();
  work.run = [data, in, kept](Backend& backend) {
    const Gating gating = {.clamped = data->chosen.size() > 1, .alpha = 1.7f, .limit = 4.0f};
    if (kept) {
      backend.Keep(in->view());
      backend.MatMulGatedOfKept(data->units, gating);
    } else {
      backend.MatMulGated(data->units, gating, in->view());
    }
  };
  // To first order: the error of either product times the largest slope or value of the other's
  // factor.
  work.size = [data, in](std::size_t index) {
    const std::vector<int>& chosen = data->chosen;
    const auto rows = static_cast<std::size_t>(data->rows);
    const std::size_t unit = index / rows / chosen.size();
    const float* x = in->view().Row(chosen[index / rows % chosen.size()]);
    const auto size = [&](std::size_t matrix) {
      return SizeOfProducts(data->matrices[matrix].view, static_cast<int>(index % rows), x) + 4;
    };
    const double gate = size(2 * unit);
    const double up = size(2 * unit + 1);
    return 2.2 * gate * up;
  };
  // And that of the gating itself.
  work.bound = [size = work.size](std::size_t index, float expected) {
    return 1e-5 * size(index) + 2e-6 * std::abs(expected);
  };
  return work;
}

// Matrices of `rows` rows of `cols` columns for each head; the key and value parts of a latent
// projection among them.
inline std::vector<KernelShape> OddHeads(DType) {
  return {{.tokens = 1, .rows = 6, .cols = 256, .heads = 4, .stride = 13},
          {.tokens = 3, .rows = 7, .cols = 256, .heads = 4, .offset = 6, .stride = 39},
          {.tokens = 2, .rows = 3, .cols = 512, .heads = 2, .stride = 3},
          {.tokens = 2, .rows = 1, .cols = 256, .heads = 1, .stride = 1},
          {.tokens = 9, .rows = 5, .cols = 256, .heads = 3, .offset = 2, .stride = 9}};
}
inline const std::vector<KernelShape> kLargeHeads = {
    {.tokens = 1, .rows = 128, .cols = 512, .heads = 64, .stride = 256},
    {.tokens = 64, .rows = 128, .cols = 512, .heads = 64, .stride = 256}};

inline KernelWork HeadsWork(DType type, const KernelShape& shape, bool transposed) {
  // Floats between the heads of a row: a whole run, so that the activations stay exact.
  const int in_step = (transposed ? shape.rows : shape.cols) + 32;
  const int out_step = (transposed ? shape.cols : shape.rows) + 3;
  KernelShape all = shape;
  all.rows = (shape.heads - 1) * shape.stride + shape.offset + shape.rows;
  const auto data = std::make_shared<ProductData>(type, all, shape.heads * in_step);
  const auto out = std::make_shared<OwnedRows>(shape.tokens, shape.heads * out_step);
  const HeadMatrices heads = {.all = data->matrix.view,
                              .heads = shape.heads,
                              .stride = shape.stride,
                              .first = shape.offset,
                              .rows = shape.rows};
  KernelWork work = WorkOf(data, out);
  work.limits.cols = std::max(work.limits.cols, shape.heads * shape.cols);
  work.run = [data, out, heads, in_step, out_step, transposed](Backend& backend) {
    if (transposed) {
      backend.MatMulHeadsTransposed(heads, data->in.view(), in_step, out->view(), out_step);
    } else {
      backend.MatMulHeads(heads, data->in.view(), in_step, out->view(), out_step);
    }
  };
  work.operations = 2.0 * shape.tokens * shape.heads * shape.rows * shape.cols;
  if (transposed) {
    work.bound = [](std::size_t, float expected) { return 2e-5 * (1 + std::abs(expected)); };
    return work;
  }
  work.bound = [data, heads, in_step, out_step](std::size_t index, float) {
    const int in_row = static_cast<int>(index) % (heads.heads * out_step);
    const int token = static_cast<int>(index) / (heads.heads * out_step);
    const int head = in_row / out_step;
    const int row = head * heads.stride + heads.first + in_row % out_step;
    return 1e-5 * SizeOfProducts(heads.all, row, data->in.view().Row(token) + head * in_step);
  };
  return work;
}

inline KernelWork GatherRowsWork(DType type, const KernelShape& shape) {
  const auto data = std::make_shared<ProductData>(type, shape, shape.cols);
  const auto out = std::make_shared<OwnedRows>(4, shape.cols, 2);
  KernelWork work = WorkOf(data, out);
  work.run = [data, out](Backend& backend) {
    const std::vector<TokenId> ids = {data->matrix.view.rows - 1, 0, 3, 3};
    backend.GatherRows(data->matrix.view, ids, out->view());
  };
  work.bound = NearBound(0);  // the same bits
  work.operations = 0;
  return work;
}

inline void AddProducts(std::vector<KernelSpec>& all) {
  all.push_back({"MatMul", EveryType(), OddProducts, kLargeProducts, MatMulWork});
  all.push_back(
      {"MatMulOfGroups", GroupedTypes(), OddGroupedProducts, kLargeProducts, MatMulOfGroupsWork});
  all.push_back(
      {"MatMulGated", EveryType(), OddGated, kLargeGated,
       [](DType type, const KernelShape& shape) { return GatedWork(type, shape, false); }});
  all.push_back(
      {"MatMulGatedOfKept", EveryType(), OddGated, kLargeGated,
       [](DType type, const KernelShape& shape) { return GatedWork(type, shape, true); }});
  all.push_back(
      {"MatMulHeads", EveryType(), OddHeads, kLargeHeads,
       [](DType type, const KernelShape& shape) { return HeadsWork(type, shape, false); }});
  all.push_back(
      {"MatMulHeadsTransposed", EveryType(), OddHeads, kLargeHeads,
       [](DType type, const KernelShape& shape) { return HeadsWork(type, shape, true); }});
  all.push_back({"GatherRows",
                 EveryType(),
                 [](DType) { return std::vector<KernelShape>{{.rows = 9, .cols = 512}}; },
                 {{.rows = 1024, .cols = 4096}},
                 GatherRowsWork});
}

}  // namespace doppler
