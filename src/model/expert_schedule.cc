#include "model/expert_schedule.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace doppler {
namespace {

// What is on its way at once in a long ubatch: enough to keep a disk busy while one expert is
// computed.
constexpr Bytes kReadWindow = 64 * kMiB;
constexpr std::size_t kLeastWindow = 4;

// The parts of a record that a stage reads.
std::span<const ExpertPart> PartsOf(ExpertStage stage) {
  const std::span<const ExpertPart> all = kAllExpertParts;
  return stage == ExpertStage::kDown ? all.last(1) : all.first(2);
}

// Whether the next stage can be computed, or its bytes could not be read.
bool IsThere(const ExpertTask& task) {
  return task.lease.held() && std::ranges::all_of(PartsOf(task.next), [&](ExpertPart part) {
           return task.lease.Ready(part);
         });
}

void ThrowIfFailed(ExpertTask& task) {
  for (const ExpertPart part : PartsOf(task.next)) task.lease.Wait(part);
}

}  // namespace

ExpertSchedule::ExpertSchedule(const Model& model, LayerId layer, int tokens,
                               std::span<ExpertTask> tasks, std::span<ExpertId> wanted,
                               std::span<ExpertLease> leases, int rows)
    : model_(model),
      cache_(*model.experts),
      layer_(layer),
      tasks_(tasks),
      wanted_(wanted),
      leases_(leases),
      rows_(rows) {
  int choices = 0;
  for (const ExpertTask& task : tasks_) choices += task.tokens;
  // A pass over more records than there are slots would put out all that decode has gathered.
  const auto layers = static_cast<std::size_t>(model.config.NumMoeLayers());
  if (tokens > 1 && tasks_.size() * layers > cache_.slots()) use_ = UseKind::kPassing;
  most_open_misses_ = std::max<std::size_t>(kLeastWindow, kReadWindow / cache_.SlotBytes(layer_));
  const auto of_one_token = static_cast<std::size_t>(model.config.experts_per_token);
  together_ = choices <= rows_ && tasks_.size() <= std::max(of_one_token, most_open_misses_) &&
              tasks_.size() <= cache_.MostPinned(layer_);
  const auto experts = static_cast<std::size_t>(model.config.num_experts);
  const LayerId next(layer_.value + 1);
  read_next_layer_ = tasks_.size() >= experts - experts / 8 &&
                     next.value < model.config.num_layers && model.config.HasExperts(next);
  SortResidentFirst();
  if (together_) return;
  // A network is slower than a disk: those that are acquired later begin their way now.
  for (const ExpertTask& task : tasks_.subspan(resident_)) cache_.Expect(layer_, task.expert);
}

ExpertSchedule::~ExpertSchedule() {
  for (ExpertTask& task : tasks_) task.lease = ExpertLease();
  for (ExpertLease& lease : leases_) lease = ExpertLease();
}

// So that they are pinned before a miss could evict them. Both parts stay in ascending order, which
// is the order of the disk.
void ExpertSchedule::SortResidentFirst() {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (!cache_.Resident(layer_, tasks_[i].expert)) continue;
    // Moves it to the end of the resident ones, and those that are missing one place up.
    for (std::size_t place = i; place > resident_; --place) {
      std::swap(tasks_[place].expert, tasks_[place - 1].expert);
      std::swap(tasks_[place].tokens, tasks_[place - 1].tokens);
    }
    ++resident_;
  }
}

bool ExpertSchedule::Acquire() {
  if (together_) {
    AcquireTogether();
  } else {
    AcquireOneByOne();
  }
  return acquired_ == tasks_.size();
}

std::span<ExpertTask* const> ExpertSchedule::Next() {
  for (;;) {
    const std::uint32_t seen = cache_.progress();
    if (Acquire() && read_next_layer_) ReadNextLayer();
    if (done_ == tasks_.size()) return {};
    FindRunnable();
    for (std::size_t i = 0; i < in_batch_; ++i) ThrowIfFailed(*batch_[i]);
    if (in_batch_ > 0) return std::span(batch_).first(in_batch_);
    cache_.WaitForProgress(seen);
  }
}

void ExpertSchedule::Done(ExpertTask& task) {
  if (task.next == ExpertStage::kGateAndUp) {
    task.next = ExpertStage::kDown;
    return;
  }
  task.lease = ExpertLease();
  task.row = -1;
  ++done_;
  const auto index = static_cast<std::size_t>(&task - tasks_.data());
  if (index >= resident_) --open_misses_;
}

void ExpertSchedule::AcquireTogether() {
  if (acquired_ == tasks_.size()) return;
  for (std::size_t i = 0; i < tasks_.size(); ++i) wanted_[i] = tasks_[i].expert;
  if (cache_.Acquire(layer_, wanted_, leases_, use_) != AcquireResult::kOk) {
    // Read-ahead holds some slots, for a moment; or so many were given back to the system that they
    // are too few even so.
    together_ = tasks_.size() <= cache_.MostPinned(layer_);
    if (!together_) AcquireOneByOne();
    return;
  }
  for (std::size_t i = 0; i < tasks_.size(); ++i) tasks_[i].lease = std::move(leases_[i]);
  acquired_ = tasks_.size();
  open_misses_ = tasks_.size() - resident_;
}

void ExpertSchedule::AcquireOneByOne() {
  while (acquired_ < tasks_.size()) {
    const bool missing = acquired_ >= resident_;
    if (missing && open_misses_ >= most_open_misses_) return;
    ExpertTask& task = tasks_[acquired_];
    if (cache_.Acquire(layer_, {&task.expert, 1}, {&task.lease, 1}, use_) != AcquireResult::kOk) {
      return;
    }
    ++acquired_;
    open_misses_ += missing ? 1 : 0;
  }
}

// A ubatch that used nearly all experts of this layer will use nearly all of the next, whose router
// has not spoken yet.
void ExpertSchedule::ReadNextLayer() {
  const LayerId next(layer_.value + 1);
  const auto spare = static_cast<std::size_t>(model_.config.experts_per_token);
  while (next_ahead_ < model_.config.num_experts &&
         cache_.ReadAhead(next, ExpertId(next_ahead_), spare, ExpertCache::Replace::kPassing)) {
    ++next_ahead_;
  }
}

// Of a long ubatch those that were missing first and one by one: each one done lets the next be
// read, and what is resident can be computed whenever nothing has arrived. Gate and up first, so
// that more of the other projections can be computed together.
void ExpertSchedule::FindRunnable() {
  const std::span<ExpertTask> acquired = tasks_.first(acquired_);
  const std::size_t resident = together_ ? 0 : std::min(resident_, acquired_);
  const std::size_t all = batch_.size();
  in_batch_ = 0;
  for (const auto& [among, most] : {std::pair(acquired.subspan(resident), together_ ? all : 1),
                                    std::pair(acquired.first(resident), all)}) {
    for (const ExpertStage stage : {ExpertStage::kGateAndUp, ExpertStage::kDown}) {
      if (in_batch_ == 0) FindRunnable(among, stage, most);
    }
  }
}

void ExpertSchedule::FindRunnable(std::span<ExpertTask> among, ExpertStage stage,
                                  std::size_t most) {
  for (ExpertTask& task : among) {
    if (in_batch_ == most) return;
    if (task.next != stage || !IsThere(task)) continue;
    if (task.row < 0) task.row = FreeRow(task.tokens);
    if (task.row < 0 && in_batch_ > 0) return;
    if (task.row >= 0) batch_[in_batch_++] = &task;
  }
}

// The first run of `count` rows that no task under way has; -1 if there is none.
int ExpertSchedule::FreeRow(int count) const {
  int row = 0;
  for (bool moved = true; moved && row + count <= rows_;) {
    moved = false;
    for (const ExpertTask& task : tasks_.first(acquired_)) {
      if (task.row < 0 || task.row >= row + count || task.row + task.tokens <= row) continue;
      row = task.row + task.tokens;
      moved = true;
    }
  }
  return row + count <= rows_ ? row : -1;
}

}  // namespace doppler
