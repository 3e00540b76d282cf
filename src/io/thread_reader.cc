#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include <unistd.h>

#include "base/alloc_guard.h"
#include "io/async_reader.h"

namespace doppler {
namespace {

// Enough reads at once for a solid-state disk to come near its full rate.
constexpr int kMinThreads = 8;

int ReadWhole(const ReadOp& op) {
  std::span<std::byte> out = op.out;
  Bytes offset = op.offset;
  while (!out.empty()) {
    const ssize_t got =
        ::pread(op.file->descriptor(), out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return kReadPastEnd;
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<Bytes>(got);
  }
  return 0;
}

// A bounded queue that several threads empty with pread.
class ThreadReader final : public AsyncReader {
 public:
  ThreadReader(const AsyncReaderOptions& options, ReadDone on_done)
      : on_done_(std::move(on_done)), queue_(static_cast<std::size_t>(options.depth)) {
    const int threads = std::max(options.threads, kMinThreads);
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
  }

  ~ThreadReader() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  std::string_view name() const override { return "pread threads"; }

  void Submit(const ReadOp& op) override {
    {
      std::unique_lock lock(mutex_);
      place_free_.wait(lock, [this] { return count_ < queue_.size(); });
      queue_[(head_ + count_) % queue_.size()] = op;
      ++count_;
    }
    work_.notify_one();
  }

 private:
  void Run() {
    const NoAllocScope no_alloc;
    for (;;) {
      ReadOp op;
      {
        std::unique_lock lock(mutex_);
        work_.wait(lock, [this] { return stop_ || count_ > 0; });
        if (count_ == 0) return;  // stopping, and nothing is left
        op = queue_[head_];
        head_ = (head_ + 1) % queue_.size();
        --count_;
      }
      place_free_.notify_one();
      on_done_(op.tag, ReadWhole(op));
    }
  }

  ReadDone on_done_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable place_free_;
  std::vector<ReadOp> queue_;  // a ring: count_ entries from head_
  std::size_t head_ = 0;
  std::size_t count_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<AsyncReader> MakeThreadReader(const AsyncReaderOptions& options, ReadDone on_done) {
  return std::make_unique<ThreadReader>(options, std::move(on_done));
}

}  // namespace doppler
