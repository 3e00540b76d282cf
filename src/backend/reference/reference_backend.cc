// The definition of right: every kernel as its comment in backend.h reads.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backend/backend.h"
#include "backend/checks.h"
#include "backend/quantize.h"
#include "base/error.h"

namespace doppler {
namespace {

float LoadKv(DType dtype, const std::byte* block, std::size_t index) {
  float value = 0;
  const std::size_t size = static_cast<std::size_t>(Traits(dtype).block_bytes);
  Dequantize(dtype, {block + index * size, size}, {&value, 1});
  return value;
}

class ReferenceBackend final : public Backend {
 public:
  explicit ReferenceBackend(ThreadPool& pool) : pool_(pool) {}

  std::string_view name() const override { return "reference"; }
  std::string_view path() const override { return "reference"; }

  Bytes ScratchBytes(const KernelLimits& limits) const override {
    return sizeof(float) *
           (static_cast<Bytes>(limits.context) * static_cast<Bytes>(pool_.size()) +
            static_cast<Bytes>(limits.tokens) * static_cast<Bytes>(limits.kept_cols));
  }

  void Reserve(const KernelLimits& limits) override {
    context_ = static_cast<std::size_t>(limits.context);
    scores_.resize(context_ * static_cast<std::size_t>(pool_.size()));
    chosen_.resize(static_cast<std::size_t>(limits.tokens) *
                   static_cast<std::size_t>(limits.kept_cols));
  }

  void MatMulAll(std::span<const Product> products) override {
    for (const Product& product : products) {
      CheckProduct(*product.weights, product.in, product.out);
      pool_.ParallelFor(static_cast<std::size_t>(product.weights->rows), 8,
                        [&](std::size_t begin, std::size_t end) {
                          for (std::size_t row = begin; row < end; ++row)
                            MatMulRow(*product.weights, row, product.in, product.out.data + row,
                                      product.out.stride);
                        });
    }
  }

  void MatMulGated(std::span<const GatedProduct> units, const Gating& gating,
                   ConstRows in) override {
    for (const GatedProduct& unit : units) {
      CheckGated(unit, in.rows, in.cols);
      MatMul(*unit.gate, in, unit.out);
      MatMul(*unit.up, in, unit.up_values);
      if (!unit.gate_bias.empty()) AddBias(unit.gate_bias, unit.out);
      if (!unit.up_bias.empty()) AddBias(unit.up_bias, unit.up_values);
      if (gating.clamped) {
        ClampedSwiGlu(unit.out, unit.up_values, gating.alpha, gating.limit, unit.out);
      } else {
        SwiGlu(unit.out, unit.up_values, unit.out);
      }
    }
  }

  void Keep(ConstRows in) override { kept_ = in; }

  void MatMulGatedOfKept(std::span<const GatedProduct> units, const Gating& gating) override {
    const auto cols = static_cast<std::size_t>(kept_.cols);
    for (const GatedProduct& unit : units) {
      DOPPLER_CHECK(unit.rows.size() * cols <= chosen_.size());
      float* next = chosen_.data();
      for (const int row : unit.rows) {
        DOPPLER_CHECK(row >= 0 && row < kept_.rows);
        next = std::copy_n(kept_.Row(row), cols, next);
      }
      const auto count = static_cast<int>(unit.rows.size());
      MatMulGated({&unit, 1}, gating, {chosen_.data(), count, kept_.cols, kept_.cols});
    }
  }

  void MixRows(ConstRows in, std::span<const int> rows, std::span<const float> weights,
               Rows out) override {
    CheckMix(in, rows, weights, out);
    const std::size_t k = rows.size() / static_cast<std::size_t>(out.rows);
    for (int t = 0; t < out.rows; ++t) {
      std::fill_n(out.Row(t), out.cols, 0.0f);
      for (std::size_t i = static_cast<std::size_t>(t) * k, end = i + k; i < end; ++i) {
        for (int c = 0; c < out.cols; ++c) out.Row(t)[c] += weights[i] * in.Row(rows[i])[c];
      }
    }
  }

  void MatMulHeads(const HeadMatrices& weights, ConstRows in, int in_step, Rows out,
                   int out_step) override {
    CheckHeads(weights, in, in_step, weights.all.cols, out, out_step, weights.rows);
    ForEachHead(weights.heads, [&](int head) {
      const ConstRows x = {in.data + head * in_step, in.rows, weights.all.cols, in.stride};
      for (int r = 0; r < weights.rows; ++r) {
        const int row = head * weights.stride + weights.first + r;
        MatMulRow(weights.all, static_cast<std::size_t>(row), x, out.data + head * out_step + r,
                  out.stride);
      }
    });
  }

  void MatMulHeadsTransposed(const HeadMatrices& weights, ConstRows in, int in_step, Rows out,
                             int out_step) override {
    CheckHeads(weights, in, in_step, weights.rows, out, out_step, weights.all.cols);
    ForEachHead(weights.heads, [&](int head) {
      for (int t = 0; t < out.rows; ++t) {
        std::fill_n(out.Row(t) + head * out_step, weights.all.cols, 0.0f);
      }
      for (int r = 0; r < weights.rows; ++r) {
        const int row = head * weights.stride + weights.first + r;
        ForEachChunk(weights.all, static_cast<std::size_t>(row),
                     [&](int begin, std::span<const float> chunk) {
                       for (int t = 0; t < out.rows; ++t) {
                         const float x = in.Row(t)[head * in_step + r];
                         float* sums = out.Row(t) + head * out_step + begin;
                         for (std::size_t c = 0; c < chunk.size(); ++c) sums[c] += chunk[c] * x;
                       }
                     });
      }
    });
  }

  void GatherRows(const WeightMatrix& table, std::span<const TokenId> ids, Rows out) override {
    DOPPLER_CHECK(static_cast<int>(ids.size()) == out.rows && out.cols == table.cols);
    const auto cols = static_cast<std::size_t>(table.cols);
    for (int i = 0; i < out.rows; ++i) {
      const TokenId id = ids[static_cast<std::size_t>(i)];
      DOPPLER_CHECK(id >= 0 && id < table.rows);
      DequantizeColumns(table, static_cast<std::size_t>(id), 0, {out.Row(i), cols});
    }
  }

  void RmsNorm(ConstRows in, std::span<const float> weight, float epsilon, Rows out) override {
    const int size = static_cast<int>(weight.size());
    DOPPLER_CHECK(size > 0 && in.cols % size == 0 && in.cols == out.cols && in.rows == out.rows);
    for (int t = 0; t < in.rows; ++t) {
      for (int begin = 0; begin < in.cols; begin += size) {
        const float* x = in.Row(t) + begin;
        float squares = 0;
        for (int i = 0; i < size; ++i) squares += x[i] * x[i];
        const float root = std::sqrt(squares / static_cast<float>(size) + epsilon);
        for (int i = 0; i < size; ++i) {
          out.Row(t)[begin + i] = x[i] / root * weight[static_cast<std::size_t>(i)];
        }
      }
    }
  }

  void LayerNorm(ConstRows in, std::span<const float> weight, std::span<const float> bias,
                 float epsilon, Rows out) override {
    const auto size = static_cast<std::size_t>(in.cols);
    DOPPLER_CHECK(weight.size() == size && bias.size() == size && in.cols == out.cols &&
                  in.rows == out.rows);
    for (int t = 0; t < in.rows; ++t) {
      const std::span<const float> x(in.Row(t), size);
      float mean = 0;
      for (const float value : x) mean += value;
      mean /= static_cast<float>(size);
      float variance = 0;
      for (const float value : x) variance += (value - mean) * (value - mean);
      const float root = std::sqrt(variance / static_cast<float>(size) + epsilon);
      for (std::size_t i = 0; i < size; ++i) {
        out.Row(t)[i] = (x[i] - mean) / root * weight[i] + bias[i];
      }
    }
  }

  void Rope(Rows x, const RopeShape& shape, ConstRows cos, ConstRows sin) override {
    CheckRope(x, shape, cos, sin);
    const int half = cos.cols;
    const int step = shape.interleaved ? 2 : 1;
    const int to_partner = shape.interleaved ? 1 : half;
    for (int t = 0; t < x.rows; ++t) {
      for (int begin = shape.offset; begin < x.cols; begin += shape.head_dim) {
        float* part = x.Row(t) + begin;
        for (int i = 0; i < half; ++i) {
          const float c = cos.Row(t)[i];
          const float s = sin.Row(t)[i];
          const float a = part[i * step];
          const float b = part[i * step + to_partner];
          part[i * step] = a * c - b * s;
          part[i * step + to_partner] = b * c + a * s;
        }
      }
    }
  }

  void SwiGlu(ConstRows gate, ConstRows up, Rows out) override {
    DOPPLER_CHECK(gate.cols == out.cols && up.cols == out.cols && gate.rows == out.rows &&
                  up.rows == out.rows);
    for (int t = 0; t < out.rows; ++t) {
      for (int i = 0; i < out.cols; ++i) {
        const float g = gate.Row(t)[i];
        out.Row(t)[i] = g / (1.0f + std::exp(-g)) * up.Row(t)[i];
      }
    }
  }

  void ClampedSwiGlu(ConstRows gate, ConstRows up, float alpha, float limit, Rows out) override {
    DOPPLER_CHECK(gate.cols == out.cols && up.cols == out.cols && gate.rows == out.rows &&
                  up.rows == out.rows);
    for (int t = 0; t < out.rows; ++t) {
      for (int i = 0; i < out.cols; ++i) {
        const float g = std::min(gate.Row(t)[i], limit);
        const float u = std::clamp(up.Row(t)[i], -limit, limit);
        out.Row(t)[i] = g / (1.0f + std::exp(-alpha * g)) * (u + 1.0f);
      }
    }
  }

  void AddBias(std::span<const float> bias, Rows x) override {
    DOPPLER_CHECK(static_cast<int>(bias.size()) == x.cols);
    for (int t = 0; t < x.rows; ++t) {
      for (int i = 0; i < x.cols; ++i) x.Row(t)[i] += bias[static_cast<std::size_t>(i)];
    }
  }

  void Add(ConstRows y, Rows x) override {
    DOPPLER_CHECK(x.cols == y.cols && x.rows == y.rows);
    for (int t = 0; t < x.rows; ++t) {
      for (int i = 0; i < x.cols; ++i) x.Row(t)[i] += y.Row(t)[i];
    }
  }

  void StoreKv(ConstRows keys, ConstRows values, int first_position, const KvView& kv) override {
    CheckStoreKv(keys, values, kv);
    for (int t = 0; t < keys.rows; ++t) {
      for (int head = 0; head < kv.kv_heads; ++head) {
        const Place place = Locate(kv, first_position + t, head);
        Store(kv.dtype, keys.Row(t), head, place.row, kv.key_dim, kv.keys[place.block]);
        if (kv.SharesKeys()) continue;
        Store(kv.dtype, values.Row(t), head, place.row, kv.value_dim, kv.values[place.block]);
      }
    }
  }

  void Attention(ConstRows queries, const AttentionShape& shape, int first_position,
                 const KvView& kv, Rows out) override {
    CheckAttention(queries, shape, kv, out);
    DOPPLER_CHECK(static_cast<std::size_t>(first_position + queries.rows) <= context_);
    const int heads = shape.heads;
    const auto items = static_cast<std::size_t>(queries.rows) * static_cast<std::size_t>(heads);
    const auto threads = static_cast<std::size_t>(pool_.size());
    const std::size_t grain = (items + threads - 1) / threads;
    pool_.ParallelFor(items, grain, [&](std::size_t begin, std::size_t end) {
      float* scores = scores_.data() + begin / grain * context_;
      for (std::size_t item = begin; item < end; ++item) {
        const int token = static_cast<int>(item) / heads;
        const int head = static_cast<int>(item) % heads;
        AttendHead(queries.Row(token) + head * kv.key_dim, shape, head, first_position + token, kv,
                   scores, out.Row(token) + head * kv.value_dim);
      }
    });
  }

 private:
  // Where one head's vector of one position is: the row of [kv_heads, block_tokens] of a block.
  struct Place {
    std::size_t block;
    int row;
  };
  static Place Locate(const KvView& kv, int position, int kv_head) {
    return {static_cast<std::size_t>(position / kv.block_tokens) % kv.keys.size(),
            kv_head * kv.block_tokens + position % kv.block_tokens};
  }

  static void Store(DType dtype, const float* from, int head, int row, int dim, std::byte* block) {
    const auto size = static_cast<std::size_t>(dim);
    const Bytes bytes = *RowBytes(dtype, size);
    Quantize(dtype, {from + head * dim, size},
             {block + static_cast<std::size_t>(row) * bytes, bytes});
  }

  template <typename Body>
  void ForEachHead(int heads, const Body& body) {
    pool_.ParallelFor(static_cast<std::size_t>(heads), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t head = begin; head < end; ++head) body(static_cast<int>(head));
    });
  }

  // Calls use(first column, values) for one row of a matrix, part by part.
  template <typename Use>
  static void ForEachChunk(const WeightMatrix& weights, std::size_t row, const Use& use) {
    constexpr int kChunk = 256;  // a whole number of blocks of every type
    for (int begin = 0; begin < weights.cols; begin += kChunk) {
      const auto size = static_cast<std::size_t>(std::min(kChunk, weights.cols - begin));
      float chunk[kChunk];
      DequantizeColumns(weights, row, static_cast<std::size_t>(begin), {chunk, size});
      use(begin, std::span<const float>(chunk, size));
    }
  }

  // Writes the products of one row with all tokens, `out_stride` floats apart.
  static void MatMulRow(const WeightMatrix& weights, std::size_t row, ConstRows in, float* out,
                        std::ptrdiff_t out_stride) {
    for (int t = 0; t < in.rows; ++t) out[t * out_stride] = 0;
    ForEachChunk(weights, row, [&](int begin, std::span<const float> chunk) {
      for (int t = 0; t < in.rows; ++t) {
        const float* x = in.Row(t) + begin;
        float sum = out[t * out_stride];
        for (std::size_t c = 0; c < chunk.size(); ++c) sum += chunk[c] * x[c];
        out[t * out_stride] = sum;
      }
    });
  }

  static void AttendHead(const float* query, const AttentionShape& shape, int head, int position,
                         const KvView& kv, float* scores, float* out) {
    const int kv_head = head / (shape.heads / kv.kv_heads);
    const int first = kv.window > 0 ? std::max(0, position - kv.window + 1) : 0;
    const bool has_sink = !shape.sinks.empty();
    const float sink = has_sink ? shape.sinks[static_cast<std::size_t>(head)] : 0;
    float largest = has_sink ? sink : -std::numeric_limits<float>::infinity();
    for (int p = first; p <= position; ++p) {
      const Place place = Locate(kv, p, kv_head);
      const auto start = static_cast<std::size_t>(place.row) * static_cast<std::size_t>(kv.key_dim);
      float dot = 0;
      for (int i = 0; i < kv.key_dim; ++i) {
        dot +=
            query[i] * LoadKv(kv.dtype, kv.keys[place.block], start + static_cast<std::size_t>(i));
      }
      scores[p] = dot * shape.scale;
      largest = std::max(largest, scores[p]);
    }
    float sum = has_sink ? std::exp(sink - largest) : 0;
    for (int p = first; p <= position; ++p) {
      scores[p] = std::exp(scores[p] - largest);
      sum += scores[p];
    }
    std::fill_n(out, kv.value_dim, 0.0f);
    const std::span<std::byte* const> values = kv.SharesKeys() ? kv.keys : kv.values;
    const int stride = kv.SharesKeys() ? kv.key_dim : kv.value_dim;
    for (int p = first; p <= position; ++p) {
      const Place place = Locate(kv, p, kv_head);
      const auto start = static_cast<std::size_t>(place.row) * static_cast<std::size_t>(stride);
      for (int i = 0; i < kv.value_dim; ++i) {
        out[i] += scores[p] / sum *
                  LoadKv(kv.dtype, values[place.block], start + static_cast<std::size_t>(i));
      }
    }
  }

  ThreadPool& pool_;
  ConstRows kept_;
  std::vector<float> chosen_;  // [tokens, kept_cols], rows of kept_
  std::size_t context_ = 0;
  std::vector<float> scores_;  // [threads, context]
};

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend(ThreadPool& pool) {
  return std::make_unique<ReferenceBackend>(pool);
}

}  // namespace doppler
