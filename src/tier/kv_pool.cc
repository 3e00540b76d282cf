#include "tier/kv_pool.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace doppler {
namespace {

Bytes VectorsBytes(const KvShape& shape, int heads, int dim) {
  return static_cast<Bytes>(heads) * static_cast<Bytes>(shape.block_tokens) *
         static_cast<Bytes>(dim) * static_cast<Bytes>(Traits(shape.dtype).block_bytes);
}

int NumLayers(const KvShape& shape) { return static_cast<int>(shape.layers.size()); }

Bytes LayerBytes(const KvShape& shape, LayerId layer) {
  return shape.KeyBytes(layer) + shape.ValueBytes(layer);
}

// Where each layer begins: in a block, or in a ring set.
std::vector<Bytes> Offsets(const KvShape& shape) {
  std::vector<Bytes> offsets;
  Bytes in_block = 0;
  Bytes in_rings = 0;
  for (int i = 0; i < NumLayers(shape); ++i) {
    const LayerId layer(i);
    const auto ring = static_cast<Bytes>(shape.RingBlocks(layer));
    offsets.push_back(ring > 0 ? in_rings : in_block);
    (ring > 0 ? in_rings : in_block) += LayerBytes(shape, layer) * std::max<Bytes>(ring, 1);
  }
  return offsets;
}

}  // namespace

int KvShape::RingBlocks(LayerId layer) const {
  const int window = layers[layer.index()].window;
  if (window == 0) return 0;
  // The window of the first position of a ubatch and the ubatch itself may each begin inside a
  // block.
  const int blocks = BlocksFor(window - 1 + ubatch) + 1;
  return blocks < BlocksFor(context) ? blocks : 0;
}

Bytes KvShape::KeyBytes(LayerId layer) const {
  const KvLayerShape& shape = layers[layer.index()];
  return VectorsBytes(*this, shape.kv_heads, shape.key_dim);
}

Bytes KvShape::ValueBytes(LayerId layer) const {
  const KvLayerShape& shape = layers[layer.index()];
  return shape.shares_keys ? 0 : VectorsBytes(*this, shape.kv_heads, shape.value_dim);
}

Bytes KvShape::BlockBytes() const {
  Bytes total = 0;
  for (int i = 0; i < NumLayers(*this); ++i) {
    if (RingBlocks(LayerId(i)) == 0) total += LayerBytes(*this, LayerId(i));
  }
  return total;
}

Bytes KvShape::RingBytes() const {
  Bytes total = 0;
  for (int i = 0; i < NumLayers(*this); ++i) {
    total += static_cast<Bytes>(RingBlocks(LayerId(i))) * LayerBytes(*this, LayerId(i));
  }
  return total;
}

Bytes KvShape::TotalBytes(int sessions) const {
  return static_cast<Bytes>(sessions) *
         (static_cast<Bytes>(BlocksFor(context)) * BlockBytes() + RingBytes());
}

KvPool::KvPool(const KvShape& shape, int sessions, MemoryBudget& budget)
    : shape_(shape),
      offset_(Offsets(shape)),
      reservation_(budget.ReserveOrThrow(shape.TotalBytes(sessions), "keys and values",
                                         "lower --context or raise --host-memory")),
      blocks_(static_cast<Bytes>(sessions) * static_cast<Bytes>(shape.BlocksFor(shape.context)) *
              shape.BlockBytes()),
      rings_(static_cast<Bytes>(sessions) * shape.RingBytes()) {
  DOPPLER_CHECK(IsFloat(shape.dtype) && shape.context > 0);
  const int blocks = sessions * shape.BlocksFor(shape.context);
  free_.reserve(static_cast<std::size_t>(blocks));
  free_rings_.reserve(static_cast<std::size_t>(sessions));
  // The lowest block is taken first: a short session touches few pages.
  for (int block = blocks - 1; block >= 0; --block) free_.push_back(KvBlockId(block));
  for (int rings = sessions - 1; rings >= 0; --rings) free_rings_.push_back(KvRingId(rings));
}

std::optional<KvBlockId> KvPool::Take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return std::nullopt;
  const KvBlockId block = free_.back();
  free_.pop_back();
  return block;
}

std::optional<KvRingId> KvPool::TakeRings() {
  const std::lock_guard lock(mutex_);
  if (free_rings_.empty()) return std::nullopt;
  const KvRingId rings = free_rings_.back();
  free_rings_.pop_back();
  return rings;
}

void KvPool::Give(KvBlockId block) {
  const std::lock_guard lock(mutex_);
  free_.push_back(block);
}

void KvPool::GiveRings(KvRingId rings) {
  const std::lock_guard lock(mutex_);
  free_rings_.push_back(rings);
}

std::byte* KvPool::Keys(KvBlockId block, LayerId layer) const {
  return blocks_.data() + block.index() * shape_.BlockBytes() + offset_[layer.index()];
}

std::byte* KvPool::Values(KvBlockId block, LayerId layer) const {
  return Keys(block, layer) + shape_.KeyBytes(layer);
}

std::byte* KvPool::RingKeys(KvRingId rings, LayerId layer, int index) const {
  return rings_.data() + rings.index() * shape_.RingBytes() + offset_[layer.index()] +
         static_cast<Bytes>(index) * LayerBytes(shape_, layer);
}

std::byte* KvPool::RingValues(KvRingId rings, LayerId layer, int index) const {
  return RingKeys(rings, layer, index) + shape_.KeyBytes(layer);
}

KvTable::KvTable(KvPool& pool)
    : pool_(pool), keys_(pool.shape().layers.size()), values_(pool.shape().layers.size()) {
  const KvShape& shape = pool.shape();
  const auto blocks = static_cast<std::size_t>(shape.BlocksFor(shape.context));
  blocks_.reserve(blocks);
  for (auto& layer : keys_) layer.reserve(blocks);
  for (auto& layer : values_) layer.reserve(blocks);
}

KvTable::~KvTable() {
  Shrink(0);
  if (rings_) pool_.GiveRings(*rings_);
}

bool KvTable::EnsureRings() {
  const KvShape& shape = pool_.shape();
  if (rings_ || shape.RingBytes() == 0) return true;
  rings_ = pool_.TakeRings();
  if (!rings_) return false;
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    const LayerId layer(i);
    for (int index = 0; index < shape.RingBlocks(layer); ++index) {
      keys_[i].push_back(pool_.RingKeys(*rings_, layer, index));
      if (!shape.layers[i].shares_keys) {
        values_[i].push_back(pool_.RingValues(*rings_, layer, index));
      }
    }
  }
  return true;
}

void KvTable::AddBlock(KvBlockId block) {
  const KvShape& shape = pool_.shape();
  blocks_.push_back(block);
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    const LayerId layer(i);
    if (shape.RingBlocks(layer) > 0) continue;
    keys_[i].push_back(pool_.Keys(block, layer));
    if (!shape.layers[i].shares_keys) values_[i].push_back(pool_.Values(block, layer));
  }
}

bool KvTable::Grow(int tokens) {
  const KvShape& shape = pool_.shape();
  if (tokens > shape.context || !EnsureRings()) return false;
  const int before = static_cast<int>(blocks_.size()) * shape.block_tokens;
  const auto needed = static_cast<std::size_t>(shape.BlocksFor(tokens));
  while (blocks_.size() < needed) {
    const std::optional<KvBlockId> block = pool_.Take();
    if (!block) {
      Shrink(before);
      return false;
    }
    AddBlock(*block);
  }
  written_ = std::max(written_, tokens);
  return true;
}

void KvTable::Shrink(int tokens) {
  const KvShape& shape = pool_.shape();
  const auto kept = static_cast<std::size_t>(shape.BlocksFor(tokens));
  while (blocks_.size() > kept) {
    pool_.Give(blocks_.back());
    blocks_.pop_back();
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (shape.RingBlocks(LayerId(i)) > 0) continue;
      keys_[i].pop_back();
      if (!shape.layers[i].shares_keys) values_[i].pop_back();
    }
  }
  // Otherwise it stays: what was written past `tokens` has taken the place of older positions.
  if (tokens == 0) written_ = 0;
}

bool KvTable::Holds(int tokens) const {
  const KvShape& shape = pool_.shape();
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    const int ring = shape.RingBlocks(LayerId(i));
    if (ring == 0) continue;
    const int first_seen = std::max(0, tokens - shape.layers[i].window + 1);
    const int newest_block = (written_ - 1) / shape.block_tokens;
    if (newest_block - first_seen / shape.block_tokens >= ring) return false;
  }
  return true;
}

KvView KvTable::View(LayerId layer) const {
  const KvShape& shape = pool_.shape();
  const KvLayerShape& of_layer = shape.layers[layer.index()];
  return {.keys = keys_[layer.index()],
          .values = values_[layer.index()],
          .dtype = shape.dtype,
          .block_tokens = shape.block_tokens,
          .kv_heads = of_layer.kv_heads,
          .key_dim = of_layer.key_dim,
          .value_dim = of_layer.value_dim,
          .window = of_layer.window};
}

}  // namespace doppler
