#include <optional>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "apps/swarm_flags.h"
#include "base/error.h"
#include "io/file.h"
#include "io/machine.h"
#include "io/progress.h"
#include "store/local_store.h"
#include "swarm/link.h"
#include "swarm/pull.h"
#include "swarm/torrent.h"

namespace doppler {
namespace {

constexpr Bytes kMostTorrentBytes = 2 * kGiB;

// What a link or a .torrent file says, before anything is fetched.
struct PullSource {
  Link link;
  std::optional<Torrent> torrent;
};

PullSource SourceOf(const std::string& text) {
  PullSource source;
  if (IsLink(text)) {
    source.link = ParseLink(text);
    return source;
  }
  source.torrent = ParseTorrent(ReadTextFile(text, kMostTorrentBytes), text);
  source.link = {.info_hash = InfoHash(*source.torrent),
                 .name = source.torrent->name,
                 .peers = {},
                 .trackers = std::exchange(source.torrent->trackers, {}),
                 .web_seeds = std::exchange(source.torrent->web_seeds, {})};
  return source;
}

std::filesystem::path FolderOf(const PullCommand& command, const Link& link) {
  if (!command.output.empty()) return WithoutTrailingSlash(command.output);
  if (link.name.empty()) throw UsageError("the link has no name; say where with --out DIR");
  return LocalStoreFolder() / link.name;
}

// In a private swarm a link's trackers and mirrors are not used: they were chosen by someone else.
void AddReach(const Link& link, SwarmReach& reach) {
  for (const PeerAddress& peer : link.peers) {
    if (!reach.private_only || IsPrivateAddress(peer)) reach.peers.push_back(peer);
  }
  if (reach.private_only) return;
  reach.trackers.insert(reach.trackers.end(), link.trackers.begin(), link.trackers.end());
  reach.web_seeds.insert(reach.web_seeds.end(), link.web_seeds.begin(), link.web_seeds.end());
}

class PullDisplay {
 public:
  void Show(const PullProgress& progress) {
    if (progress.total == 0) {
      if (progress.stage != "checking") {
        line_.Show(fmt::format("{}   {} peers", progress.stage, progress.status.peers));
      }
      return;
    }
    if (!meter_ || stage_ != progress.stage) {
      line_.Clear();
      meter_.reset();
      meter_.emplace(std::string(progress.stage), progress.total);
      stage_ = progress.stage;
    }
    meter_->Update(progress.done);
  }
  void Notice(const std::string& text) {
    line_.Clear();
    meter_.reset();
    spdlog::warn("{}", text);
  }
  void Finish() {
    // Without an average: what was there at the start did not come.
    meter_.reset();
    line_.Clear();
  }

 private:
  StatusLine line_;
  std::string stage_;
  std::optional<ProgressMeter> meter_;
};

OrderedJson ToJson(const PullReport& report, const std::filesystem::path& folder) {
  OrderedJson banned = OrderedJson::array();
  for (const PeerAddress& peer : report.banned) banned.push_back(FormatPeer(peer));
  return {{"name", report.name},
          {"folder", folder.string()},
          {"bytes", report.model_bytes},
          {"found_bytes", report.found_bytes},
          {"downloaded_bytes", report.downloaded},
          {"uploaded_bytes", report.uploaded},
          {"experts", report.experts},
          {"experts_there", report.experts_there},
          {"failed_pieces", report.failed_pieces},
          {"banned", banned},
          {"restarts", report.restarts}};
}

void PrintText(const PullReport& report, const std::filesystem::path& folder) {
  std::string text = fmt::format("{}: {} in {}, verified", report.name,
                                 FormatSize(report.model_bytes), folder.string());
  if (report.experts_there < report.experts) {
    text += fmt::format("; {} of {} experts, the same command with --experts all fetches the rest",
                        report.experts_there, report.experts);
  }
  Print(text + "\n");
  if (report.failed_pieces > 0) {
    spdlog::info("{} pieces came with wrong bytes and were fetched again; {} peers were banned",
                 report.failed_pieces, report.banned.size());
  }
}

}  // namespace

void RunPull(const PullCommand& command) {
  PullSource source = SourceOf(command.source);
  PullOptions options;
  options.info_hash = source.link.info_hash;
  options.torrent = std::move(source.torrent);
  options.folder = FolderOf(command, source.link);
  options.experts = command.experts;
  options.serve = command.serve;
  options.reach = ReachOf(command.swarm);
  AddReach(source.link, options.reach);
  options.timeout_seconds = command.timeout_seconds;
  options.threads = DetectProcessor().threads;
  PullDisplay display;
  const PullReport report =
      PullModel(options, {.progress = [&](const PullProgress& progress) { display.Show(progress); },
                          .notice = [&](const std::string& text) { display.Notice(text); }});
  display.Finish();
  if (command.json) {
    PrintJson(ToJson(report, options.folder));
  } else {
    PrintText(report, options.folder);
  }
}

}  // namespace doppler
