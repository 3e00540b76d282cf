// Attention in one pass over the KV, once for every vector type (see vector_kernels.h for V).
//
// Positions come in chunks of one vector of scores. A running maximum m scales everything so far:
// with weights p = exp(score - m) the state of a head is sum = sum of p and out = sum of p * value,
// and when a chunk raises m to m', both are first multiplied by exp(m - m'). Arxiv 1805.02867.
// The chunks depend on the position alone, so a token's answer does not depend on its neighbours.
#pragma once

#include "backend/cpu/vector_kernels.h"

namespace doppler {

// A chunk of positions in the KV.
template <class T>
struct KvChunk {
  const T* keys;    // [count], key_dim apart
  const T* values;  // [count], value_stride apart
  int count;        // at most one vector
};

// A vector, or with `count` less than that the first values of one.
template <class V, class T>
typename V::F LoadUpTo(const T* from, int count) {
  return count < V::kLanes ? V::LoadPart(from, count) : V::Load(from);
}

template <class V, class T, int H, int P>
void AddProducts(const float* queries, const T* keys, int dim, int count,
                 typename V::F (&sums)[H * P]) {
  using F = typename V::F;
  F key[P];
  for (int p = 0; p < P; ++p) key[p] = LoadUpTo<V>(keys + p * dim, count);
  for (int h = 0; h < H; ++h) {
    const F query = V::InRegister(LoadUpTo<V>(queries + h * dim, count));
    for (int p = 0; p < P; ++p) sums[h * P + p] = V::Fma(query, key[p], sums[h * P + p]);
  }
}

// scores[h, p] = the dot product of query h with key p, for H queries and P keys: each key is read
// once for all queries, and each query once for all keys.
template <class V, class T, int H, int P>
void DotBlock(const float* queries, const T* keys, int dim, float* scores) {
  typename V::F sums[H * P];
  for (int i = 0; i < H * P; ++i) sums[i] = V::Zero();
  int i = 0;
  for (; i + V::kLanes <= dim; i += V::kLanes) {
    AddProducts<V, T, H, P>(queries + i, keys + i, dim, V::kLanes, sums);
  }
  if (i < dim) AddProducts<V, T, H, P>(queries + i, keys + i, dim, dim - i, sums);
  float all[H * P];
  if constexpr (H * P == V::kLanes && requires { V::SumEach(sums); }) {
    V::Store(all, V::SumEach(sums));
  } else {
    for (int hp = 0; hp < H * P; ++hp) all[hp] = V::Sum(sums[hp]);
  }
  for (int h = 0; h < H; ++h) {
    for (int p = 0; p < P; ++p) scores[h * V::kLanes + p] = all[h * P + p];
  }
}

// out[h] = out[h] * factors[h] + sum over p of weights[h, p] * values[p], in N vectors of columns
// from `i` on; of a single vector only the first `count` values may be there.
template <class V, class T, int H, int N>
void AccumulateBlock(const AttentionTask& task, const KvChunk<T>& chunk, const float* weights,
                     const float* factors, int i, int count, float* out) {
  using F = typename V::F;
  const int width = N == 1 ? count : V::kLanes;
  F sums[H][N];
  for (int h = 0; h < H; ++h) {
    for (int n = 0; n < N; ++n) {
      const F old = LoadUpTo<V>(out + h * task.value_dim + i + n * V::kLanes, width);
      sums[h][n] = V::Mul(old, V::Set1(factors[h]));
    }
  }
  for (int p = 0; p < chunk.count; ++p) {
    F value[N];
    for (int n = 0; n < N; ++n) {
      value[n] = LoadUpTo<V>(chunk.values + p * task.value_stride + i + n * V::kLanes, width);
    }
    for (int h = 0; h < H; ++h) {
      const F weight = V::Set1(weights[h * V::kLanes + p]);
      for (int n = 0; n < N; ++n) sums[h][n] = V::Fma(weight, value[n], sums[h][n]);
    }
  }
  for (int h = 0; h < H; ++h) {
    for (int n = 0; n < N; ++n) {
      float* to = out + h * task.value_dim + i + n * V::kLanes;
      if (width < V::kLanes) {
        V::StorePart(to, width, sums[h][n]);
      } else {
        V::Store(to, sums[h][n]);
      }
    }
  }
}

struct SoftmaxState {
  float largest;
  float sum;
};

// Turns one head's scores of a chunk into weights; the result is the factor for what came before.
template <class V>
float AddScores(float scale, int count, float* scores, SoftmaxState& state) {
  using F = typename V::F;
  for (int p = 0; p < V::kLanes; ++p) scores[p] = p < count ? scale * scores[p] : -__builtin_inff();
  const F chunk = V::Load(scores);
  const float chunk_largest = V::Largest(chunk);
  float factor = 1.0f;
  if (chunk_largest > state.largest) {
    float factors[V::kLanes];
    V::Store(factors, Exp<V>(V::Set1(state.largest - chunk_largest)));
    factor = factors[0];
    state.largest = chunk_largest;
  }
  V::Store(scores, Exp<V>(V::Sub(chunk, V::Set1(state.largest))));
  state.sum = state.sum * factor + V::Sum(V::LoadPart(scores, count));
  return factor;
}

// H heads from `head` on. What one head gets does not depend on H.
template <class V, class T, int H>
void AttendChunk(const AttentionTask& task, int head, const KvChunk<T>& chunk,
                 SoftmaxState* states) {
  const int dim = task.key_dim;
  const float* queries = task.queries + head * dim;
  constexpr int kKeys = V::kLanes / H >= 4 ? 4 : 2;
  float weights[H * V::kLanes];
  int p = 0;
  for (; p + kKeys <= chunk.count; p += kKeys) {
    DotBlock<V, T, H, kKeys>(queries, chunk.keys + p * dim, dim, weights + p);
  }
  for (; p < chunk.count; ++p) {
    DotBlock<V, T, H, 1>(queries, chunk.keys + p * dim, dim, weights + p);
  }
  float factors[H];
  for (int h = 0; h < H; ++h) {
    factors[h] = AddScores<V>(task.scale, chunk.count, weights + h * V::kLanes, states[head + h]);
  }
  float* out = task.out + head * task.value_dim;
  constexpr int kVectors = V::kLanes / H >= 4 ? 4 : 2;
  for (int i = 0; i < task.value_dim;) {
    const int left = task.value_dim - i;
    if (left >= kVectors * V::kLanes) {
      AccumulateBlock<V, T, H, kVectors>(task, chunk, weights, factors, i, V::kLanes, out);
      i += kVectors * V::kLanes;
    } else {
      const int count = left < V::kLanes ? left : V::kLanes;
      AccumulateBlock<V, T, H, 1>(task, chunk, weights, factors, i, count, out);
      i += count;
    }
  }
}

// A sink stands for a position with that score and no value.
template <class V>
SoftmaxState StartOf(const AttentionTask& task, int head) {
  if (task.sinks == nullptr) return {-__builtin_inff(), 0.0f};
  return {task.sinks[head], 1.0f};
}

template <class V, class T>
void Attend(const AttentionTask& task) {
  const int dim = task.value_dim;
  SoftmaxState states[AttentionTask::kMaxHeads];
  for (int head = 0; head < task.heads; ++head) states[head] = StartOf<V>(task, head);
  for (int i = 0; i < task.heads * dim; ++i) task.out[i] = 0.0f;

  for (int begin = task.first; begin < task.end;) {
    const int block = begin / task.block_tokens % task.blocks;
    const int in_block = begin % task.block_tokens;
    int count = V::kLanes - in_block % V::kLanes;
    if (count > task.block_tokens - in_block) count = task.block_tokens - in_block;
    if (count > task.end - begin) count = task.end - begin;
    const KvChunk<T> chunk = {reinterpret_cast<const T*>(task.keys[block]) + task.key_offset +
                                  static_cast<std::ptrdiff_t>(in_block) * task.key_dim,
                              reinterpret_cast<const T*>(task.values[block]) + task.value_offset +
                                  static_cast<std::ptrdiff_t>(in_block) * task.value_stride,
                              count};
    // The heads that share this chunk take turns while it is in the first-level cache.
    int head = 0;
    if constexpr (V::kLanes >= 16) {
      for (; head + 8 <= task.heads; head += 8) AttendChunk<V, T, 8>(task, head, chunk, states);
    }
    for (; head + 4 <= task.heads; head += 4) AttendChunk<V, T, 4>(task, head, chunk, states);
    for (; head < task.heads; ++head) AttendChunk<V, T, 1>(task, head, chunk, states);
    begin += count;
  }
  for (int head = 0; head < task.heads; ++head) {
    const float inverse = 1.0f / states[head].sum;
    for (int i = 0; i < dim; ++i) task.out[head * dim + i] *= inverse;
  }
}

}  // namespace doppler
