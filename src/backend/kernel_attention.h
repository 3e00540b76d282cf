// The kernels that read and write KV, as entries of the list.
#pragma once

#include "backend/kernel_work.h"

namespace doppler {

// Blocks of exactly the size they need.
class OwnedKv {
 public:
  OwnedKv(DType dtype, const KernelShape& shape, int blocks) : dtype_(dtype), shape_(shape) {
    for (int block = 0; block < blocks; ++block) {
      keys_.push_back(Add(shape.key_dim));
      if (!shape.shares_keys) values_.push_back(Add(shape.value_dim));
    }
  }

  // For `shape.context` positions.
  OwnedKv(DType dtype, const KernelShape& shape)
      : OwnedKv(dtype, shape, (shape.context + shape.block_tokens - 1) / shape.block_tokens) {}

  KvView view() const {
    return {.keys = keys_,
            .values = values_,
            .dtype = dtype_,
            .block_tokens = shape_.block_tokens,
            .kv_heads = shape_.kv_heads,
            .key_dim = shape_.key_dim,
            .value_dim = shape_.value_dim,
            .window = shape_.window};
  }
  const std::vector<std::vector<std::byte>>& storage() const { return storage_; }

 private:
  std::byte* Add(int dim) {
    const auto elements = static_cast<std::uint64_t>(shape_.kv_heads * shape_.block_tokens * dim);
    storage_.emplace_back(*RowBytes(dtype_, elements));
    return storage_.back().data();
  }

  DType dtype_;
  KernelShape shape_;
  std::vector<std::vector<std::byte>> storage_;
  std::vector<std::byte*> keys_;
  std::vector<std::byte*> values_;
};

// The keys and values of all positions, and queries of the last `shape.tokens` of them.
struct AttentionData {
  explicit AttentionData(const KernelShape& of)
      : shape(of),
        keys(of.context, of.kv_heads * of.key_dim,
             GaussianValues(of.context * of.kv_heads * of.key_dim, 11), 4),
        values(of.context, of.kv_heads * of.value_dim,
               GaussianValues(of.context * of.kv_heads * of.value_dim, 12)),
        queries(of.tokens, of.heads * of.key_dim,
                GaussianValues(of.tokens * of.heads * of.key_dim, 13, 2)) {
    if (of.sinks) sinks = GaussianValues(of.heads, 15);
  }

  void Store(Backend& backend, const OwnedKv& kv, int first, int count) {
    const Rows some = shape.shares_keys ? Rows{} : values.Slice(first, count);
    backend.StoreKv(keys.Slice(first, count), some, first, kv.view());
  }
  AttentionShape Parameters() const {
    return {.heads = shape.heads,
            .scale = 1 / std::sqrt(static_cast<float>(shape.key_dim)),
            .sinks = sinks};
  }
  KernelLimits Limits() const {
    return {.tokens = shape.context,
            .context = shape.context,
            .heads = shape.heads,
            .head_dim = shape.key_dim};
  }

  KernelShape shape;
  OwnedRows keys;
  OwnedRows values;
  OwnedRows queries;
  std::vector<float> sinks;
};

inline const std::vector<KernelShape> kOddAttention = {
    {.heads = 4, .kv_heads = 2, .key_dim = 64, .value_dim = 64, .block_tokens = 16},
    {.heads = 3, .kv_heads = 3, .key_dim = 20, .value_dim = 20, .block_tokens = 5},
    {.heads = 10, .kv_heads = 1, .key_dim = 33, .value_dim = 33, .block_tokens = 24},
    {.heads = 6, .kv_heads = 2, .key_dim = 24, .value_dim = 40, .block_tokens = 16, .sinks = true},
    {.heads = 4,
     .kv_heads = 2,
     .key_dim = 16,
     .value_dim = 16,
     .block_tokens = 8,
     .window = 7,
     .sinks = true},
    // Latents: the values are the first part of the keys, for more heads than one task takes.
    {.heads = 21,
     .kv_heads = 1,
     .key_dim = 57,
     .value_dim = 41,
     .block_tokens = 16,
     .shares_keys = true},
    {.heads = 5,
     .kv_heads = 1,
     .key_dim = 288,
     .value_dim = 256,
     .block_tokens = 32,
     .shares_keys = true}};

inline std::vector<KernelShape> OddAttention(DType) {
  std::vector<KernelShape> shapes;
  for (KernelShape shape : kOddAttention) {
    for (const int context : {6, 41}) {  // a first ubatch, and one after others
      shape.tokens = 6;
      shape.context = context;
      shapes.push_back(shape);
    }
  }
  return shapes;
}

// Query heads that share KV heads, and the latents of Kimi K2.
inline std::vector<KernelShape> LargeAttention() {
  const KernelShape grouped = {
      .heads = 32, .kv_heads = 4, .key_dim = 128, .value_dim = 128, .block_tokens = 64};
  const KernelShape latent = {.heads = 64,
                              .kv_heads = 1,
                              .key_dim = 576,
                              .value_dim = 512,
                              .block_tokens = 64,
                              .shares_keys = true};
  std::vector<KernelShape> shapes;
  for (KernelShape shape : {grouped, latent}) {
    shape.tokens = 1;
    shape.context = 4096;
    shapes.push_back(shape);
    shape.tokens = 64;
    shape.context = 1024;
    shapes.push_back(shape);
  }
  return shapes;
}

inline KernelWork AttentionWork(DType type, const KernelShape& shape) {
  const auto data = std::make_shared<AttentionData>(shape);
  const auto kv = std::make_shared<OwnedKv>(type, shape);
  ThreadPool pool(1);
  data->Store(*MakeReferenceBackend(pool), *kv, 0, shape.context);
  const auto out = std::make_shared<OwnedRows>(shape.tokens, shape.heads * shape.value_dim, 1);
  KernelWork work;
  work.limits = data->Limits();
  work.run = [data, kv, out](Backend& backend) {
    backend.Attention(data->queries.view(), data->Parameters(),
                      data->shape.context - data->shape.tokens, kv->view(), out->view());
  };
  work.results = [out] { return FlatValues(out->view()); };
  work.bound = NearBound(2e-5, 1);
  work.operations =
      2.0 * shape.tokens * shape.context * shape.heads * (shape.key_dim + shape.value_dim);
  for (const auto& block : kv->storage()) work.bytes += block.size();
  return work;
}

// The bytes of the KV, as numbers.
inline KernelWork StoreKvWork(DType type, const KernelShape& shape) {
  const auto data = std::make_shared<AttentionData>(shape);
  const auto kv = std::make_shared<OwnedKv>(type, shape);
  KernelWork work;
  work.limits = data->Limits();
  work.run = [data, kv](Backend& backend) {
    const int first = data->shape.context / 4;
    data->Store(backend, *kv, 0, first);
    data->Store(backend, *kv, first, data->shape.context - first);
  };
  work.results = [kv] {
    std::vector<float> out;
    for (const auto& block : kv->storage()) {
      for (const std::byte byte : block) out.push_back(std::to_integer<int>(byte));
    }
    return out;
  };
  work.bound = NearBound(0);
  for (const auto& block : kv->storage()) work.bytes += block.size();
  return work;
}

inline void AddKvKernels(std::vector<KernelSpec>& all) {
  const std::vector<DType> types = {DType::kF32, DType::kF16, DType::kBf16};
  all.push_back({"Attention", types, OddAttention, LargeAttention(), AttentionWork});
  all.push_back({"StoreKv", types, OddAttention, LargeAttention(), StoreKvWork});
}

}  // namespace doppler
