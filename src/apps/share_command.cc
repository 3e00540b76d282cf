#include <optional>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "apps/swarm_flags.h"
#include "base/error.h"
#include "io/machine.h"
#include "io/progress.h"
#include "io/replace_file.h"
#include "store/local_store.h"
#include "swarm/share.h"

namespace doppler {
namespace {

std::string SeedingLine(const StatusMessage& status, Bytes model_bytes) {
  const double ratio =
      model_bytes == 0 ? 0
                       : static_cast<double>(status.uploaded) / static_cast<double>(model_bytes);
  return fmt::format("seeding   {} peers   {}/s   {} sent   ratio {:.2f}", status.peers,
                     FormatSize(status.upload_rate), FormatSize(status.uploaded), ratio);
}

// Where others find the model: the link, and for programs all that goes with it.
void PrintLink(const SharedModel& model, const ShareCommand& command, std::uint16_t port) {
  const std::string link = FormatLink(model.link);
  if (!command.json) {
    Print(link + "\n");
    spdlog::info("seeding '{}' on port {}; Ctrl-C ends it", model.torrent.name, port);
    return;
  }
  const OrderedJson json = {{"link", link},
                            {"info_hash", ToHex(model.link.info_hash)},
                            {"name", model.torrent.name},
                            {"bytes", model.bytes},
                            {"port", port}};
  Print(json.dump() + "\n");
}

ShareOptions OptionsOf(const ShareCommand& command) {
  ShareOptions options;
  options.folder = ResolveModel(command.model);
  options.reach = ReachOf(command.swarm);
  options.threads = DetectProcessor().threads;
  options.signing_key = command.signing_key;
  for (const std::string& text : command.addresses) {
    for (const PeerAddress& address : ResolvePeer(text)) options.addresses.push_back(address);
  }
  return options;
}

}  // namespace

void RunShare(const ShareCommand& command) {
  const ShareOptions options = OptionsOf(command);
  std::optional<ProgressMeter> meter;
  std::optional<StatusLine> line;
  SharedModel model;
  ShareEvents events;
  events.preparing = [&meter](std::string_view stage, Bytes done, Bytes total) {
    if (!meter) meter.emplace(std::string(stage), total);
    meter->Update(done);
  };
  events.notice = [&line](const std::string& text) {
    if (line) line->Clear();
    spdlog::warn("{}", text);
  };
  events.status = [&line, &model](const StatusMessage& status) {
    if (line) line->Show(SeedingLine(status, model.bytes));
  };
  events.ready = [&](std::uint16_t port) {
    if (line) line->Clear();
    PrintLink(model, command, port);
    if (command.swarm.private_only && command.swarm.team.empty()) {
      spdlog::info(
          "transfers are not secret; 'doppler team' and --team make a swarm where they are");
    }
  };
  model = PrepareShare(options, events);
  meter.reset();
  if (!command.torrent_file.empty()) {
    const std::string text = WriteTorrent(model.torrent);
    ReplaceFile(command.torrent_file, std::as_bytes(std::span(text)));
  }
  line.emplace();
  const ShareReport report = ServeModel(model, options, events);
  line.reset();
  if (command.json) {
    Print(OrderedJson({{"uploaded_bytes", report.uploaded}, {"restarts", report.restarts}}).dump() +
          "\n");
  } else {
    spdlog::info("sent {}", FormatSize(report.uploaded));
  }
}

}  // namespace doppler
