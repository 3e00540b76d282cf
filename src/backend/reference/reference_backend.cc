// The definition of right: every kernel as its comment in backend.h reads.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backend/backend.h"
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
    return sizeof(float) * static_cast<Bytes>(limits.context) * static_cast<Bytes>(pool_.size());
  }

  void Reserve(const KernelLimits& limits) override {
    context_ = static_cast<std::size_t>(limits.context);
    scores_.resize(context_ * static_cast<std::size_t>(pool_.size()));
  }

  void MatMul(const WeightMatrix& weights, ConstRows in, Rows out) override {
    DOPPLER_CHECK(in.cols == weights.cols && out.cols == weights.rows && in.rows == out.rows);
    pool_.ParallelFor(static_cast<std::size_t>(weights.rows), 8,
                      [&](std::size_t begin, std::size_t end) {
                        for (std::size_t row = begin; row < end; ++row)
                          MatMulRow(weights, row, in, out);
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

  void Rope(Rows x, int head_dim, ConstRows cos, ConstRows sin) override {
    const int half = head_dim / 2;
    DOPPLER_CHECK(x.cols % head_dim == 0 && cos.cols == half && sin.cols == half);
    for (int t = 0; t < x.rows; ++t) {
      for (int begin = 0; begin < x.cols; begin += head_dim) {
        float* head = x.Row(t) + begin;
        for (int i = 0; i < half; ++i) {
          const float c = cos.Row(t)[i];
          const float s = sin.Row(t)[i];
          const float a = head[i];
          const float b = head[i + half];
          head[i] = a * c - b * s;
          head[i + half] = b * c + a * s;
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

  void Add(ConstRows y, Rows x) override {
    DOPPLER_CHECK(x.cols == y.cols && x.rows == y.rows);
    for (int t = 0; t < x.rows; ++t) {
      for (int i = 0; i < x.cols; ++i) x.Row(t)[i] += y.Row(t)[i];
    }
  }

  void StoreKv(ConstRows keys, ConstRows values, int first_position, const KvView& kv) override {
    DOPPLER_CHECK(keys.cols == kv.kv_heads * kv.head_dim && values.cols == keys.cols);
    const auto dim = static_cast<std::size_t>(kv.head_dim);
    const Bytes bytes = *RowBytes(kv.dtype, dim);
    for (int t = 0; t < keys.rows; ++t) {
      for (int head = 0; head < kv.kv_heads; ++head) {
        const auto [block, index] = Locate(kv, first_position + t, head);
        const std::size_t offset = index / dim * bytes;
        const float* key = keys.Row(t) + head * kv.head_dim;
        const float* value = values.Row(t) + head * kv.head_dim;
        Quantize(kv.dtype, {key, dim}, {kv.keys[block] + offset, bytes});
        Quantize(kv.dtype, {value, dim}, {kv.values[block] + offset, bytes});
      }
    }
  }

  void Attention(ConstRows queries, int heads, float scale, int first_position, const KvView& kv,
                 Rows out) override {
    DOPPLER_CHECK(queries.cols == heads * kv.head_dim && out.cols == queries.cols);
    DOPPLER_CHECK(heads % kv.kv_heads == 0);
    DOPPLER_CHECK(static_cast<std::size_t>(first_position + queries.rows) <= context_);
    const auto items = static_cast<std::size_t>(queries.rows) * static_cast<std::size_t>(heads);
    const auto threads = static_cast<std::size_t>(pool_.size());
    const std::size_t grain = (items + threads - 1) / threads;
    pool_.ParallelFor(items, grain, [&](std::size_t begin, std::size_t end) {
      float* scores = scores_.data() + begin / grain * context_;
      for (std::size_t item = begin; item < end; ++item) {
        const int token = static_cast<int>(item) / heads;
        const int head = static_cast<int>(item) % heads;
        AttendHead(queries.Row(token) + head * kv.head_dim, scale, first_position + token + 1,
                   head / (heads / kv.kv_heads), kv, scores, out.Row(token) + head * kv.head_dim);
      }
    });
  }

 private:
  // Where one head's vector of one position starts.
  struct Place {
    std::size_t block;
    std::size_t index;  // elements from the start of the block
  };
  static Place Locate(const KvView& kv, int position, int kv_head) {
    const int in_block = position % kv.block_tokens;
    return {static_cast<std::size_t>(position / kv.block_tokens),
            static_cast<std::size_t>((kv_head * kv.block_tokens + in_block) * kv.head_dim)};
  }

  static void MatMulRow(const WeightMatrix& weights, std::size_t row, ConstRows in, Rows out) {
    constexpr int kChunk = 256;  // a whole number of blocks of every type
    for (int t = 0; t < in.rows; ++t) out.Row(t)[row] = 0;
    for (int begin = 0; begin < weights.cols; begin += kChunk) {
      const auto size = static_cast<std::size_t>(std::min(kChunk, weights.cols - begin));
      float chunk[kChunk];
      DequantizeColumns(weights, row, static_cast<std::size_t>(begin), {chunk, size});
      for (int t = 0; t < in.rows; ++t) {
        float sum = out.Row(t)[row];
        for (std::size_t c = 0; c < size; ++c)
          sum += chunk[c] * in.Row(t)[static_cast<std::size_t>(begin) + c];
        out.Row(t)[row] = sum;
      }
    }
  }

  static void AttendHead(const float* query, float scale, int positions, int kv_head,
                         const KvView& kv, float* scores, float* out) {
    float largest = -std::numeric_limits<float>::infinity();
    for (int p = 0; p < positions; ++p) {
      const auto [block, index] = Locate(kv, p, kv_head);
      float dot = 0;
      for (int i = 0; i < kv.head_dim; ++i) {
        dot += query[i] * LoadKv(kv.dtype, kv.keys[block], index + static_cast<std::size_t>(i));
      }
      scores[p] = dot * scale;
      largest = std::max(largest, scores[p]);
    }
    float sum = 0;
    for (int p = 0; p < positions; ++p) {
      scores[p] = std::exp(scores[p] - largest);
      sum += scores[p];
    }
    std::fill_n(out, kv.head_dim, 0.0f);
    for (int p = 0; p < positions; ++p) {
      const auto [block, index] = Locate(kv, p, kv_head);
      for (int i = 0; i < kv.head_dim; ++i) {
        out[i] += scores[p] / sum *
                  LoadKv(kv.dtype, kv.values[block], index + static_cast<std::size_t>(i));
      }
    }
  }

  ThreadPool& pool_;
  std::size_t context_ = 0;
  std::vector<float> scores_;  // [threads, context]
};

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend(ThreadPool& pool) {
  return std::make_unique<ReferenceBackend>(pool);
}

}  // namespace doppler
