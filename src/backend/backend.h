// The kernels a forward pass is made of, over memory that is resident.
//
//   the model asks, the tier provides, the kernel computes
//
// A kernel sees spans and never learns where they lived. Every implementation must give, for one
// token and within a phase, the same bits whatever the number of threads and whatever other tokens
// stand in the same call: residency and batching then never change an answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/dtype.h"
#include "backend/weight_matrix.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/thread_pool.h"

namespace doppler {

// A matrix for each head, all within one: that of head h is the `rows` rows from row
// h * stride + first on.
struct HeadMatrices {
  WeightMatrix all;
  int heads = 1;
  int stride = 0;
  int first = 0;
  int rows = 0;
};

// Activations: `rows` tokens of `cols` floats, `stride` floats apart.
template <typename Float>
struct RowsOf {
  Float* data = nullptr;
  int rows = 0;
  int cols = 0;
  std::ptrdiff_t stride = 0;

  Float* Row(int row) const { return data + row * stride; }
  operator RowsOf<const Float>() const { return {data, rows, cols, stride}; }  // NOLINT
};
using Rows = RowsOf<float>;
using ConstRows = RowsOf<const float>;

// Columns [first, first + cols).
template <typename Float>
RowsOf<Float> Columns(const RowsOf<Float>& all, int first, int cols) {
  return {all.data + first, all.rows, cols, all.stride};
}

// out[t, r] = sum over c of weights[r, c] * in[t, c].
struct Product {
  const WeightMatrix* weights = nullptr;
  ConstRows in;
  Rows out;
};

// The two products of a gated unit, each with a bias of its rows or an empty one. All shapes are
// alike.
struct GatedProduct {
  std::span<const int> rows;  // of what is kept, if it reads that
  const WeightMatrix* gate = nullptr;
  const WeightMatrix* up = nullptr;
  std::span<const float> gate_bias;
  std::span<const float> up_bias;
  Rows up_values;  // scratch
  Rows out;
};

// What a gated unit makes of its two products.
struct Gating {
  bool clamped = false;  // ClampedSwiGlu instead of SwiGlu
  float alpha = 1;
  float limit = 0;
};

// One session's keys and values in one layer. Position p is at place p % block_tokens of block
// p / block_tokens % keys.size(): a layer with a sliding window keeps a ring of blocks. A block of
// keys is [kv_heads, block_tokens, key_dim], one of values [kv_heads, block_tokens, value_dim].
struct KvView {
  std::span<std::byte* const> keys;
  std::span<std::byte* const> values;  // empty: the values are the first value_dim of each key
  DType dtype = DType::kF16;           // kF32, kF16 or kBf16
  int block_tokens = 0;
  int kv_heads = 0;
  int key_dim = 0;
  int value_dim = 0;
  int window = 0;  // positions that a token sees, itself among them; 0 for all

  bool SharesKeys() const { return values.empty(); }
};

// How the rotary pairs of a head lie.
struct RopeShape {
  int head_dim = 0;
  int offset = 0;            // of the rotated part in a head, which is twice as long as `cos`
  bool interleaved = false;  // pairs are (2 i, 2 i + 1) instead of (i, i + half)
};

struct AttentionShape {
  int heads = 0;
  float scale = 1;  // of the scores
  // [heads], or empty: a score of each head that takes its share of the softmax and gives no value.
  std::span<const float> sinks;
};

// The largest calls to come, from which an implementation sizes its scratch memory.
struct KernelLimits {
  int tokens = 1;     // rows of activations in one call
  int cols = 1;       // longest row of any projection
  int kept_cols = 0;  // of activations that are kept; 0 if none ever are
  int context = 1;    // positions in the KV
  int heads = 1;
  int head_dim = 1;
};

// What tokens are computed for: one that follows a text, or those of a text.
enum class Phase : std::uint8_t { kDecode, kPrompt };

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;
  // What was chosen for this processor: "avx512-vnni", say.
  virtual std::string_view path() const = 0;

  // Bytes that Reserve would take, for the plan.
  virtual Bytes ScratchBytes(const KernelLimits& limits) const = 0;
  // Sizes scratch memory once. No kernel allocates afterwards.
  virtual void Reserve(const KernelLimits& limits) = 0;

  // What the products to come are for; at first decode. A backend may compute those of prompts in
  // a way of its own, with the same bits for any number of tokens, one included.
  virtual void Begin(Phase) {}

  // All of them in one go: no thread waits between one and the next.
  // REQUIRES: in.cols == weights.cols, out.cols == weights.rows, in.rows == out.rows <= the limit.
  virtual void MatMulAll(std::span<const Product> products) = 0;
  void MatMul(const WeightMatrix& weights, ConstRows in, Rows out) {
    const Product product = {.weights = &weights, .in = in, .out = out};
    MatMulAll({&product, 1});
  }

  // out = the unit's values of `in`, for all units in one go, with the bits of MatMul, AddBias and
  // SwiGlu or ClampedSwiGlu. REQUIRES: as MatMulAll.
  virtual void MatMulGated(std::span<const GatedProduct> units, const Gating& gating,
                           ConstRows in) = 0;

  // Takes activations for the calls of MatMulGatedOfKept to come: what these prepare of them is
  // shared. `in` stays where and as it is until the last of the calls. REQUIRES: within the limits.
  virtual void Keep(ConstRows in) = 0;

  // As MatMulGated, of row rows[i] of what is kept for each row i of a unit's `out`.
  // REQUIRES: rows.size() == out.rows <= the limit, each a row of what is kept; the same memory
  // holds the same rows in all units.
  virtual void MatMulGatedOfKept(std::span<const GatedProduct> units, const Gating& gating) = 0;

  // out[t, c] = sum over i < k of weights[t * k + i] * in[rows[t * k + i], c], in that order, with
  // k = rows.size() / out.rows. REQUIRES: rows.size() == weights.size(), a multiple of out.rows.
  virtual void MixRows(ConstRows in, std::span<const int> rows, std::span<const float> weights,
                       Rows out) = 0;

  // For each head h: out[t, h * out_step + r] = sum over c of its [r, c] * in[t, h * in_step + c].
  // REQUIRES: in.rows == out.rows and heads * cols are within the limits.
  virtual void MatMulHeads(const HeadMatrices& weights, ConstRows in, int in_step, Rows out,
                           int out_step) = 0;

  // The same through the transposed matrices:
  // out[t, h * out_step + c] = sum over r of its [r, c] * in[t, h * in_step + r], in the order of
  // r.
  virtual void MatMulHeadsTransposed(const HeadMatrices& weights, ConstRows in, int in_step,
                                     Rows out, int out_step) = 0;

  // out[i] = row ids[i] of `table`, as floats. REQUIRES: every id is in [0, table.rows).
  virtual void GatherRows(const WeightMatrix& table, std::span<const TokenId> ids, Rows out) = 0;

  // out = in / sqrt(mean(in^2) + epsilon) * weight, over each run of weight.size() values of a
  // row: a row may hold several heads, each normalised alone. `in` and `out` may be the same.
  virtual void RmsNorm(ConstRows in, std::span<const float> weight, float epsilon, Rows out) = 0;

  // out = (in - mean) / sqrt(variance + epsilon) * weight + bias over each row. Arxiv 1607.06450.
  // `in` and `out` may be the same.
  virtual void LayerNorm(ConstRows in, std::span<const float> weight, std::span<const float> bias,
                         float epsilon, Rows out) = 0;

  // Rotates the pairs of each head: with half = cos.cols and x the rotated part, the pair
  // (x[i], x[i + half]), or (x[2 i], x[2 i + 1]), turns by the angle whose cosine and sine stand in
  // row t. Arxiv 2104.09864. cos and sin: [tokens, half].
  virtual void Rope(Rows x, const RopeShape& shape, ConstRows cos, ConstRows sin) = 0;

  // out = gate / (1 + exp(-gate)) * up. Arxiv 2002.05202. `out` may be `gate`.
  virtual void SwiGlu(ConstRows gate, ConstRows up, Rows out) = 0;

  // The gated unit of GPT-OSS, with gate at most `limit` and up within +-`limit`:
  // out = gate / (1 + exp(-alpha * gate)) * (up + 1). `out` may be `gate`.
  virtual void ClampedSwiGlu(ConstRows gate, ConstRows up, float alpha, float limit, Rows out) = 0;

  // Adds `bias`, [x.cols], to each row.
  virtual void AddBias(std::span<const float> bias, Rows x) = 0;

  // x += y.
  virtual void Add(ConstRows y, Rows x) = 0;

  // Writes the keys and values of x.rows tokens, the first of which stands at `first_position`.
  // keys: [tokens, kv_heads * key_dim]; values: [tokens, kv_heads * value_dim], ignored when the
  // KV shares keys.
  virtual void StoreKv(ConstRows keys, ConstRows values, int first_position, const KvView& kv) = 0;

  // Causal softmax attention: token t, at first_position + t, sees positions 0 to its own, or the
  // last `kv.window` of these. Query head h uses KV head h / (heads / kv_heads).
  // queries: [tokens, heads * key_dim]; out: [tokens, heads * value_dim].
  virtual void Attention(ConstRows queries, const AttentionShape& shape, int first_position,
                         const KvView& kv, Rows out) = 0;
};

// Instruction sets of the cpu backend; of those of one kind of processor the best is last.
enum class CpuPath : std::uint8_t {
  kPortable,
  kAvx2,
  kAvxVnni,
  kAvx512Vnni,
  kAmxInt8,
  kAmxBf16,
  kNeonDot
};
std::string_view CpuPathName(CpuPath path);
// Those that this processor can run, best last.
std::vector<CpuPath> RunnableCpuPaths();
// The best of them.
CpuPath DetectCpuPath();

// Plain loops with float32 accumulation: slow, obvious, the definition of right.
std::unique_ptr<Backend> MakeReferenceBackend(ThreadPool& pool);
// Vectorised kernels. REQUIRES: the processor can run `path`. `pool` outlives the backend.
std::unique_ptr<Backend> MakeCpuBackend(ThreadPool& pool, CpuPath path = DetectCpuPath());

}  // namespace doppler
