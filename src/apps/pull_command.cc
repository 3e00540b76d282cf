#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "apps/commands.h"
#include "apps/pull_display.h"
#include "apps/report.h"
#include "apps/swarm_flags.h"
#include "base/error.h"
#include "io/file.h"
#include "io/machine.h"
#include "store/local_store.h"
#include "swarm/pull.h"

namespace doppler {
namespace {

std::filesystem::path FolderOf(const PullCommand& command, const Link& link) {
  if (!command.output.empty()) return WithoutTrailingSlash(command.output);
  if (link.name.empty()) throw UsageError("the link has no name; say where with --out DIR");
  return LocalStoreFolder() / link.name;
}

OrderedJson ToJson(const std::vector<PeerAddress>& peers) {
  OrderedJson list = OrderedJson::array();
  for (const PeerAddress& peer : peers) list.push_back(FormatPeer(peer));
  return list;
}

OrderedJson ToJson(const PullReport& report, const std::filesystem::path& folder) {
  return {{"name", report.name},
          {"folder", folder.string()},
          {"bytes", report.model_bytes},
          {"found_bytes", report.found_bytes},
          {"downloaded_bytes", report.downloaded},
          {"uploaded_bytes", report.uploaded},
          {"experts", report.experts},
          {"experts_there", report.experts_there},
          {"failed_pieces", report.failed_pieces},
          {"banned", ToJson(report.banned)},
          {"pardoned", ToJson(report.pardoned)},
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
  SwarmSource source = SourceOf(command.source);
  PullOptions options;
  options.info_hash = source.link.info_hash;
  options.torrent = std::move(source.torrent);
  options.folder = FolderOf(command, source.link);
  options.reach = ReachOf(command.swarm);
  AddReach(source.link, options.reach);
  const auto signature = CheckedSignature(source.link, options.folder, command.trust);
  options.experts = command.experts;
  options.serve = command.serve;
  options.timeout_seconds = command.timeout_seconds;
  options.threads = DetectProcessor().threads;
  PullDisplay display;
  const PullReport report = PullModel(options, display.Events());
  display.Finish();
  // So that it can be shared on with it.
  if (signature) WriteSignatureFile(options.folder, options.reach.Authority(), *signature);
  if (command.json) {
    PrintJson(ToJson(report, options.folder));
  } else {
    PrintText(report, options.folder);
  }
}

}  // namespace doppler
