// Cuts each call into pieces for the threads; the arithmetic is in the table of kernels, and the
// matrix products are in products.h.

#include <algorithm>

#include "backend/backend.h"
#include "backend/checks.h"
#include "backend/cpu/products.h"
#include "backend/cpu/row_pieces.h"
#include "backend/cpu/select.h"
#include "backend/quantize.h"
#include "base/error.h"

namespace doppler {
namespace {

// Columns of a transposed product whose sums stay in the first-level cache; a whole number of
// blocks of every format.
constexpr int kColumnsAtOnce = 256;

class CpuBackend final : public Backend {
 public:
  CpuBackend(ThreadPool& pool, CpuPath path)
      : pool_(pool), path_(path), kernels_(KernelsOf(path)), products_(pool, kernels_) {}

  std::string_view name() const override { return "cpu"; }
  std::string_view path() const override { return CpuPathName(path_); }

  Bytes ScratchBytes(const KernelLimits& limits) const override {
    return products_.ScratchBytes(limits);
  }
  void Reserve(const KernelLimits& limits) override { products_.Reserve(limits); }

  void Begin(Phase phase) override { products_.Begin(phase); }
  void MatMulAll(std::span<const Product> products) override { products_.MatMulAll(products); }
  void MatMulGated(std::span<const GatedProduct> units, const Gating& gating,
                   ConstRows in) override {
    products_.MatMulGated(units, gating, in);
  }
  void Keep(ConstRows in) override { products_.Keep(in); }
  void MatMulGatedOfKept(std::span<const GatedProduct> units, const Gating& gating) override {
    products_.MatMulGatedOfKept(units, gating);
  }
  void MatMulHeads(const HeadMatrices& weights, ConstRows in, int in_step, Rows out,
                   int out_step) override {
    products_.MatMulHeads(weights, in, in_step, out, out_step);
  }

  void MixRows(ConstRows in, std::span<const int> rows, std::span<const float> weights,
               Rows out) override {
    CheckMix(in, rows, weights, out);
    const std::size_t k = rows.size() / static_cast<std::size_t>(out.rows);
    ForEachRow(pool_, out.rows, out.cols * static_cast<int>(k), [&](int t) {
      std::fill_n(out.Row(t), out.cols, 0.0f);
      for (std::size_t i = static_cast<std::size_t>(t) * k, end = i + k; i < end; ++i) {
        kernels_.add_scaled(in.Row(rows[i]), weights[i], out.cols, out.Row(t));
      }
    });
  }

  void MatMulHeadsTransposed(const HeadMatrices& weights, ConstRows in, int in_step, Rows out,
                             int out_step) override {
    CheckHeads(weights, in, in_step, weights.rows, out, out_step, weights.all.cols);
    ForEachHead(pool_, weights.heads, [&](int head) {
      for (int begin = 0; begin < weights.all.cols; begin += kColumnsAtOnce) {
        const int count = std::min(kColumnsAtOnce, weights.all.cols - begin);
        AddScaledRows(weights.all, head * weights.stride + weights.first, begin,
                      Columns(in, head * in_step, weights.rows),
                      Columns(out, head * out_step + begin, count));
      }
    });
  }

  void GatherRows(const WeightMatrix& table, std::span<const TokenId> ids, Rows out) override {
    DOPPLER_CHECK(static_cast<int>(ids.size()) == out.rows && out.cols == table.cols);
    const auto cols = static_cast<std::size_t>(table.cols);
    ForEachRow(pool_, out.rows, out.cols, [&](int i) {
      const TokenId id = ids[static_cast<std::size_t>(i)];
      DOPPLER_CHECK(id >= 0 && id < table.rows);
      DequantizeColumns(table, static_cast<std::size_t>(id), 0, {out.Row(i), cols});
    });
  }

  void RmsNorm(ConstRows in, std::span<const float> weight, float epsilon, Rows out) override {
    const int size = static_cast<int>(weight.size());
    DOPPLER_CHECK(size > 0 && in.cols % size == 0 && in.cols == out.cols && in.rows == out.rows);
    ForEachRow(pool_, in.rows, in.cols, [&](int t) {
      for (int begin = 0; begin < in.cols; begin += size) {
        kernels_.rms_norm(in.Row(t) + begin, weight.data(), epsilon, size, out.Row(t) + begin);
      }
    });
  }

  void LayerNorm(ConstRows in, std::span<const float> weight, std::span<const float> bias,
                 float epsilon, Rows out) override {
    const auto size = static_cast<std::size_t>(in.cols);
    DOPPLER_CHECK(weight.size() == size && bias.size() == size && in.cols == out.cols &&
                  in.rows == out.rows);
    ForEachRow(pool_, in.rows, in.cols, [&](int t) {
      kernels_.layer_norm(in.Row(t), weight.data(), bias.data(), epsilon, in.cols, out.Row(t));
    });
  }

  void Rope(Rows x, const RopeShape& shape, ConstRows cos, ConstRows sin) override {
    CheckRope(x, shape, cos, sin);
    const auto rope = shape.interleaved ? kernels_.rope_interleaved : kernels_.rope;
    ForEachRow(pool_, x.rows, x.cols, [&](int t) {
      for (int begin = shape.offset; begin < x.cols; begin += shape.head_dim) {
        rope(x.Row(t) + begin, cos.cols, cos.Row(t), sin.Row(t));
      }
    });
  }

  void SwiGlu(ConstRows gate, ConstRows up, Rows out) override {
    DOPPLER_CHECK(gate.cols == out.cols && up.cols == out.cols && gate.rows == out.rows &&
                  up.rows == out.rows);
    ForEachRow(pool_, out.rows, out.cols,
               [&](int t) { kernels_.swiglu(gate.Row(t), up.Row(t), out.cols, out.Row(t)); });
  }

  void ClampedSwiGlu(ConstRows gate, ConstRows up, float alpha, float limit, Rows out) override {
    DOPPLER_CHECK(gate.cols == out.cols && up.cols == out.cols && gate.rows == out.rows &&
                  up.rows == out.rows);
    ForEachRow(pool_, out.rows, out.cols, [&](int t) {
      kernels_.clamped_swiglu(gate.Row(t), up.Row(t), alpha, limit, out.cols, out.Row(t));
    });
  }

  void AddBias(std::span<const float> bias, Rows x) override {
    DOPPLER_CHECK(static_cast<int>(bias.size()) == x.cols);
    ForEachRow(pool_, x.rows, x.cols, [&](int t) { kernels_.add(bias.data(), x.cols, x.Row(t)); });
  }

  void Add(ConstRows y, Rows x) override {
    DOPPLER_CHECK(x.cols == y.cols && x.rows == y.rows);
    ForEachRow(pool_, x.rows, x.cols, [&](int t) { kernels_.add(y.Row(t), x.cols, x.Row(t)); });
  }

  void StoreKv(ConstRows keys, ConstRows values, int first_position, const KvView& kv) override {
    CheckStoreKv(keys, values, kv);
    ForEachRow(pool_, keys.rows, keys.cols, [&](int t) {
      const int position = first_position + t;
      const auto block = static_cast<std::size_t>(position / kv.block_tokens) % kv.keys.size();
      for (int head = 0; head < kv.kv_heads; ++head) {
        const int row = head * kv.block_tokens + position % kv.block_tokens;
        StoreHead(kv.dtype, keys.Row(t) + head * kv.key_dim, row, kv.key_dim, kv.keys[block]);
        if (kv.SharesKeys()) continue;
        StoreHead(kv.dtype, values.Row(t) + head * kv.value_dim, row, kv.value_dim,
                  kv.values[block]);
      }
    });
  }

  void Attention(ConstRows queries, const AttentionShape& shape, int first_position,
                 const KvView& kv, Rows out) override {
    CheckAttention(queries, shape, kv, out);
    const int heads = shape.heads;
    const int group = heads / kv.kv_heads;
    const int items = queries.rows * heads;
    // Heads that share keys stay together unless that would leave threads idle.
    const int pieces = 2 * pool_.size();
    const int grain = std::clamp((items + pieces - 1) / pieces, 1, group);
    pool_.ParallelFor(static_cast<std::size_t>(items), static_cast<std::size_t>(grain),
                      [&](std::size_t begin, std::size_t end) {
                        for (int item = static_cast<int>(begin); item < static_cast<int>(end);) {
                          const int token = item / heads;
                          const int head = item % heads;
                          const int count =
                              std::min({static_cast<int>(end) - item, group - head % group,
                                        AttentionTask::kMaxHeads});
                          AttendHeads(queries.Row(token), shape, head, count,
                                      first_position + token, kv, out.Row(token));
                          item += count;
                        }
                      });
  }

 private:
  // out[t] = sum over r of in[t, r] * row first_row + r, in the columns from `begin` on.
  void AddScaledRows(const WeightMatrix& weights, int first_row, int begin, ConstRows in,
                     Rows out) const {
    float part[kColumnsAtOnce];
    const std::span values(part, static_cast<std::size_t>(out.cols));
    for (int t = 0; t < out.rows; ++t) std::fill_n(out.Row(t), out.cols, 0.0f);
    for (int r = 0; r < in.cols; ++r) {
      DequantizeColumns(weights, static_cast<std::size_t>(first_row) + static_cast<std::size_t>(r),
                        static_cast<std::size_t>(begin), values);
      for (int t = 0; t < out.rows; ++t) {
        kernels_.add_scaled(part, in.Row(t)[r], out.cols, out.Row(t));
      }
    }
  }

  // `count` query heads of one token, which share a KV head.
  void AttendHeads(const float* queries, const AttentionShape& shape, int head, int count,
                   int position, const KvView& kv, float* out) const {
    const std::ptrdiff_t rows =
        static_cast<std::ptrdiff_t>(head / (shape.heads / kv.kv_heads)) * kv.block_tokens;
    const int value_stride = kv.SharesKeys() ? kv.key_dim : kv.value_dim;
    AttentionKernelOf(kv.dtype)({.queries = queries + head * kv.key_dim,
                                 .sinks = shape.sinks.empty() ? nullptr : shape.sinks.data() + head,
                                 .heads = count,
                                 .key_dim = kv.key_dim,
                                 .value_dim = kv.value_dim,
                                 .value_stride = value_stride,
                                 .scale = shape.scale,
                                 .first = kv.window > 0 ? std::max(0, position - kv.window + 1) : 0,
                                 .end = position + 1,
                                 .keys = kv.keys.data(),
                                 .values = kv.SharesKeys() ? kv.keys.data() : kv.values.data(),
                                 .blocks = static_cast<int>(kv.keys.size()),
                                 .block_tokens = kv.block_tokens,
                                 .key_offset = rows * kv.key_dim,
                                 .value_offset = rows * value_stride,
                                 .out = out + head * kv.value_dim});
  }

  void StoreHead(DType dtype, const float* from, int row, int dim, std::byte* block) const {
    const auto element = static_cast<std::ptrdiff_t>(row) * dim;
    if (dtype == DType::kF16) {
      kernels_.to_f16(from, dim, reinterpret_cast<Fp16*>(block) + element);
    } else if (dtype == DType::kBf16) {
      kernels_.to_bf16(from, dim, reinterpret_cast<Bf16*>(block) + element);
    } else {
      DOPPLER_CHECK(dtype == DType::kF32);
      std::copy_n(from, dim, reinterpret_cast<float*>(block) + element);
    }
  }

  AttentionKernel AttentionKernelOf(DType dtype) const {
    if (dtype == DType::kF16) return kernels_.attend_f16;
    if (dtype == DType::kBf16) return kernels_.attend_bf16;
    DOPPLER_CHECK(dtype == DType::kF32);
    return kernels_.attend_f32;
  }

  ThreadPool& pool_;
  CpuPath path_;
  const CpuKernels& kernels_;
  CpuProducts products_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(ThreadPool& pool, CpuPath path) {
  return std::make_unique<CpuBackend>(pool, path);
}

}  // namespace doppler
