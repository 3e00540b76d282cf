// Where shards come from that are not on disk.
//
//   Request(shard) -> its file arrives in the artifact's folder -> Has(shard) -> the listener is
//   told
//
// Only shards of single experts can be missing. Whoever reads a file afterwards verifies its bytes
// as always.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"

namespace doppler {

enum class ShardUrgency : std::uint8_t {
  kSoon,  // may be wanted: comes behind all others
  kNow,   // somebody waits for it
};

class ShardSource {
 public:
  // `problem` is empty when the shard is there; else it says why it does not come, for an Error.
  using Listener = std::function<void(ShardId shard, const std::string& problem)>;

  virtual ~ShardSource() = default;

  // Whether the file is in the folder, whole; once it is, it stays. Any thread; does not wait.
  virtual bool Has(ShardId shard) const = 0;

  // Asks for a shard. Of each one asked for with kNow that is not there, the listener is told once:
  // that it came, or that it does not. Asking again after that tries again. Any thread; does not
  // wait, allocate or call the listener.
  virtual void Request(ShardId shard, ShardUrgency urgency) = 0;

  // Who is told, from a thread of the source. Returns when the one before is not being called any
  // more. The listener may call Has and Request.
  virtual void SetListener(Listener listener) = 0;

  // What it may take of this process's memory for its work, beside what it holds all the time: for
  // the plan.
  virtual Bytes WorkingBytes() const = 0;
};

}  // namespace doppler
