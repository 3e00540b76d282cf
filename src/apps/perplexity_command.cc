#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "apps/runnable_model.h"
#include "base/error.h"
#include "engine/perplexity.h"
#include "io/file.h"
#include "io/progress.h"

namespace doppler {
namespace {

std::vector<TokenId> ReadIds(const std::string& file, int row) {
  const std::string bytes = ReadTextFile(file, 4 * kGiB);
  const std::size_t row_bytes = static_cast<std::size_t>(row) * 2;
  if (bytes.empty() || bytes.size() % row_bytes != 0) {
    Throw("'{}' has {} bytes, which is not a whole number of rows of {} 16-bit ids", file,
          bytes.size(), row);
  }
  std::vector<TokenId> ids(bytes.size() / 2);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto low = static_cast<unsigned char>(bytes[2 * i]);
    const auto high = static_cast<unsigned char>(bytes[2 * i + 1]);
    ids[i] = low | high << 8;
  }
  return ids;
}

}  // namespace

void RunPerplexity(const PerplexityCommand& command) {
  const std::vector<TokenId> ids = ReadIds(command.ids_file, command.row);
  EngineOptions options = command.engine;
  options.with_tokenizer = false;
  options.logit_rows = 16;
  if (options.context == 0) options.context = command.row;
  if (options.context < command.row) {
    throw UsageError("--context is smaller than --row; a row must fit in the context");
  }
  const RunnableModel model(command.model, command.from_swarm);
  options.shard_source = model.source();
  Engine engine(model.folder(), options);
  Session session(engine);
  ProgressMeter progress("perplexity", ids.size() / static_cast<std::size_t>(command.row),
                         {.unit = ProgressUnit::kItems});
  const PerplexityResult result =
      Perplexity(session, ids, command.row,
                 [&progress](const PerplexityResult& so_far) { progress.Update(so_far.rows); });
  progress.Finish();
  if (command.json) {
    PrintJson({{"perplexity", result.perplexity},
               {"mean_negative_log_likelihood", result.mean_nll},
               {"tokens", result.tokens},
               {"rows", result.rows}});
  } else {
    fmt::print("perplexity {:.4f} ({} tokens predicted in {} rows)\n", result.perplexity,
               result.tokens, result.rows);
  }
}

}  // namespace doppler
