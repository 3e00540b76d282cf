// A reader for tests that decide when a read ends.
#pragma once

#include <mutex>
#include <utility>
#include <vector>

#include "io/async_reader.h"

namespace doppler {

// Keeps reads until the test lets them go.
class HeldReader final : public AsyncReader {
 public:
  explicit HeldReader(ReadDone on_done) : on_done_(std::move(on_done)) {}
  ~HeldReader() override { LetGo(ops_.size()); }
  std::string_view name() const override { return "held"; }
  void Submit(const ReadOp& op) override {
    const std::lock_guard lock(mutex_);
    ops_.push_back(op);
  }

  // The first `count` reads that are held.
  void LetGo(std::size_t count, int error = 0) {
    for (; count > 0; --count) {
      ReadOp op;
      {
        const std::lock_guard lock(mutex_);
        op = ops_.front();
        ops_.erase(ops_.begin());
      }
      op.file->ReadAt(op.offset, op.out);
      on_done_(op.tag, error);
    }
  }
  std::vector<ReadOp> ops() const {
    const std::lock_guard lock(mutex_);
    return ops_;
  }

 private:
  ReadDone on_done_;
  mutable std::mutex mutex_;
  std::vector<ReadOp> ops_;
};

}  // namespace doppler
