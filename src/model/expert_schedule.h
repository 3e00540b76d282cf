// The order in which the experts of one layer are paged in and computed.
//
// What is resident is computed while what is missing is read: of an expert gate and up as soon as
// both are there, then down. The experts of a token, or of a few, are acquired together, so that
// the gate and up projections of all misses are read before any down projection, and those that are
// there are computed in one go. Those of a ubatch that would keep the disk busy for longer, and so
// make the first of them late, follow one another through a bounded number of slots, in the order
// of the disk: while one is computed the next are read.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "model/activations.h"
#include "model/forward.h"

namespace doppler {

class ExpertSchedule {
 public:
  // `tasks` are the chosen experts, ascending, each with the number of its tokens; `wanted` and
  // `leases` are scratch of the same length. `rows` is how many tokens can be under way at once, at
  // least those of any one task.
  ExpertSchedule(const Model& model, LayerId layer, int tokens, std::span<ExpertTask> tasks,
                 std::span<ExpertId> wanted, std::span<ExpertLease> leases, int rows);
  // Ends all leases.
  ~ExpertSchedule();
  ExpertSchedule(const ExpertSchedule&) = delete;
  ExpertSchedule& operator=(const ExpertSchedule&) = delete;

  // Acquires what it can without waiting, and says whether that is all. Next does the same.
  bool Acquire();
  // Tasks whose stage `next`, the same for all of them, can be computed now: of a few tokens all
  // that there are, of a long ubatch one that was missing or some that were not. None when all are
  // done. Waits for bytes if nothing can be computed. Valid until the next call. Throws Error if
  // they cannot be read.
  std::span<ExpertTask* const> Next();
  // That stage has been computed.
  void Done(ExpertTask& task);

 private:
  void SortResidentFirst();
  void AcquireTogether();
  void AcquireOneByOne();
  void ReadNextLayer();
  void FindRunnable();
  void FindRunnable(std::span<ExpertTask> among, ExpertStage stage, std::size_t most);
  int FreeRow(int count) const;

  const Model& model_;
  ExpertCache& cache_;
  const LayerId layer_;
  const std::span<ExpertTask> tasks_;  // resident ones first
  const std::span<ExpertId> wanted_;
  const std::span<ExpertLease> leases_;
  const int rows_;
  UseKind use_ = UseKind::kKeep;
  std::array<ExpertTask*, kMostExpertsTogether> batch_;
  std::size_t in_batch_ = 0;      // of batch_, from the front
  bool together_ = false;         // all are acquired in one call
  bool read_next_layer_ = false;  // which will want nearly all of its experts
  std::size_t resident_ = 0;      // tasks that were when the layer began
  std::size_t acquired_ = 0;      // tasks, from the front
  std::size_t done_ = 0;          // tasks
  std::size_t open_misses_ = 0;   // acquired, not resident before, not done
  std::size_t most_open_misses_ = 1;
  int next_ahead_ = 0;  // expert of the next layer
};

}  // namespace doppler
