#include "apps/swarm_run.h"

#include <fmt/format.h>

#include "apps/pull_display.h"
#include "base/error.h"
#include "format/artifact_files.h"
#include "io/file.h"
#include "io/machine.h"
#include "store/local_store.h"
#include "swarm/artifact_torrent.h"
#include "swarm/pull.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// Whether all but experts is in the folder, by names and sizes, and is the link's.
bool IsThere(const fs::path& folder, const Digest& info_hash) {
  const fs::path path = folder / kManifestFile;
  if (!fs::exists(path) || InfoHash(DescribeArtifact(folder)) != info_hash) return false;
  for (const ShardEntry& shard : ParseManifest(ReadTextFile(path), path.string()).shards) {
    if (shard.type == ShardType::kExpert) continue;
    std::error_code error;
    if (fs::file_size(folder / shard.file, error) != shard.size || error) return false;
  }
  return true;
}

// From any thread: the log is for one.
void Notice(const std::string& text) { fmt::print(stderr, "doppler: {}\n", text); }

}  // namespace

SwarmRun::SwarmRun(const RunCommand& command) {
  SwarmReach reach = ReachOf(command.swarm);
  if (IsSwarmSource(command.model)) {
    const SwarmSource source = SourceOf(command.model);
    if (source.link.name.empty()) {
      throw UsageError(
          "the link has no name; 'doppler pull --dense-only --out DIR' fetches what "
          "every token needs, and 'run DIR --swarm' runs it");
    }
    folder_ = LocalStoreFolder() / source.link.name;
    AddReach(source.link, reach);
    if (!IsThere(folder_, source.link.info_hash)) Pull(source, command, reach);
  } else {
    folder_ = ResolveModel(command.model);
  }
  StatusLine line;
  const auto checking = [&line](Bytes done, Bytes total) {
    line.Show(fmt::format("checking {} of {}", FormatSize(done), FormatSize(total)));
  };
  fetcher_ = std::make_unique<ShardFetcher>(
      ShardFetcherOptions{.folder = folder_,
                          .reach = reach,
                          .serve = command.serve,
                          .timeout_seconds = command.swarm_timeout_seconds,
                          .threads = DetectProcessor().threads},
      ShardFetcherEvents{.checking = checking, .notice = Notice});
  line.Clear();
}

void SwarmRun::Pull(const SwarmSource& source, const RunCommand& command,
                    const SwarmReach& reach) const {
  PullOptions options;
  options.info_hash = source.link.info_hash;
  options.torrent = source.torrent;
  options.folder = folder_;
  options.experts = 0;
  options.serve = command.serve;
  options.reach = reach;
  options.timeout_seconds = command.swarm_timeout_seconds;
  options.threads = DetectProcessor().threads;
  PullDisplay display;
  PullModel(options, display.Events());
  display.Finish();
}

OrderedJson SwarmRun::StatsJson() const {
  const ShardFetcherStats stats = fetcher_->stats();
  return {{"experts_fetched", stats.experts},
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
          {"restarts", stats.restarts}};
}

std::string SwarmRun::SummaryLine() const {
  const ShardFetcherStats stats = fetcher_->stats();
  std::string text =
      fmt::format("swarm: {} experts fetched, {}", stats.experts, FormatSize(stats.bytes));
  if (const auto half = stats.page_ins.Quantile(0.5)) {
    constexpr double kMilliseconds = 1000;
    text += fmt::format("; {} were waited for, half of them up to {:.0f} ms, 99 % up to {:.0f} ms",
                        stats.demanded, kMilliseconds * *half,
                        kMilliseconds * stats.page_ins.Quantile(0.99).value_or(0));
  }
  return text + fmt::format("; {:.2f} s of waiting\n", stats.waiting_seconds);
}

}  // namespace doppler
