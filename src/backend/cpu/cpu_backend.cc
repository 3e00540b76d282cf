// Cuts each call into pieces for the threads; the arithmetic is in the table of kernels.

#include <algorithm>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/select.h"
#include "backend/quantize.h"
#include "base/error.h"

namespace doppler {
namespace {

// A piece of less work than this costs more to hand out than to do.
constexpr std::size_t kMinPieceBytes = 16 * kKiB;
constexpr std::size_t kMinPieceFloats = 8192;
// Tokens whose activations stay in the second-level cache while the rows of a piece pass by.
constexpr int kTokensAtOnce = MatMulTile::kMaxTokens;

static_assert(kDTypes.size() == CpuKernels::kTypes && kGridBlock == MatMulTile::kGridBlock);

struct alignas(64) CacheLine {
  std::byte bytes[64];
};

// Where the parts of the quantised activations lie in scratch memory.
struct ScratchLayout {
  explicit ScratchLayout(const KernelLimits& limits) {
    const Bytes values = static_cast<Bytes>(limits.tokens) *
                         AlignUp(static_cast<Bytes>(limits.cols), sizeof(CacheLine));
    scales = AlignUp(values, sizeof(CacheLine));
    sums32 = scales + AlignUp(values / 32 * sizeof(float), sizeof(CacheLine));
    sums16 = sums32 + AlignUp(values / 32 * sizeof(float), sizeof(CacheLine));
    end = sums16 + AlignUp(values / 16 * sizeof(float), sizeof(CacheLine));
  }
  Bytes scales, sums32, sums16, end;
};

QuantizedRows RowsFrom(const QuantizedRows& all, int token) {
  const std::ptrdiff_t start = static_cast<std::ptrdiff_t>(token) * all.cols;
  return {.values = all.values + start,
          .scales = all.scales + start / 32,
          .sums32 = all.sums32 + start / 32,
          .sums16 = all.sums16 + start / 16,
          .cols = all.cols};
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(ThreadPool& pool, CpuPath path)
      : pool_(pool), path_(path), kernels_(KernelsOf(path)) {}

  std::string_view name() const override { return "cpu"; }
  std::string_view path() const override { return CpuPathName(path_); }

  Bytes ScratchBytes(const KernelLimits& limits) const override {
    return kernels_.quantize != nullptr ? ScratchLayout(limits).end : 0;
  }

  void Reserve(const KernelLimits& limits) override {
    limits_ = limits;
    if (kernels_.quantize == nullptr) return;
    const ScratchLayout layout(limits);
    scratch_.resize(layout.end / sizeof(CacheLine));
    auto* base = reinterpret_cast<std::byte*>(scratch_.data());
    quantized_.values = reinterpret_cast<std::int8_t*>(base);
    quantized_.scales = reinterpret_cast<float*>(base + layout.scales);
    quantized_.sums32 = reinterpret_cast<float*>(base + layout.sums32);
    quantized_.sums16 = reinterpret_cast<float*>(base + layout.sums16);
  }

  void MatMul(const WeightMatrix& weights, ConstRows in, Rows out) override {
    DOPPLER_CHECK(in.cols == weights.cols && out.cols == weights.rows && in.rows == out.rows);
    const auto row_bytes = RowBytes(weights.dtype, static_cast<std::uint64_t>(weights.cols));
    DOPPLER_CHECK(row_bytes.has_value());
    if (ReadsInt8(weights.dtype)) QuantizeActivations(in);
    const auto rows = static_cast<std::size_t>(weights.rows);
    pool_.ParallelFor(
        rows, RowsPerPiece(rows, *row_bytes, in.rows), [&](std::size_t begin, std::size_t end) {
          MatMulRows(weights, *row_bytes, static_cast<int>(begin), static_cast<int>(end), in, out);
        });
  }

  void GatherRows(const WeightMatrix& table, std::span<const TokenId> ids, Rows out) override {
    DOPPLER_CHECK(static_cast<int>(ids.size()) == out.rows && out.cols == table.cols);
    const auto cols = static_cast<std::size_t>(table.cols);
    ForEachRow(out.rows, out.cols, [&](int i) {
      const TokenId id = ids[static_cast<std::size_t>(i)];
      DOPPLER_CHECK(id >= 0 && id < table.rows);
      DequantizeColumns(table, static_cast<std::size_t>(id), 0, {out.Row(i), cols});
    });
  }

  void RmsNorm(ConstRows in, std::span<const float> weight, float epsilon, Rows out) override {
    const int size = static_cast<int>(weight.size());
    DOPPLER_CHECK(size > 0 && in.cols % size == 0 && in.cols == out.cols && in.rows == out.rows);
    ForEachRow(in.rows, in.cols, [&](int t) {
      for (int begin = 0; begin < in.cols; begin += size) {
        kernels_.rms_norm(in.Row(t) + begin, weight.data(), epsilon, size, out.Row(t) + begin);
      }
    });
  }

  void Rope(Rows x, int head_dim, ConstRows cos, ConstRows sin) override {
    const int half = head_dim / 2;
    DOPPLER_CHECK(x.cols % head_dim == 0 && cos.cols == half && sin.cols == half);
    ForEachRow(x.rows, x.cols, [&](int t) {
      for (int begin = 0; begin < x.cols; begin += head_dim) {
        kernels_.rope(x.Row(t) + begin, half, cos.Row(t), sin.Row(t));
      }
    });
  }

  void SwiGlu(ConstRows gate, ConstRows up, Rows out) override {
    DOPPLER_CHECK(gate.cols == out.cols && up.cols == out.cols && gate.rows == out.rows &&
                  up.rows == out.rows);
    ForEachRow(out.rows, out.cols,
               [&](int t) { kernels_.swiglu(gate.Row(t), up.Row(t), out.cols, out.Row(t)); });
  }

  void Add(ConstRows y, Rows x) override {
    DOPPLER_CHECK(x.cols == y.cols && x.rows == y.rows);
    ForEachRow(x.rows, x.cols, [&](int t) { kernels_.add(y.Row(t), x.cols, x.Row(t)); });
  }

  void StoreKv(ConstRows keys, ConstRows values, int first_position, const KvView& kv) override {
    DOPPLER_CHECK(keys.cols == kv.kv_heads * kv.head_dim && values.cols == keys.cols &&
                  values.rows == keys.rows);
    ForEachRow(keys.rows, keys.cols, [&](int t) {
      const int position = first_position + t;
      const auto block = static_cast<std::size_t>(position / kv.block_tokens);
      for (int head = 0; head < kv.kv_heads; ++head) {
        const int row = head * kv.block_tokens + position % kv.block_tokens;
        StoreHead(kv, keys.Row(t) + head * kv.head_dim, row, kv.keys[block]);
        StoreHead(kv, values.Row(t) + head * kv.head_dim, row, kv.values[block]);
      }
    });
  }

  void Attention(ConstRows queries, int heads, float scale, int first_position, const KvView& kv,
                 Rows out) override {
    DOPPLER_CHECK(queries.cols == heads * kv.head_dim && out.cols == queries.cols &&
                  out.rows == queries.rows && heads % kv.kv_heads == 0);
    const AttentionKernel attend = AttentionKernelOf(kv.dtype);
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
                          attend({.queries = queries.Row(token) + head * kv.head_dim,
                                  .heads = count,
                                  .head_dim = kv.head_dim,
                                  .scale = scale,
                                  .positions = first_position + token + 1,
                                  .keys = kv.keys.data(),
                                  .values = kv.values.data(),
                                  .block_tokens = kv.block_tokens,
                                  .head_offset = static_cast<std::ptrdiff_t>(head / group) *
                                                 kv.block_tokens * kv.head_dim,
                                  .out = out.Row(token) + head * kv.head_dim});
                          item += count;
                        }
                      });
  }

 private:
  // Calls body(row) for every row, in threads if there is enough to do.
  template <typename Body>
  void ForEachRow(int rows, int cols, const Body& body) {
    const std::size_t grain =
        std::max<std::size_t>(1, kMinPieceFloats / static_cast<std::size_t>(std::max(cols, 1)));
    pool_.ParallelFor(static_cast<std::size_t>(rows), grain,
                      [&](std::size_t begin, std::size_t end) {
                        for (std::size_t i = begin; i < end; ++i) body(static_cast<int>(i));
                      });
  }

  // A few pieces per thread, so that a thread that is held up does not hold up the others.
  std::size_t RowsPerPiece(std::size_t rows, Bytes row_bytes, int tokens) const {
    const std::size_t pieces = pool_.size() == 1 ? 1 : 4 * static_cast<std::size_t>(pool_.size());
    const std::size_t work = row_bytes * static_cast<std::size_t>(std::clamp(tokens, 1, 16));
    const std::size_t least = kMinPieceBytes / std::max<std::size_t>(work, 1) + 1;
    return AlignUp(std::max((rows + pieces - 1) / pieces, least), 4);
  }

  bool ReadsInt8(DType dtype) const {
    return !IsFloat(dtype) && !HasScaleGrid(dtype) && kernels_.quantize != nullptr;
  }

  void QuantizeActivations(ConstRows in) {
    DOPPLER_CHECK(in.rows <= limits_.tokens && in.cols <= limits_.cols);
    quantized_.cols = in.cols;
    ForEachRow(in.rows, in.cols,
               [&](int t) { kernels_.quantize(in.Row(t), RowsFrom(quantized_, t)); });
  }

  void MatMulRows(const WeightMatrix& weights, Bytes row_bytes, int begin, int end, ConstRows in,
                  Rows out) const {
    const auto* data = reinterpret_cast<const unsigned char*>(weights.data);
    const MatMulKernel kernel = kernels_.matmul[static_cast<std::size_t>(weights.dtype)];
    for (int token = 0; token < in.rows; token += kTokensAtOnce) {
      kernel({.weights = data + static_cast<std::size_t>(begin) * row_bytes,
              .row_bytes = row_bytes,
              .rows = end - begin,
              .cols = weights.cols,
              .tokens = std::min(kTokensAtOnce, in.rows - token),
              .unpacker = UnpackerOf(weights.dtype),
              .grid = GridOf(weights, row_bytes),
              .grid_cols = static_cast<int>(GridExtent(static_cast<std::uint64_t>(weights.cols))),
              .first_row = begin,
              .in = in.Row(token),
              .in_stride = in.stride,
              .quantized = ReadsInt8(weights.dtype) ? RowsFrom(quantized_, token) : QuantizedRows{},
              .out = out.Row(token) + begin,
              .out_stride = out.stride});
    }
  }

  static const float* GridOf(const WeightMatrix& weights, Bytes row_bytes) {
    if (!HasScaleGrid(weights.dtype)) return nullptr;
    const Bytes rows_bytes = static_cast<Bytes>(weights.rows) * row_bytes;
    return reinterpret_cast<const float*>(weights.data + GridOffset(rows_bytes));
  }

  void StoreHead(const KvView& kv, const float* from, int row, std::byte* block) const {
    const auto element = static_cast<std::ptrdiff_t>(row) * kv.head_dim;
    if (kv.dtype == DType::kF16) {
      kernels_.to_f16(from, kv.head_dim, reinterpret_cast<Fp16*>(block) + element);
    } else if (kv.dtype == DType::kBf16) {
      kernels_.to_bf16(from, kv.head_dim, reinterpret_cast<Bf16*>(block) + element);
    } else {
      DOPPLER_CHECK(kv.dtype == DType::kF32);
      std::copy_n(from, kv.head_dim, reinterpret_cast<float*>(block) + element);
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
  KernelLimits limits_{.tokens = 0, .cols = 0};
  std::vector<CacheLine> scratch_;
  QuantizedRows quantized_;  // of the call in progress, in scratch_
};

}  // namespace

std::string_view CpuPathName(CpuPath path) {
  switch (path) {
    case CpuPath::kPortable:
      return "portable";
    case CpuPath::kAvx2:
      return "avx2";
    case CpuPath::kAvx512Vnni:
      return "avx512-vnni";
  }
  return "unknown";
}

std::unique_ptr<Backend> MakeCpuBackend(ThreadPool& pool, CpuPath path) {
  return std::make_unique<CpuBackend>(pool, path);
}

}  // namespace doppler
