#include "tier/kv_pool.h"

#include "base/error.h"

namespace doppler {

Bytes KvShape::LayerBytes() const {
  return static_cast<Bytes>(kv_heads) * static_cast<Bytes>(block_tokens) *
         static_cast<Bytes>(head_dim) * static_cast<Bytes>(Traits(dtype).block_bytes);
}

Bytes KvShape::BlockBytes() const { return 2 * static_cast<Bytes>(layers) * LayerBytes(); }

KvPool::KvPool(const KvShape& shape, int blocks, MemoryBudget& budget)
    : shape_(shape),
      reservation_(budget.ReserveOrThrow(static_cast<Bytes>(blocks) * shape.BlockBytes(),
                                         "keys and values",
                                         "lower --context or raise --host-memory")),
      memory_(static_cast<Bytes>(blocks) * shape.BlockBytes()) {
  DOPPLER_CHECK(IsFloat(shape.dtype));
  free_.reserve(static_cast<std::size_t>(blocks));
  // The lowest block is taken first: a short session touches few pages.
  for (int block = blocks - 1; block >= 0; --block) free_.push_back(KvBlockId(block));
}

std::optional<KvBlockId> KvPool::Take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return std::nullopt;
  const KvBlockId block = free_.back();
  free_.pop_back();
  return block;
}

void KvPool::Give(KvBlockId block) {
  const std::lock_guard lock(mutex_);
  free_.push_back(block);
}

std::byte* KvPool::Keys(KvBlockId block, LayerId layer) const {
  return memory_.data() + block.index() * shape_.BlockBytes() +
         layer.index() * 2 * shape_.LayerBytes();
}

std::byte* KvPool::Values(KvBlockId block, LayerId layer) const {
  return Keys(block, layer) + shape_.LayerBytes();
}

KvTable::KvTable(KvPool& pool, int max_tokens)
    : pool_(pool),
      max_tokens_(max_tokens),
      keys_(static_cast<std::size_t>(pool.shape().layers)),
      values_(static_cast<std::size_t>(pool.shape().layers)) {
  const auto blocks = static_cast<std::size_t>(pool.shape().BlocksFor(max_tokens));
  blocks_.reserve(blocks);
  for (auto& layer : keys_) layer.reserve(blocks);
  for (auto& layer : values_) layer.reserve(blocks);
}

KvTable::~KvTable() { Shrink(0); }

bool KvTable::Grow(int tokens) {
  if (tokens > max_tokens_) return false;
  const int before = static_cast<int>(blocks_.size()) * pool_.shape().block_tokens;
  const auto needed = static_cast<std::size_t>(pool_.shape().BlocksFor(tokens));
  while (blocks_.size() < needed) {
    const std::optional<KvBlockId> block = pool_.Take();
    if (!block) {
      Shrink(before);
      return false;
    }
    blocks_.push_back(*block);
    for (std::size_t layer = 0; layer < keys_.size(); ++layer) {
      keys_[layer].push_back(pool_.Keys(*block, LayerId(layer)));
      values_[layer].push_back(pool_.Values(*block, LayerId(layer)));
    }
  }
  return true;
}

void KvTable::Shrink(int tokens) {
  const auto kept = static_cast<std::size_t>(pool_.shape().BlocksFor(tokens));
  while (blocks_.size() > kept) {
    pool_.Give(blocks_.back());
    blocks_.pop_back();
    for (auto& layer : keys_) layer.pop_back();
    for (auto& layer : values_) layer.pop_back();
  }
}

KvView KvTable::View(LayerId layer) const {
  return {.keys = keys_[layer.index()],
          .values = values_[layer.index()],
          .dtype = pool_.shape().dtype,
          .block_tokens = pool_.shape().block_tokens,
          .kv_heads = pool_.shape().kv_heads,
          .head_dim = pool_.shape().head_dim};
}

}  // namespace doppler
