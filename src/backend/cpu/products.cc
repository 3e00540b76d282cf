#include "backend/cpu/products.h"

#include <algorithm>
#include <array>
#include <utility>

#include "backend/checks.h"
#include "backend/cpu/product_accesses.h"
#include "backend/cpu/row_pieces.h"
#include "backend/cpu/select.h"
#include "base/error.h"

namespace doppler {
namespace {

// Matrices that one loop of the threads goes through: the experts of a token, and then some.
constexpr std::size_t kMostTogether = 32;
// Tokens whose activations stay in the second-level cache while the rows of a piece pass by.
constexpr int kTokensAtOnce = MatMulTile::kMaxTokens;

static_assert(kDTypes.size() == MatMulKernels::kTypes && kGridBlock == MatMulTile::kGridBlock);

int WidestRow(const KernelLimits& limits) { return std::max(limits.cols, limits.kept_cols); }

Bytes RowBytesOf(const WeightMatrix& weights) {
  const auto bytes = RowBytes(weights.dtype, static_cast<std::uint64_t>(weights.cols));
  DOPPLER_CHECK(bytes.has_value());
  return *bytes;
}

// Reading the weights costs as much as multiplying them with some tokens.
RowsOfWork WorkOf(const WeightMatrix& weights, Bytes row_bytes, int tokens) {
  return {weights.rows, row_bytes * static_cast<std::size_t>(std::clamp(tokens, 1, 16))};
}

// Of parts of about the same size: a few tokens left over would cost as much as many. Halves come
// in tiles of sixteen tokens.
int TokensOfPart(int tokens, bool of_halves) {
  const int most = of_halves ? MatMulTile::kMaxPromptTokens : kTokensAtOnce;
  const int parts = std::max(1, (tokens + most - 1) / most);
  const int part = (tokens + parts - 1) / parts;
  return of_halves ? InHalfTiles(part) : part;
}

const float* GridOf(const WeightMatrix& weights, Bytes row_bytes) {
  if (!HasScaleGrid(weights.dtype)) return nullptr;
  const Bytes rows_bytes = static_cast<Bytes>(weights.rows) * row_bytes;
  return reinterpret_cast<const float*>(weights.data + GridOffset(rows_bytes));
}

}  // namespace

CpuProducts::CpuProducts(ThreadPool& pool, const CpuKernels& kernels)
    : pool_(pool), kernels_(kernels), fetch_distance_(FetchDistanceHere()), inputs_(pool, kernels) {
  products_.reserve(kMostTogether);
  units_.reserve(kMostTogether);
}

Bytes CpuProducts::ScratchBytes(const KernelLimits& limits) const {
  return inputs_.ScratchBytes(limits) + UngroupedRows::BytesFor(pool_.size(), WidestRow(limits));
}

void CpuProducts::Reserve(const KernelLimits& limits) {
  inputs_.Reserve(limits);
  ungrouped_.Reserve(pool_.size(), WidestRow(limits));
}

void CpuProducts::MatMulAll(std::span<const Product> products) {
  inputs_.Begin();
  for (const Product& product : products) {
    CheckProduct(*product.weights, product.in, product.out);
    auto in = inputs_.Prepare(product.weights->dtype, product.in);
    if (!in || products_.size() == kMostTogether) {
      RunProducts();
      in = inputs_.Prepare(product.weights->dtype, product.in);
    }
    products_.push_back({{product.weights, RowBytesOf(*product.weights), *in}, product.out});
  }
  RunProducts();
}

void CpuProducts::RunProducts() {
  std::array<RowsOfWork, kMostTogether> work;
  for (std::size_t i = 0; i < products_.size(); ++i) {
    const auto& [operands, out] = products_[i];
    work[i] = WorkOf(*operands.weights, operands.row_bytes, out.rows);
  }
  ForEachPiece(pool_, std::span(work).first(products_.size()),
               [&](std::size_t i, int begin, int end) {
                 const auto& [operands, out] = products_[i];
                 Multiply(operands, begin, end, Columns(out, begin, end - begin));
               });
  products_.clear();
  inputs_.Begin();
}

void CpuProducts::MatMulGated(std::span<const GatedProduct> units, const Gating& gating,
                              ConstRows in) {
  for (const GatedProduct& unit : units) CheckGated(unit, in.rows, in.cols);
  MultiplyUnits(units, gating,
                [&](const GatedProduct&, DType weights) { return inputs_.Prepare(weights, in); });
}

void CpuProducts::MatMulGatedOfKept(std::span<const GatedProduct> units, const Gating& gating) {
  for (const GatedProduct& unit : units) {
    CheckGated(unit, static_cast<int>(unit.rows.size()), inputs_.kept().cols);
  }
  MultiplyUnits(units, gating, [&](const GatedProduct& unit, DType weights) {
    return inputs_.PrepareKept(weights, unit.rows);
  });
}

void CpuProducts::MultiplyUnits(std::span<const GatedProduct> units, const Gating& gating,
                                Prepare prepare) {
  inputs_.Begin();
  for (const GatedProduct& unit : units) {
    if (units_.size() < kMostTogether && AddUnit(unit, prepare)) continue;
    RunUnits(gating);
    if (!AddUnit(unit, prepare)) RunApart(unit, gating, prepare);
  }
  RunUnits(gating);
}

// False if the activations of both do not fit beside those of the call.
bool CpuProducts::AddUnit(const GatedProduct& unit, Prepare prepare) {
  const auto gate = prepare(unit, unit.gate->dtype);
  const auto up = gate ? prepare(unit, unit.up->dtype) : std::nullopt;
  if (!up) return false;
  units_.push_back(
      {&unit, {unit.gate, RowBytesOf(*unit.gate), *gate}, {unit.up, RowBytesOf(*unit.up), *up}});
  return true;
}

void CpuProducts::RunUnits(const Gating& gating) {
  std::array<RowsOfWork, kMostTogether> work;
  for (std::size_t i = 0; i < units_.size(); ++i) {
    const auto& [unit, gate, up] = units_[i];
    work[i] = WorkOf(*gate.weights, gate.row_bytes + up.row_bytes, unit->out.rows);
  }
  ForEachPiece(pool_, std::span(work).first(units_.size()), [&](std::size_t i, int begin, int end) {
    const auto& [unit, gate, up] = units_[i];
    Multiply(gate, begin, end, Columns(unit->out, begin, end - begin));
    Multiply(up, begin, end, Columns(unit->up_values, begin, end - begin));
    Activate(*unit, gating, begin, end);
  });
  units_.clear();
  inputs_.Begin();
}

// A gate and an up that read the activations in two ways, of which there is only room for one.
void CpuProducts::RunApart(const GatedProduct& unit, const Gating& gating, Prepare prepare) {
  for (const auto& [weights, out] :
       {std::pair(unit.gate, unit.out), std::pair(unit.up, unit.up_values)}) {
    inputs_.Begin();
    products_.push_back({{weights, RowBytesOf(*weights), *prepare(unit, weights->dtype)}, out});
    RunProducts();
  }
  Activate(unit, gating, 0, unit.out.cols);
}

void CpuProducts::Activate(const GatedProduct& unit, const Gating& gating, int begin,
                           int end) const {
  const int size = end - begin;
  for (int t = 0; t < unit.out.rows; ++t) {
    float* gate = unit.out.Row(t) + begin;
    float* up = unit.up_values.Row(t) + begin;
    if (!unit.gate_bias.empty()) kernels_.add(unit.gate_bias.data() + begin, size, gate);
    if (!unit.up_bias.empty()) kernels_.add(unit.up_bias.data() + begin, size, up);
    if (gating.clamped) {
      kernels_.clamped_swiglu(gate, up, gating.alpha, gating.limit, size, gate);
    } else {
      kernels_.swiglu(gate, up, size, gate);
    }
  }
}

void CpuProducts::MatMulHeads(const HeadMatrices& weights, ConstRows in, int in_step, Rows out,
                              int out_step) {
  const int cols = weights.all.cols;
  CheckHeads(weights, in, in_step, cols, out, out_step, weights.rows);
  DOPPLER_CHECK(weights.all.layout == WeightLayout::kRow);
  const Bytes row_bytes = RowBytesOf(weights.all);
  const ProductInput all =
      inputs_.PrepareHeads(weights.all.dtype, in, in_step, weights.heads, cols);
  ForEachHead(pool_, weights.heads, [&](int head) {
    const int begin = head * weights.stride + weights.first;
    const ProductInput of_head = {.floats = Columns(in, head * in_step, cols),
                                  .quantized = RowsFrom(all.quantized, head * in.rows)};
    MultiplyInOrder({&weights.all, row_bytes, of_head}, begin, begin + weights.rows,
                    Columns(out, head * out_step, weights.rows));
  });
}

void CpuProducts::Multiply(const Operands& operands, int begin, int end, Rows out) {
  const WeightMatrix& weights = *operands.weights;
  const bool reads_groups = kernels_.reads_groups && weights.layout == GroupLayoutOf(weights.dtype);
  if (!IsGrouped(weights.layout) || reads_groups) {
    MultiplyInOrder(operands, begin, end, out);
  } else {
    MultiplyUngrouped(operands, begin, end, out);
  }
}

// One group of rows after the other.
void CpuProducts::MultiplyUngrouped(const Operands& operands, int begin, int end, Rows out) {
  UngroupedRows::Place place(ungrouped_);
  for (int row = begin; row < end; row += kGroupRows) {
    const WeightMatrix rows = {.data = place.Read(*operands.weights, row),
                               .dtype = operands.weights->dtype,
                               .rows = kGroupRows,
                               .cols = operands.weights->cols};
    MultiplyInOrder({&rows, operands.row_bytes, operands.in}, 0, kGroupRows,
                    Columns(out, row - begin, kGroupRows));
  }
}

void CpuProducts::MultiplyInOrder(const Operands& operands, int begin, int end, Rows out) const {
  const auto& [weights, row_bytes, in] = operands;
  const auto* data = reinterpret_cast<const unsigned char*>(weights->data);
  const bool of_halves = in.quantized.halves != nullptr;
  const MatMulKernel kernel =
      of_halves ? kernels_.prompt_matmul->of[static_cast<std::size_t>(weights->dtype)]
                : ProductOf(kernels_, weights->dtype);
  const int step = TokensOfPart(out.rows, of_halves);
  for (int token = 0; token < out.rows; token += step) {
    const MatMulTile tile = {
        .weights = data + static_cast<std::size_t>(begin) * row_bytes,
        .row_bytes = row_bytes,
        .grouped = IsGrouped(weights->layout),
        .fetch_distance = fetch_distance_,
        .rows = end - begin,
        .cols = weights->cols,
        .tokens = std::min(step, out.rows - token),
        .unpacker = UnpackerOf(weights->dtype),
        .grid = GridOf(*weights, row_bytes),
        .grid_cols = static_cast<int>(GridExtent(static_cast<std::uint64_t>(weights->cols))),
        .first_row = begin,
        .in = in.floats.Row(token),
        .in_stride = in.floats.stride,
        .quantized = RowsFrom(in.quantized, token),
        .out = out.Row(token),
        .out_stride = out.stride};
    TellOfAccesses(tile);
    kernel(tile);
  }
}

}  // namespace doppler
