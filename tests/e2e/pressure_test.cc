// `doppler run` while the system is short of memory: what the kernel counts is put under it by a
// mount that only that process sees, so that nothing else on the machine is short of anything.

#include <chrono>
#include <csignal>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/error.h"
#include "e2e/synth.h"
#include "io/memory_pressure.h"

namespace doppler {
namespace {

using Seconds = std::chrono::duration<double>;

// A file of the kernel's form, and how often it has been read.
class PressureFile {
 public:
  explicit PressureFile(const fs::path& path) : path_(path) {
    Add(0);
    notices_ = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    DOPPLER_CHECK(notices_ >= 0 &&
                  ::inotify_add_watch(notices_, path.c_str(), IN_CLOSE_NOWRITE) > 0);
  }
  ~PressureFile() { ::close(notices_); }
  PressureFile(const PressureFile&) = delete;
  PressureFile& operator=(const PressureFile&) = delete;

  const fs::path& path() const { return path_; }

  void Add(int stalled_seconds) {
    total_us_ += stalled_seconds * 1'000'000L;
    // Always of one length, and written at once: a reader sees one text or the other.
    const std::string text =
        fmt::format("some avg10=0.00 avg60=0.00 avg300=0.00 total={:012}\n", total_us_);
    const int file = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    DOPPLER_CHECK(::pwrite(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    ::close(file);
  }

  int reads() {
    alignas(inotify_event) char events[4096];
    for (ssize_t got; (got = ::read(notices_, events, sizeof(events))) > 0;) {
      // Without a name every event is as long as its head.
      reads_ += static_cast<int>(static_cast<std::size_t>(got) / sizeof(inotify_event));
    }
    return reads_;
  }

 private:
  const fs::path path_;
  long total_us_ = 0;
  int notices_ = -1;
  int reads_ = 0;
};

// In a mount namespace of the calling process's own; without root that takes a user namespace.
bool PutUnder(const char* file, const char* pressure_file) {
  const int spaces = CLONE_NEWNS | (::geteuid() == 0 ? 0 : CLONE_NEWUSER);
  return ::unshare(spaces) == 0 &&
         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount(file, pressure_file, nullptr, MS_BIND, nullptr) == 0;
}

// What a run sees of the system, step by step: short of memory, then 20 seconds of quiet, which it
// spends stopped. True when it has seen all that.
class Shortage {
 public:
  explicit Shortage(PressureFile& file) : file_(file) {}

  bool Over(const RunningProcess& run) {
    if (run.output.empty()) return false;
    const int reads = file_.reads();
    if (stage_ == Stage::kShort && reads > reads_before_) {
      reads_before_ = reads;
      if (++samples_ <= kShortSamples) {
        file_.Add(10);
      } else if (samples_ > kShortSamples + 1) {
        Stop(run);
      }
    }
    if (stage_ == Stage::kStopped && Seconds(Clock::now() - stopped_) > kQuiet) {
      ::kill(run.id, SIGCONT);
      stage_ = Stage::kQuiet;
      reads_before_ = reads;
    }
    // The reading that ends the quiet, and those after what follows from it.
    return stage_ == Stage::kQuiet && reads >= reads_before_ + 3;
  }

 private:
  using Clock = std::chrono::steady_clock;
  enum class Stage { kShort, kStopped, kQuiet };
  static constexpr int kShortSamples = 2;
  static constexpr Seconds kQuiet{20.5};

  void Stop(const RunningProcess& run) {
    ::kill(run.id, SIGSTOP);
    stage_ = Stage::kStopped;
    stopped_ = Clock::now();
  }

  PressureFile& file_;
  Stage stage_ = Stage::kShort;
  int reads_before_ = 0;
  int samples_ = 0;
  Clock::time_point stopped_;
};

// Experts of 204 MiB, four regions of the cache; two of each layer are on disk, and all others
// their links.
fs::path LargeMoeModel(const fs::path& folder) {
  return SynthModel(folder,
                    {{"model_type", "qwen3_moe"},
                     {"architectures", {"Qwen3MoeForCausalLM"}},
                     {"hidden_size", 512},
                     {"intermediate_size", 1024},
                     {"moe_intermediate_size", 2048},
                     {"num_hidden_layers", 2},
                     {"num_attention_heads", 4},
                     {"num_key_value_heads", 2},
                     {"head_dim", 64},
                     {"num_experts", 32},
                     {"num_experts_per_tok", 2},
                     {"norm_topk_prob", true},
                     {"rms_norm_eps", 1e-6},
                     {"rope_theta", 1e6},
                     {"max_position_embeddings", 32768},
                     {"vocab_size", 8192},
                     {"tie_word_embeddings", false},
                     {"hidden_act", "silu"}},
                    {"--distinct-experts", "2"});
}

std::vector<std::string> LongRun(const fs::path& model, const fs::path& stats, int tokens) {
  return {"run",
          model,
          "-p",
          "Once upon a time",
          "-n",
          std::to_string(tokens),
          "--temperature",
          "1",
          "--context",
          "32768",
          "--host-memory",
          "512M",
          "--cold",
          "--threads",
          "2",
          "--stats",
          stats};
}

TEST(PressureTest, ARunGivesMemoryBackTakesItAgainAndPrintsTheSame) {
  const auto counted = FindMemoryPressureFile();
  if (!counted) GTEST_SKIP() << "the kernel does not count pressure";
  const TempFolder folder;
  const fs::path model = LargeMoeModel(folder.path());
  PressureFile file(folder.path() / "pressure");
  Shortage shortage(file);
  constexpr int kNoMounts = 99;
  const std::string from = file.path();
  const std::string to = *counted;
  const ProcessResult under_pressure =
      Doppler(LongRun(model, folder.path() / "short.json", 30000),
              {.signal = SIGINT,
               .signal_when = [&](const RunningProcess& run) { return shortage.Over(run); },
               .prepare =
                   [&] {
                     if (!PutUnder(from.c_str(), to.c_str())) ::_exit(kNoMounts);
                   }});
  if (under_pressure.status == kNoMounts) GTEST_SKIP() << "this process may not mount files";
  ASSERT_EQ(under_pressure.status, kFailed) << under_pressure.errors;  // that of Ctrl-C

  const nlohmann::json stats = ReadJson(folder.path() / "short.json");
  const nlohmann::json& memory = stats.at("give_back");
  EXPECT_EQ(memory.at("pressure_file"), to);
  EXPECT_TRUE(memory.at("problem").is_null()) << memory;
  EXPECT_GT(memory.at("given_back_bytes"), 0);
  EXPECT_GT(memory.at("taken_again_bytes"), 0);
  EXPECT_EQ(memory.at("present_bytes").get<long>(),
            stats.at("plan").at("expert_bytes").get<long>() -
                memory.at("given_back_bytes").get<long>() +
                memory.at("taken_again_bytes").get<long>());

  const std::string text =
      Output(LongRun(model, folder.path() / "whole.json", stats.at("generated_tokens")));
  EXPECT_EQ(under_pressure.output, text);
}

}  // namespace
}  // namespace doppler
