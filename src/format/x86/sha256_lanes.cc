// By the library of multi-buffer cryptography: a queue of jobs that it works off in lanes.
#include <memory>

#define NO_COMPAT_IMB_API_053
#include <intel-ipsec-mb.h>

#include "base/alloc_guard.h"
#include "base/error.h"
#include "format/sha256_lanes.h"

namespace doppler {
namespace {

struct FreeManager {
  void operator()(IMB_MGR* manager) const { free_mb_mgr(manager); }
};

// One for each thread, about 200 KB: a manager serves one thread at a time.
IMB_MGR& Manager() {
  const AllowAllocScope first_call;
  thread_local std::unique_ptr<IMB_MGR, FreeManager> manager = [] {
    std::unique_ptr<IMB_MGR, FreeManager> made(alloc_mb_mgr(0));
    DOPPLER_CHECK(made != nullptr);
    init_mb_mgr_auto(made.get(), nullptr);
    DOPPLER_CHECK(imb_get_errno(made.get()) == 0);
    return made;
  }();
  return *manager;
}

void FillJob(IMB_JOB& job, std::span<const std::byte> message, Digest& out) {
  job.cipher_mode = IMB_CIPHER_NULL;
  job.cipher_direction = IMB_DIR_ENCRYPT;
  job.chain_order = IMB_ORDER_HASH_CIPHER;
  job.hash_alg = IMB_AUTH_SHA_256;
  job.src = reinterpret_cast<const std::uint8_t*>(message.data());
  job.hash_start_src_offset_in_bytes = 0;
  job.msg_len_to_hash_in_bytes = message.size();
  job.auth_tag_output = out.data();
  job.auth_tag_output_len_in_bytes = out.size();
}

}  // namespace

void Sha256SideBySide(std::span<const std::span<const std::byte>> messages, std::span<Digest> out) {
  DOPPLER_CHECK(messages.size() == out.size() && messages.size() <= kSha256Batch);
  IMB_MGR& manager = Manager();
  std::size_t done = 0;
  const auto count_done = [&done](const IMB_JOB* job) {
    DOPPLER_CHECK(job->status == IMB_STATUS_COMPLETED);
    ++done;
  };
  for (std::size_t i = 0; i < messages.size(); ++i) {
    IMB_JOB* job = IMB_GET_NEXT_JOB(&manager);
    FillJob(*job, messages[i], out[i]);
    for (job = IMB_SUBMIT_JOB(&manager); job != nullptr; job = IMB_GET_COMPLETED_JOB(&manager)) {
      count_done(job);
    }
  }
  while (const IMB_JOB* job = IMB_FLUSH_JOB(&manager)) count_done(job);
  DOPPLER_CHECK(done == messages.size());
}

}  // namespace doppler
