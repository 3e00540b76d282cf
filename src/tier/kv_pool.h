// The owner of every session's keys and values.
//
// A KV block holds the keys and values of `block_tokens` consecutive positions in all layers. A
// session keeps a block table: position p lives in block table[p / block_tokens]. Blocks come from
// one preallocated pool, so a session that grows does not allocate.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "io/mapped_memory.h"
#include "tier/budget.h"

namespace doppler {

using KvBlockId = Id<struct KvBlockTag>;

struct KvShape {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  DType dtype = DType::kF16;
  int block_tokens = 32;

  int BlocksFor(int tokens) const { return (tokens + block_tokens - 1) / block_tokens; }
  // Keys, or values, of one block in one layer.
  Bytes LayerBytes() const;
  Bytes BlockBytes() const;
};

// Any thread. Outlives the tables of its sessions.
class KvPool {
 public:
  // Reserves blocks * BlockBytes() in `budget`; throws Error if that does not fit.
  KvPool(const KvShape& shape, int blocks, MemoryBudget& budget);

  // Nothing if every block is in use. Does not allocate.
  std::optional<KvBlockId> Take();
  void Give(KvBlockId block);

  // Start of the keys, or values, of one block in one layer.
  std::byte* Keys(KvBlockId block, LayerId layer) const;
  std::byte* Values(KvBlockId block, LayerId layer) const;

  const KvShape& shape() const { return shape_; }

 private:
  const KvShape shape_;
  Reservation reservation_;
  MappedMemory memory_;  // [block, layer, 2, kv_heads, block_tokens, head_dim]
  std::mutex mutex_;
  std::vector<KvBlockId> free_;
};

// One session's positions. Not thread safe.
class KvTable {
 public:
  // Room for `max_tokens` positions; takes blocks only as they are needed.
  KvTable(KvPool& pool, int max_tokens);
  ~KvTable();
  KvTable(const KvTable&) = delete;
  KvTable& operator=(const KvTable&) = delete;

  // Makes positions [0, tokens) writable. False if the pool is empty or max_tokens is exceeded;
  // then nothing changed. Does not allocate.
  bool Grow(int tokens);
  // Gives back the blocks of positions from `tokens` on.
  void Shrink(int tokens);

  KvView View(LayerId layer) const;
  int max_tokens() const { return max_tokens_; }

 private:
  KvPool& pool_;
  const int max_tokens_;
  std::vector<KvBlockId> blocks_;
  std::vector<std::vector<std::byte*>> keys_;    // [layer][block]
  std::vector<std::vector<std::byte*>> values_;  // [layer][block]
};

}  // namespace doppler
