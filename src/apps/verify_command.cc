#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "base/error.h"
#include "io/machine.h"
#include "io/progress.h"
#include "store/local_store.h"
#include "store/verify.h"

namespace doppler {
namespace {

OrderedJson ToJson(const VerifyReport& report) {
  OrderedJson damaged = OrderedJson::array();
  for (const DamagedShard& shard : report.damaged) {
    damaged.push_back({{"file", shard.file}, {"problem", shard.problem}});
  }
  return {{"shards", report.shards}, {"bytes", report.bytes}, {"damaged", damaged}};
}

}  // namespace

void RunVerify(const VerifyCommand& command) {
  const std::filesystem::path folder = ResolveModel(command.model);
  const int threads = command.threads > 0 ? command.threads : DetectProcessor().threads;
  ProgressMeter progress("verifying", ArtifactBytes(folder));
  const VerifyReport report =
      VerifyArtifact(folder, threads, [&progress](Bytes done) { progress.Update(done); });
  progress.Finish();
  if (command.json) {
    PrintJson(ToJson(report));
  } else {
    for (const DamagedShard& shard : report.damaged) {
      fmt::print("{}: {}\n", shard.file, shard.problem);
    }
    if (report.damaged.empty()) {
      fmt::print("{} shards, {}: all as the manifest says\n", report.shards,
                 FormatSize(report.bytes));
    }
  }
  if (!report.damaged.empty()) {
    Throw("{} of {} shards are damaged; copy them again or convert again", report.damaged.size(),
          report.shards);
  }
}

}  // namespace doppler
