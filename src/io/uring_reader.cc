#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include <liburing.h>

#include "base/alloc_guard.h"
#include "base/error.h"
#include "io/async_reader.h"
#include "io/page_maker.h"

namespace doppler {
namespace {

constexpr std::uint64_t kStop = std::numeric_limits<std::uint64_t>::max();

// One ring. Submitters share its submission side under submit_mutex_, the completion threads its
// completion side under complete_mutex_; the kernel lets the two sides run apart.
class UringReader final : public AsyncReader {
 public:
  UringReader(const AsyncReaderOptions& options, ReadDone on_done)
      : on_done_(std::move(on_done)),
        files_(options.files),
        memory_(options.memory),
        region_(options.region),
        pages_(options.memory, options.region),
        ops_(static_cast<std::size_t>(options.depth)) {
    // Room for one stop message per thread beside the reads.
    const int status =
        io_uring_queue_init(static_cast<unsigned>(options.depth + options.threads), &ring_, 0);
    if (status != 0) Throw("io_uring cannot be used here: {}", std::strerror(-status));
    RegisterFiles();
    RegisterBuffers();
    free_.reserve(ops_.size());
    for (std::size_t i = 0; i < ops_.size(); ++i) free_.push_back(i);
    for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Run(); });
  }

  ~UringReader() override {
    {
      std::unique_lock lock(submit_mutex_);
      place_free_.wait(lock, [this] { return free_.size() == ops_.size(); });
      for (std::size_t i = 0; i < threads_.size(); ++i) {
        io_uring_sqe* entry = io_uring_get_sqe(&ring_);
        DOPPLER_CHECK(entry != nullptr);
        io_uring_prep_nop(entry);
        io_uring_sqe_set_data64(entry, kStop);
        SubmitEntry();
      }
    }
    for (std::thread& thread : threads_) thread.join();
    io_uring_queue_exit(&ring_);
  }

  std::string_view name() const override { return "io_uring"; }
  std::string_view registered() const override {
    const std::lock_guard lock(submit_mutex_);
    if (files_registered_ && buffers_registered_) return "files and buffers";
    if (files_registered_) return "files";
    return buffers_registered_ ? "buffers" : "nothing";
  }

  void Submit(const ReadOp& op) override {
    std::unique_lock lock(submit_mutex_);
    place_free_.wait(lock, [this] { return !free_.empty(); });
    const std::size_t place = free_.back();
    free_.pop_back();
    ops_[place] = op;
    Start(place);
  }

  bool LetGoOf(std::span<std::byte> memory) override {
    if (memory.empty()) return true;
    const std::lock_guard lock(submit_mutex_);
    const auto begin = static_cast<Bytes>(memory.data() - memory_.data());
    const Bytes end = begin + memory.size();
    DOPPLER_CHECK(begin % region_ == 0 && (end % region_ == 0 || end == memory_.size()));
    for (std::size_t region = begin / region_; region * region_ < end; ++region) {
      pages_.Forget(region);
      if (region_registered_.empty() || !region_registered_[region]) continue;
      // An empty buffer in its place. Reads that have ended may hold the pages a moment longer.
      if (!UpdateRegion(region, {nullptr, 0})) return false;
      region_registered_[region] = false;
    }
    return true;
  }

 private:
  void RegisterFiles() {
    if (files_.empty()) return;
    std::vector<int> descriptors;
    for (const File& file : files_) descriptors.push_back(file.descriptor());
    files_registered_ = io_uring_register_files(&ring_, descriptors.data(),
                                                static_cast<unsigned>(descriptors.size())) == 0;
  }

  // Only the places for buffers. A process may be forbidden to lock so much memory, which shows
  // when the first region is registered.
  void RegisterBuffers() {
    const std::size_t regions = (memory_.size() + region_ - 1) / region_;
    if (regions == 0) return;
    region_registered_.assign(regions, false);
    buffers_registered_ =
        io_uring_register_buffers_sparse(&ring_, static_cast<unsigned>(regions)) == 0;
  }

  // The registered region that holds all of `out`; -1 if none does.
  int RegionOf(std::span<std::byte> out) {
    const std::less_equal<> not_after;
    const bool inside = buffers_registered_ && not_after(memory_.data(), out.data()) &&
                        not_after(out.data() + out.size(), memory_.data() + memory_.size());
    if (!inside) return -1;
    const auto begin = static_cast<Bytes>(out.data() - memory_.data());
    const auto region = static_cast<std::size_t>(begin / region_);
    if (begin + out.size() > (region + 1) * region_) return -1;
    if (region_registered_[region]) return static_cast<int>(region);
    // To register pages that are not there would hold up this read, and every other.
    if (!pages_.Ready(region) || !RegisterRegion(region)) return -1;
    return static_cast<int>(region);
  }

  bool RegisterRegion(std::size_t region) {
    const auto bytes =
        memory_.subspan(region * region_, std::min(region_, memory_.size() - region * region_));
    const bool updated = UpdateRegion(region, {bytes.data(), bytes.size()});
    region_registered_[region] = updated;
    // Refused once is refused for good; reads go on without.
    if (!updated) buffers_registered_ = false;
    return updated;
  }

  bool UpdateRegion(std::size_t region, const iovec& buffer) {
    const __u64 no_tag = 0;
    return io_uring_register_buffers_update_tag(&ring_, static_cast<unsigned>(region), &buffer,
                                                &no_tag, 1) == 1;
  }

  // The number of a registered file; -1 if it is none.
  int FileIndex(const File* file) const {
    const std::less_equal<> not_after;
    const bool inside = files_registered_ && not_after(files_.data(), file) &&
                        not_after(file + 1, files_.data() + files_.size());
    return inside ? static_cast<int>(file - files_.data()) : -1;
  }

  // REQUIRES: submit_mutex_ is held.
  void Start(std::size_t place) {
    const ReadOp& op = ops_[place];
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    DOPPLER_CHECK(entry != nullptr);
    const auto length = static_cast<unsigned>(std::min<std::size_t>(op.out.size(), kGiB));
    const int file = FileIndex(op.file);
    const int descriptor = file >= 0 ? file : op.file->descriptor();
    if (const int region = RegionOf(op.out); region >= 0) {
      io_uring_prep_read_fixed(entry, descriptor, op.out.data(), length, op.offset, region);
    } else {
      io_uring_prep_read(entry, descriptor, op.out.data(), length, op.offset);
    }
    if (file >= 0) io_uring_sqe_set_flags(entry, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data64(entry, place);
    SubmitEntry();
  }

  void SubmitEntry() {
    int status = io_uring_submit(&ring_);
    // The kernel was short of memory for the request for a moment, or a signal came.
    while (status == -EAGAIN || status == -EBUSY || status == -EINTR) {
      std::this_thread::yield();
      status = io_uring_submit(&ring_);
    }
    DOPPLER_CHECK(status >= 0);
  }

  struct Completion {
    std::uint64_t place;
    int result;
  };

  Completion TakeCompletion() {
    const std::lock_guard lock(complete_mutex_);
    io_uring_cqe* entry = nullptr;
    int status = io_uring_wait_cqe(&ring_, &entry);
    while (status == -EINTR) status = io_uring_wait_cqe(&ring_, &entry);
    DOPPLER_CHECK(status == 0);
    const Completion completion{io_uring_cqe_get_data64(entry), entry->res};
    io_uring_cqe_seen(&ring_, entry);
    return completion;
  }

  void Run() {
    const NoAllocScope no_alloc;
    for (;;) {
      const Completion completion = TakeCompletion();
      if (completion.place == kStop) return;
      Handle(completion.place, completion.result);
    }
  }

  void Handle(std::size_t place, int result) {
    std::uint64_t tag = 0;
    int error = 0;
    {
      const std::lock_guard lock(submit_mutex_);
      ReadOp& op = ops_[place];
      const bool again = result == -EINTR || result == -EAGAIN;
      const auto got = static_cast<std::size_t>(std::max(result, 0));
      if (again || (got > 0 && got < op.out.size())) {
        op.out = op.out.subspan(got);
        op.offset += got;
        Start(place);
        return;
      }
      tag = op.tag;
      if (result < 0) error = -result;
      if (result == 0 && !op.out.empty()) error = kReadPastEnd;
    }
    on_done_(tag, error);
    // Only now is the place free: the destructor waits for on_done calls too.
    const std::lock_guard lock(submit_mutex_);
    free_.push_back(place);
    place_free_.notify_one();
  }

  ReadDone on_done_;
  const std::span<const File> files_;
  const std::span<std::byte> memory_;
  const Bytes region_;
  PageMaker pages_;
  bool files_registered_ = false;
  bool buffers_registered_ = false;
  std::vector<bool> region_registered_;  // [memory_ / region_]
  io_uring ring_{};
  mutable std::mutex submit_mutex_;
  std::mutex complete_mutex_;
  std::condition_variable place_free_;
  std::vector<ReadOp> ops_;        // [place], in flight unless the place is free
  std::vector<std::size_t> free_;  // places
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<AsyncReader> MakeUringReader(const AsyncReaderOptions& options, ReadDone on_done) {
  return std::make_unique<UringReader>(options, std::move(on_done));
}

}  // namespace doppler
