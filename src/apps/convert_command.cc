#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "apps/commands.h"
#include "convert/convert.h"
#include "io/machine.h"
#include "io/progress.h"

namespace doppler {

void RunConvert(const ConvertCommand& command) {
  const ConvertOptions options{.checkpoint = command.checkpoint,
                               .output = command.output,
                               .sharding = command.sharding,
                               .shard_size = command.shard_size,
                               .quantize = command.quantize,
                               .layout = command.layout,
                               .model_id = {},
                               .threads = DetectProcessor().threads};
  std::optional<ProgressMeter> progress;
  const ConvertReport report = Convert(options, [&progress](Bytes done, Bytes total) {
    if (!progress) progress.emplace("converting", total);
    progress->Update(done);
  });
  progress.reset();
  for (const std::string& note : report.notes) spdlog::info("{}", note);
  fmt::print("{}: {} tensors in {} shards, {}\n", command.output, report.tensors, report.shards,
             FormatSize(report.bytes));
}

}  // namespace doppler
