// The owner of every session's keys and values.
//
// A KV block holds `block_tokens` consecutive positions in all layers that see every position. A
// session keeps a block table: position p lives in block table[p / block_tokens]. A layer with a
// sliding window never needs more than its window and the ubatch that is being written, so it has a
// ring of blocks of its own, one ring set to a session. Blocks and ring sets come from one
// preallocated pool, so a session that grows does not allocate.
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
using KvRingId = Id<struct KvRingTag>;

struct KvLayerShape {
  int kv_heads = 0;
  int key_dim = 0;
  int value_dim = 0;
  bool shares_keys = false;  // values are the first value_dim of each key and take no memory
  int window = 0;            // positions that a token sees; 0 for all

  bool operator==(const KvLayerShape&) const = default;
};

struct KvShape {
  std::vector<KvLayerShape> layers;  // [layer]
  DType dtype = DType::kF16;
  int block_tokens = 32;
  int ubatch = 1;   // most positions that are written at once
  int context = 0;  // most positions of a session

  int BlocksFor(int tokens) const { return (tokens + block_tokens - 1) / block_tokens; }
  // Blocks of a layer's ring; 0 for a layer that keeps every position.
  int RingBlocks(LayerId layer) const;
  // Keys and values of one block in one layer.
  Bytes KeyBytes(LayerId layer) const;
  Bytes ValueBytes(LayerId layer) const;
  // One block of all layers that keep every position.
  Bytes BlockBytes() const;
  // The rings of one session.
  Bytes RingBytes() const;
  // What `sessions` sessions take that hold `context` positions each.
  Bytes TotalBytes(int sessions = 1) const;
};

// Any thread. Outlives the tables of its sessions.
class KvPool {
 public:
  // Room for `sessions` sessions of shape.context positions. Reserves shape.TotalBytes(sessions) in
  // `budget`; throws Error if that does not fit.
  KvPool(const KvShape& shape, int sessions, MemoryBudget& budget);

  // Nothing if every block, or ring set, is in use. Do not allocate.
  std::optional<KvBlockId> Take();
  std::optional<KvRingId> TakeRings();
  void Give(KvBlockId block);
  void GiveRings(KvRingId rings);

  // Start of the keys, or values, of one block in one layer. A layer without values of its own
  // gives the keys' end.
  std::byte* Keys(KvBlockId block, LayerId layer) const;
  std::byte* Values(KvBlockId block, LayerId layer) const;
  // The same of block `index` of a layer's ring.
  std::byte* RingKeys(KvRingId rings, LayerId layer, int index) const;
  std::byte* RingValues(KvRingId rings, LayerId layer, int index) const;

  const KvShape& shape() const { return shape_; }

 private:
  const KvShape shape_;
  std::vector<Bytes> offset_;  // [layer], of its keys in a block, or of its ring in a ring set
  Reservation reservation_;
  MappedMemory blocks_;
  MappedMemory rings_;
  std::mutex mutex_;
  std::vector<KvBlockId> free_;
  std::vector<KvRingId> free_rings_;
};

// One session's positions. Not thread safe.
class KvTable {
 public:
  // Room for shape.context positions; takes blocks and rings only as they are needed.
  explicit KvTable(KvPool& pool);
  ~KvTable();
  KvTable(const KvTable&) = delete;
  KvTable& operator=(const KvTable&) = delete;

  // Makes positions [0, tokens) writable. False if the pool is empty or the context is exceeded;
  // then nothing changed. Does not allocate.
  bool Grow(int tokens);
  // Gives back the blocks of positions from `tokens` on.
  void Shrink(int tokens);
  // Whether all that a token at position `tokens` sees is still there: a ring forgets the positions
  // before its window once later ones have been written.
  bool Holds(int tokens) const;

  KvView View(LayerId layer) const;
  int max_tokens() const { return pool_.shape().context; }

 private:
  void AddBlock(KvBlockId block);
  bool EnsureRings();

  KvPool& pool_;
  std::vector<KvBlockId> blocks_;
  std::optional<KvRingId> rings_;
  int written_ = 0;                              // the end of the positions ever written
  std::vector<std::vector<std::byte*>> keys_;    // [layer][block]
  std::vector<std::vector<std::byte*>> values_;  // [layer][block]; empty where keys are shared
};

}  // namespace doppler
