// Attention in one pass over the KV, once for every vector type (see vector_kernels.h for V).
//
// Positions come in chunks of one vector of scores. A running maximum m scales everything so far:
// with weights p = exp(score - m) the state of a head is sum = sum of p and out = sum of p * value,
// and when a chunk raises m to m', both are first multiplied by exp(m - m'). Arxiv 1805.02867.
// The chunks depend on the position alone, so a token's answer does not depend on its neighbours.
#pragma once

#include "backend/cpu/vector_kernels.h"

namespace doppler {

template <class V, class T>
float DotHead(const float* query, const T* key, int dim) {
  typename V::F sum = V::Zero();
  int i = 0;
  for (; i + V::kLanes <= dim; i += V::kLanes) {
    sum = V::Fma(V::Load(query + i), V::Load(key + i), sum);
  }
  if (const int left = dim - i; left > 0) {
    sum = V::Fma(V::LoadPart(query + i, left), V::LoadPart(key + i, left), sum);
  }
  return V::Sum(sum);
}

// out = out * factor + sum over p of weights[p] * values[p], which are `stride` apart.
template <class V, class T>
void AccumulateValues(const float* weights, int count, const T* values, int stride, int dim,
                      float factor, float* out) {
  using F = typename V::F;
  const F old = V::Set1(factor);
  int i = 0;
  for (; i + V::kLanes <= dim; i += V::kLanes) {
    F sum = V::Mul(V::Load(out + i), old);
    for (int p = 0; p < count; ++p) {
      sum = V::Fma(V::Set1(weights[p]), V::Load(values + p * stride + i), sum);
    }
    V::Store(out + i, sum);
  }
  if (const int left = dim - i; left > 0) {
    F sum = V::Mul(V::LoadPart(out + i, left), old);
    for (int p = 0; p < count; ++p) {
      sum = V::Fma(V::Set1(weights[p]), V::LoadPart(values + p * stride + i, left), sum);
    }
    V::StorePart(out + i, left, sum);
  }
}

struct SoftmaxState {
  float largest;
  float sum;
};

template <class V, class T>
void AttendChunk(const AttentionTask& task, int head, const T* keys, const T* values, int count,
                 SoftmaxState& state) {
  using F = typename V::F;
  const int dim = task.key_dim;
  float scores[V::kLanes];
  for (int p = 0; p < V::kLanes; ++p) scores[p] = -__builtin_inff();
  for (int p = 0; p < count; ++p) {
    scores[p] = task.scale * DotHead<V, T>(task.queries + head * dim, keys + p * dim, dim);
  }
  const F chunk = V::Load(scores);
  const float chunk_largest = V::Largest(chunk);
  float factor = 1.0f;
  if (chunk_largest > state.largest) {
    float factors[V::kLanes];
    V::Store(factors, Exp<V>(V::Set1(state.largest - chunk_largest)));
    factor = factors[0];
    state.largest = chunk_largest;
  }
  float weights[V::kLanes];
  V::Store(weights, Exp<V>(V::Sub(chunk, V::Set1(state.largest))));
  state.sum = state.sum * factor + V::Sum(V::LoadPart(weights, count));
  AccumulateValues<V, T>(weights, count, values, task.value_stride, task.value_dim, factor,
                         task.out + head * task.value_dim);
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
    const T* keys = reinterpret_cast<const T*>(task.keys[block]) + task.key_offset +
                    static_cast<std::ptrdiff_t>(in_block) * task.key_dim;
    const T* values = reinterpret_cast<const T*>(task.values[block]) + task.value_offset +
                      static_cast<std::ptrdiff_t>(in_block) * task.value_stride;
    // The heads that share this chunk take turns while it is in the first-level cache.
    for (int head = 0; head < task.heads; ++head) {
      AttendChunk<V, T>(task, head, keys, values, count, states[head]);
    }
    begin += count;
  }
  for (int head = 0; head < task.heads; ++head) {
    const float inverse = 1.0f / states[head].sum;
    for (int i = 0; i < dim; ++i) task.out[head * dim + i] *= inverse;
  }
}

}  // namespace doppler
