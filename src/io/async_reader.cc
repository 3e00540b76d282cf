#include "io/async_reader.h"

#include <cstring>

#include <liburing.h>

namespace doppler {

bool UringPermitted() {
  io_uring ring;
  if (io_uring_queue_init(2, &ring, 0) != 0) return false;
  io_uring_queue_exit(&ring);
  return true;
}

std::unique_ptr<AsyncReader> MakeAsyncReader(const AsyncReaderOptions& options, ReadDone on_done) {
  if (UringPermitted()) return MakeUringReader(options, std::move(on_done));
  return MakeThreadReader(options, std::move(on_done));
}

std::string_view DescribeReadError(int error) {
  if (error == kReadPastEnd) return "the file ends too early; it is truncated";
  return strerrordesc_np(error);
}

}  // namespace doppler
