#include "swarm/share.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <unistd.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "format/artifact_files.h"
#include "swarm/artifact_torrent.h"
#include "swarm/check_files.h"
#include "swarm/notices.h"
#include "swarm/swarm_process.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// A process that served for a while before it died says nothing about the next.
constexpr int kMostServeRestarts = 20;

bool IsComplete(const fs::path& folder, const Torrent& torrent) {
  return std::all_of(torrent.files.begin(), torrent.files.end(), [&](const TorrentFile& file) {
    std::error_code error;
    return fs::file_size(folder / file.path, error) == file.size && !error;
  });
}

// Nothing else would open the shards before a peer asks for them.
void RequireReadable(const fs::path& folder, const Torrent& torrent) {
  for (const TorrentFile& file : torrent.files) {
    const fs::path path = folder / file.path;
    if (::access(path.c_str(), R_OK) == 0 || errno == ENOENT) continue;
    Throw("cannot read '{}': {}; check its permissions", path.string(), std::strerror(errno));
  }
}

// A cache that cannot be written, as in a folder of another user, costs only time.
void TryWriteCache(const ShareOptions& options, const Torrent& torrent, const ShareEvents& events) {
  const std::optional<Torrent> cached = ReadTorrentCache(options.folder, InfoHash(torrent));
  if (cached && WriteTorrent(*cached) == WriteTorrent(torrent)) return;
  try {
    WriteTorrentCache(options.folder, torrent);
  } catch (const Error& error) {
    events.notice(fmt::format("{}; shards are hashed again next time", error.what()));
  }
}

void TryWriteChecked(const ShareOptions& options, const std::vector<CheckedFile>& files,
                     const ShareEvents& events) {
  if (ReadChecked(options.folder) == files) return;
  try {
    WriteChecked(options.folder, files);
  } catch (const Error& error) {
    events.notice(fmt::format("{}; files are hashed again next time", error.what()));
  }
}

std::string DamagedNotice(const Torrent& torrent, const DamagedMessage& damaged) {
  if (damaged.file >= torrent.files.size()) {
    throw SwarmEndedError("the swarm process named no file");
  }
  return fmt::format(
      "'{}' is damaged or gone and not sent any more; copy it again or convert again, and share "
      "the model anew",
      torrent.files[damaged.file].path);
}

std::optional<ModelSignature> SignatureFor(const ShareOptions& options, const Digest& info_hash) {
  const std::optional<Digest> team = options.reach.TeamHash();
  if (options.signing_key.empty()) {
    const std::optional<ModelSignature> kept = ReadSignatureFile(options.folder, team);
    RequireSignature(kept, info_hash, {});
    return kept;
  }
  const ModelSignature signature = SignModel(info_hash, options.signing_key);
  WriteSignatureFile(options.folder, options.reach.Authority(), signature);
  return signature;
}

// Serves with one swarm process. Returns when interrupted.
void Serve(const StartMessage& start, const Torrent& torrent, const ShareEvents& events,
           StatusMessage& status, std::uint16_t& port) {
  SwarmProcess swarm(start);
  while (!Interrupted()) {
    const std::optional<Message> message = swarm.Receive(kLookInterval);
    if (!message) {
      events.status(status);
    } else if (const auto* ready = std::get_if<ReadyMessage>(&*message)) {
      if (!ready->confined) {
        events.notice(std::string(kUnconfinedNotice));
      }
      if (port == 0) events.ready(ready->port);
      port = ready->port;
    } else if (const auto* news = std::get_if<StatusMessage>(&*message)) {
      status = *news;
      events.status(status);
    } else if (const auto* damaged = std::get_if<DamagedMessage>(&*message)) {
      events.notice(DamagedNotice(torrent, *damaged));
    }
  }
  swarm.Stop([&status](const Message& message) {
    if (const auto* news = std::get_if<StatusMessage>(&message)) status = *news;
  });
}

}  // namespace

SharedModel PrepareShare(const ShareOptions& options, const ShareEvents& events) {
  SharedModel model;
  model.torrent = DescribeArtifact(options.folder, options.reach.Authority());
  RequireMember(options.reach.TeamOrNull(), model.torrent.authority, model.torrent.name);
  model.link = {.info_hash = InfoHash(model.torrent),
                .name = model.torrent.name,
                .team = options.reach.TeamHash(),
                .signature = SignatureFor(options, InfoHash(model.torrent)),
                .peers = options.addresses,
                .trackers = options.reach.trackers,
                .web_seeds = options.reach.web_seeds};
  RequireReadable(options.folder, model.torrent);
  const Bytes total = BytesOnDisk(options.folder, model.torrent);
  if (IsComplete(options.folder, model.torrent)) {
    Bytes done = 0;
    FillLayers(options.folder, model.torrent,
               [&](Bytes bytes) { events.preparing("hashing", done += bytes, total); });
    model.have = AllBits(model.torrent);
    model.bytes = total;
  } else {
    TakeCachedLayers(options.folder, model.torrent);
    const std::vector<FileCheck> checks = CheckChangedFiles(
        options.folder, model.torrent, ReadChecked(options.folder), options.threads,
        [&](Bytes done, Bytes all) { events.preparing("checking", done, all); });
    TryWriteChecked(options, CheckedOf(model.torrent, checks), events);
    model.have = HaveBits(checks);
    for (std::size_t i = 0; i < checks.size(); ++i) {
      model.bytes += BytesThere(model.torrent.files[i], checks[i]);
    }
  }
  TryWriteCache(options, model.torrent, events);
  model.torrent.signature = model.link.signature;
  model.torrent.trackers = options.reach.trackers;
  model.torrent.web_seeds = options.reach.web_seeds;
  return model;
}

ShareReport ServeModel(const SharedModel& model, const ShareOptions& options,
                       const ShareEvents& events) {
  StartMessage start = StartFor(options.reach);
  start.task = StartMessage::Task::kSeed;
  start.folder = fs::absolute(options.folder).lexically_normal();
  start.manifest_file = kManifestFile;
  start.torrent = WriteTorrent(model.torrent);
  start.info_hash = model.link.info_hash;
  start.have = model.have;
  // What a seed would do with them is to fetch.
  start.web_seeds.clear();
  ShareReport report;
  std::uint16_t port = 0;
  while (!Interrupted()) {
    StatusMessage status;
    try {
      Serve(start, model.torrent, events, status, port);
    } catch (const SwarmEndedError& error) {
      if (++report.restarts > kMostServeRestarts) throw;
      events.notice(fmt::format("{}; starting another", error.what()));
    }
    report.uploaded += status.uploaded;
    if (port != 0) start.port = port;  // that others know
  }
  return report;
}

}  // namespace doppler
