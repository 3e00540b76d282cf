// The kernels a forward pass is made of, over memory that is resident.
//
//   the model asks, the tier provides, the kernel computes
//
// A kernel sees spans and never learns where they lived. Every implementation must give, for one
// token, the same bits whatever the number of threads and whatever other tokens stand in the same
// call: residency and batching then never change an answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "backend/dtype.h"
#include "backend/weight_matrix.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/thread_pool.h"

namespace doppler {

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

// One session's keys and values in one layer. Position p is in block p / block_tokens at place
// p % block_tokens. A block of keys, and one of values, is [kv_heads, block_tokens, head_dim].
struct KvView {
  std::span<std::byte* const> keys;
  std::span<std::byte* const> values;
  DType dtype = DType::kF16;  // kF32, kF16 or kBf16
  int block_tokens = 0;
  int kv_heads = 0;
  int head_dim = 0;
};

// The largest calls to come, from which an implementation sizes its scratch memory.
struct KernelLimits {
  int tokens = 1;   // rows of activations in one call
  int cols = 1;     // longest row of any projection
  int context = 1;  // positions in the KV
  int heads = 1;
  int head_dim = 1;
};

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

  // out[t, r] = sum over c of weights[r, c] * in[t, c].
  // REQUIRES: in.cols == weights.cols, out.cols == weights.rows, in.rows == out.rows <= the limit.
  virtual void MatMul(const WeightMatrix& weights, ConstRows in, Rows out) = 0;

  // out[i] = row ids[i] of `table`, as floats. REQUIRES: every id is in [0, table.rows).
  virtual void GatherRows(const WeightMatrix& table, std::span<const TokenId> ids, Rows out) = 0;

  // out = in / sqrt(mean(in^2) + epsilon) * weight, over each run of weight.size() values of a
  // row: a row may hold several heads, each normalised alone. `in` and `out` may be the same.
  virtual void RmsNorm(ConstRows in, std::span<const float> weight, float epsilon, Rows out) = 0;

  // Rotates the halves of each head: with i < head_dim / 2, the pair (x[i], x[i + head_dim / 2])
  // turns by the angle whose cosine and sine stand in row t. Arxiv 2104.09864, in the half-split
  // form of the hub's Llama. cos and sin: [tokens, head_dim / 2].
  virtual void Rope(Rows x, int head_dim, ConstRows cos, ConstRows sin) = 0;

  // out = gate / (1 + exp(-gate)) * up. Arxiv 2002.05202. `out` may be `gate`.
  virtual void SwiGlu(ConstRows gate, ConstRows up, Rows out) = 0;

  // x += y.
  virtual void Add(ConstRows y, Rows x) = 0;

  // Writes the keys and values of x.rows tokens, the first of which stands at `first_position`.
  // keys, values: [tokens, kv_heads * head_dim].
  virtual void StoreKv(ConstRows keys, ConstRows values, int first_position, const KvView& kv) = 0;

  // Causal softmax attention: token t, at first_position + t, sees positions 0 to its own. Query
  // head h uses KV head h / (heads / kv_heads). queries, out: [tokens, heads * head_dim].
  virtual void Attention(ConstRows queries, int heads, float scale, int first_position,
                         const KvView& kv, Rows out) = 0;
};

// Instruction sets of the cpu backend, best last.
enum class CpuPath : std::uint8_t { kPortable, kAvx2, kAvx512Vnni };
std::string_view CpuPathName(CpuPath path);
// The best path that this processor can run.
CpuPath DetectCpuPath();

// Plain loops with float32 accumulation: slow, obvious, the definition of right.
std::unique_ptr<Backend> MakeReferenceBackend(ThreadPool& pool);
// Vectorised kernels. REQUIRES: the processor can run `path`. `pool` outlives the backend.
std::unique_ptr<Backend> MakeCpuBackend(ThreadPool& pool, CpuPath path = DetectCpuPath());

}  // namespace doppler
