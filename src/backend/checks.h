// What a kernel's caller must keep to, checked the same way by every backend.
#pragma once

#include "backend/backend.h"
#include "base/error.h"

namespace doppler {

inline void CheckProduct(const WeightMatrix& weights, const ConstRows& in, const Rows& out) {
  DOPPLER_CHECK(in.cols == weights.cols && out.cols == weights.rows && in.rows == out.rows);
}

inline void CheckGated(const GatedProduct& unit, int rows, int cols) {
  DOPPLER_CHECK(unit.gate->rows == unit.up->rows && unit.gate->cols == cols);
  DOPPLER_CHECK(unit.up->cols == cols && unit.out.rows == rows && unit.up_values.rows == rows);
  DOPPLER_CHECK(unit.out.cols == unit.gate->rows && unit.up_values.cols == unit.gate->rows);
  const auto size = static_cast<std::size_t>(unit.gate->rows);
  DOPPLER_CHECK(unit.gate_bias.empty() || unit.gate_bias.size() == size);
  DOPPLER_CHECK(unit.up_bias.empty() || unit.up_bias.size() == size);
}

inline void CheckMix(const ConstRows& in, std::span<const int> rows, std::span<const float> weights,
                     const Rows& out) {
  DOPPLER_CHECK(out.rows > 0 && rows.size() % static_cast<std::size_t>(out.rows) == 0);
  DOPPLER_CHECK(rows.size() == weights.size() && in.cols == out.cols);
}

inline void CheckHeads(const HeadMatrices& weights, const ConstRows& in, int in_step, int in_dim,
                       const Rows& out, int out_step, int out_dim) {
  DOPPLER_CHECK(weights.heads > 0 && weights.first >= 0 && weights.rows > 0);
  const int last = weights.heads - 1;
  DOPPLER_CHECK(last * weights.stride + weights.first + weights.rows <= weights.all.rows);
  DOPPLER_CHECK(in.rows == out.rows && in_step >= in_dim && out_step >= out_dim);
  DOPPLER_CHECK(last * in_step + in_dim <= in.cols && last * out_step + out_dim <= out.cols);
}

inline void CheckRope(const Rows& x, const RopeShape& shape, const ConstRows& cos,
                      const ConstRows& sin) {
  DOPPLER_CHECK(shape.head_dim > 0 && x.cols % shape.head_dim == 0 && cos.cols == sin.cols);
  DOPPLER_CHECK(shape.offset >= 0 && shape.offset + 2 * cos.cols <= shape.head_dim);
}

inline void CheckStoreKv(const ConstRows& keys, const ConstRows& values, const KvView& kv) {
  DOPPLER_CHECK(keys.cols == kv.kv_heads * kv.key_dim);
  DOPPLER_CHECK(kv.SharesKeys() ||
                (values.cols == kv.kv_heads * kv.value_dim && values.rows == keys.rows));
}

inline void CheckAttention(const ConstRows& queries, const AttentionShape& shape, const KvView& kv,
                           const Rows& out) {
  DOPPLER_CHECK(shape.heads > 0 && shape.heads % kv.kv_heads == 0 && out.rows == queries.rows);
  DOPPLER_CHECK(queries.cols == shape.heads * kv.key_dim && out.cols == shape.heads * kv.value_dim);
  DOPPLER_CHECK(shape.sinks.empty() || static_cast<int>(shape.sinks.size()) == shape.heads);
  DOPPLER_CHECK(!kv.SharesKeys() || kv.value_dim <= kv.key_dim);
}

}  // namespace doppler
