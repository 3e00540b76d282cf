#include "tier/usage.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "io/file.h"
#include "io/replace_file.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "DPLUSAGE";
constexpr std::uint32_t kVersion = 1;
constexpr Bytes kLargestFile = 64 * kMiB;
// Records on their way at once: a disk's full rate, and few slots taken from a run that starts.
constexpr std::size_t kRecordsAtOnce = 8;
constexpr std::chrono::milliseconds kLookAgain(2);

struct Head {
  std::array<char, 8> magic{};
  std::uint32_t version = kVersion;
  std::uint32_t records = 0;
  Digest model{};
};
static_assert(sizeof(Head) == 48);

fs::path UsagePath(const Artifact& artifact) { return artifact.folder() / "usage.cache"; }

}  // namespace

std::vector<std::byte> SerializeUsage(const Digest& model, std::span<const double> usage) {
  Head head{.records = static_cast<std::uint32_t>(usage.size()), .model = model};
  std::copy(kMagic.begin(), kMagic.end(), head.magic.begin());
  std::vector<float> values(usage.size());
  std::transform(usage.begin(), usage.end(), values.begin(), [](double value) {
    return static_cast<float>(std::max<double>(value, std::numeric_limits<float>::lowest()));
  });
  std::vector<std::byte> bytes(sizeof(head) + values.size() * sizeof(float));
  std::memcpy(bytes.data(), &head, sizeof(head));
  if (!values.empty()) {
    std::memcpy(bytes.data() + sizeof(head), values.data(), values.size() * sizeof(float));
  }
  const Digest digest = Sha256(bytes);
  const auto tail = std::as_bytes(std::span(digest));
  bytes.insert(bytes.end(), tail.begin(), tail.end());
  return bytes;
}

std::optional<std::vector<double>> ParseUsage(std::span<const std::byte> bytes, const Digest& model,
                                              std::size_t records) {
  const std::size_t body = sizeof(Head) + records * sizeof(float);
  if (bytes.size() != body + sizeof(Digest)) return std::nullopt;
  const Digest digest = Sha256(bytes.first(body));
  if (std::memcmp(digest.data(), bytes.data() + body, sizeof(digest)) != 0) return std::nullopt;
  Head head;
  std::memcpy(&head, bytes.data(), sizeof(head));
  const bool known = std::equal(kMagic.begin(), kMagic.end(), head.magic.begin()) &&
                     head.version == kVersion && head.records == records && head.model == model;
  if (!known) return std::nullopt;
  std::vector<double> usage(records);
  for (std::size_t i = 0; i < records; ++i) {
    float value = 0;
    std::memcpy(&value, bytes.data() + sizeof(head) + i * sizeof(float), sizeof(value));
    // More than 2^32 uses at the present moment cannot be.
    if (!(value <= 32)) return std::nullopt;
    usage[i] = value;
  }
  return usage;
}

bool SaveUsage(const Artifact& artifact, const ExpertCache& cache) {
  try {
    ReplaceFile(UsagePath(artifact), SerializeUsage(artifact.id(), cache.Usage()));
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::optional<std::vector<double>> LoadUsage(const Artifact& artifact, std::size_t records) {
  const fs::path path = UsagePath(artifact);
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  try {
    const std::string text = ReadTextFile(path, kLargestFile);
    return ParseUsage(std::as_bytes(std::span(text)), artifact.id(), records);
  } catch (const Error&) {
    return std::nullopt;
  }
}

WarmStart::WarmStart(ExpertCache& cache, std::span<const double> usage, std::size_t spare)
    : cache_(cache), spare_(spare) {
  for (std::size_t key = 0; key < usage.size(); ++key) {
    if (usage[key] > std::numeric_limits<float>::lowest()) order_.push_back(key);
  }
  std::stable_sort(order_.begin(), order_.end(),
                   [usage](std::size_t a, std::size_t b) { return usage[a] > usage[b]; });
  thread_ = std::thread([this] { Run(); });
}

WarmStart::~WarmStart() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void WarmStart::Finish() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return finished_; });
}

void WarmStart::Run() {
  std::unique_lock lock(mutex_);
  std::size_t next = 0;
  while (!stop_ && (next < order_.size() || cache_.BackgroundReads() > 0)) {
    while (next < order_.size() && cache_.BackgroundReads() < kRecordsAtOnce) {
      const auto [layer, expert] = cache_.RecordOf(order_[next]);
      const bool read = cache_.ReadAhead(layer, expert, spare_, ExpertCache::Replace::kNothing);
      // Nothing is empty any more.
      next = read ? next + 1 : order_.size();
    }
    wake_.wait_for(lock, kLookAgain, [this] { return stop_; });
  }
  finished_ = true;
  wake_.notify_all();
}

}  // namespace doppler
