#include "apps/runnable_model.h"

#include <fmt/format.h>

#include "apps/pull_display.h"
#include "base/error.h"
#include "format/artifact_files.h"
#include "io/machine.h"
#include "store/local_store.h"
#include "swarm/artifact_torrent.h"
#include "swarm/fetched_mark.h"
#include "swarm/pull.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// Whether all but experts is in the folder, by names and sizes, and is the link's.
bool IsThere(const fs::path& folder, const SwarmReach& reach, const Digest& info_hash) {
  if (!fs::exists(folder / kManifestFile)) return false;
  Manifest manifest;
  if (InfoHash(DescribeArtifact(folder, reach.Authority(), manifest)) != info_hash) return false;
  for (const ShardEntry& shard : manifest.shards) {
    if (shard.type == ShardType::kExpert) continue;
    std::error_code error;
    if (fs::file_size(folder / shard.file, error) != shard.size || error) return false;
  }
  return true;
}

// From any thread: the log is for one.
void Notice(const std::string& text) { fmt::print(stderr, "doppler: {}\n", text); }

void Pull(const SwarmSource& source, const RunFromSwarm& flags, const SwarmReach& reach,
          const fs::path& folder) {
  PullOptions options;
  options.info_hash = source.link.info_hash;
  options.torrent = source.torrent;
  options.folder = folder;
  options.experts = 0;
  options.serve = flags.serve;
  options.reach = reach;
  options.timeout_seconds = flags.timeout_seconds;
  options.threads = DetectProcessor().threads;
  PullDisplay display;
  PullModel(options, display.Events());
  display.Finish();
}

// Fetches what every token needs, unless it is here, and says where that is.
fs::path FetchDense(const std::string& model, const RunFromSwarm& flags, SwarmReach& reach) {
  const SwarmSource source = SourceOf(model);
  if (source.link.name.empty()) {
    throw UsageError(
        "the link has no name; 'doppler pull --dense-only --out DIR' fetches what every token "
        "needs, and 'run DIR --swarm' runs it");
  }
  fs::path folder = LocalStoreFolder() / source.link.name;
  AddReach(source.link, reach);
  const auto signature = CheckedSignature(source.link, folder, flags.trust);
  if (!IsThere(folder, reach, source.link.info_hash)) Pull(source, flags, reach, folder);
  if (signature) WriteSignatureFile(folder, reach.Authority(), *signature);
  return folder;
}

void RequireLocal(const std::string& model, const RunFromSwarm& flags) {
  if (IsSwarmSource(model)) {
    throw UsageError(
        "a link is run with --swarm, which fetches experts as they are needed; or fetch all of it "
        "with 'doppler pull' first");
  }
  if (flags.disk_cache) {
    throw UsageError(
        "--disk-cache needs --swarm: without peers nothing brings back an expert that was removed "
        "from the disk, and the local copy would be lost");
  }
}

// Experts that are removed must come from somewhere again.
void RequireFetched(const fs::path& folder) {
  if (WasFetched(folder)) return;
  Throw(
      "'{0}' was not fetched from the swarm, so that an expert that --disk-cache removes may be "
      "the only copy; leave out --disk-cache, or, if peers have the model, run its link, or fetch "
      "into the folder first with 'doppler pull LINK --out {0}'",
      folder.string());
}

}  // namespace

RunnableModel::RunnableModel(const std::string& model, const RunFromSwarm& flags) {
  if (!flags.on) {
    RequireLocal(model, flags);
    folder_ = ResolveModel(model);
    RequireTrusted(folder_, nullptr, flags.trust);
    return;
  }
  SwarmReach reach = ReachOf(flags.swarm);
  if (IsSwarmSource(model)) {
    folder_ = FetchDense(model, flags, reach);
  } else {
    folder_ = ResolveModel(model);
    RequireTrusted(folder_, reach.TeamOrNull(), flags.trust);
    if (flags.disk_cache) RequireFetched(folder_);
  }
  StatusLine line;
  const auto checking = [&line](Bytes done, Bytes total) {
    line.Show(fmt::format("checking {} of {}", FormatSize(done), FormatSize(total)));
  };
  fetcher_ =
      std::make_unique<ShardFetcher>(ShardFetcherOptions{.folder = folder_,
                                                         .reach = reach,
                                                         .serve = flags.serve,
                                                         .timeout_seconds = flags.timeout_seconds,
                                                         .disk_budget = flags.disk_cache,
                                                         .threads = DetectProcessor().threads},
                                     ShardFetcherEvents{.checking = checking, .notice = Notice});
  line.Clear();
}

std::optional<OrderedJson> RunnableModel::StatsJson() const {
  if (fetcher_ == nullptr) return std::nullopt;
  const ShardFetcherStats stats = fetcher_->stats();
  return OrderedJson{{"experts_fetched", stats.experts},
                     {"bytes_fetched", stats.bytes},
                     {"experts_waited_for", stats.demanded},
                     {"page_in_p50_seconds", OptionalToJson(stats.page_ins.Quantile(0.5))},
                     {"page_in_p99_seconds", OptionalToJson(stats.page_ins.Quantile(0.99))},
                     {"waiting_seconds", stats.waiting_seconds},
                     {"failed_requests", stats.late},
                     {"downloaded_bytes", stats.downloaded},
                     {"uploaded_bytes", stats.uploaded},
                     {"failed_pieces", stats.failed_pieces},
                     {"banned_peers", stats.banned},
                     {"pardoned_peers", stats.pardoned},
                     {"experts_evicted", stats.evicted},
                     {"bytes_evicted", stats.bytes_evicted},
                     {"restarts", stats.restarts},
                     {"checked_bytes", stats.bytes_checked}};
}

std::string RunnableModel::SummaryLine() const {
  if (fetcher_ == nullptr) return {};
  const ShardFetcherStats stats = fetcher_->stats();
  std::string text =
      fmt::format("swarm: {} experts fetched, {}", stats.experts, FormatSize(stats.bytes));
  if (const auto half = stats.page_ins.Quantile(0.5)) {
    constexpr double kMilliseconds = 1000;
    text += fmt::format("; {} were waited for, half of them up to {:.0f} ms, 99 % up to {:.0f} ms",
                        stats.demanded, kMilliseconds * *half,
                        kMilliseconds * stats.page_ins.Quantile(0.99).value_or(0));
  }
  text += fmt::format("; {:.2f} s of waiting", stats.waiting_seconds);
  if (stats.evicted > 0) text += fmt::format("; {} removed from the disk", stats.evicted);
  return text + "\n";
}

}  // namespace doppler
