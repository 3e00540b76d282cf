#include <limits>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/runnable_model.h"
#include "base/error.h"
#include "format/safetensors_stream.h"
#include "io/file.h"

namespace doppler {
namespace {

std::vector<TokenId> ReadIds(const std::string& file) {
  try {
    const auto ids = nlohmann::json::parse(ReadTextFile(file)).get<std::vector<std::int64_t>>();
    std::vector<TokenId> tokens;
    for (const std::int64_t id : ids) {
      if (id < 0 || id > std::numeric_limits<TokenId>::max()) {
        Throw("'{}': {} is not a token id", file, id);
      }
      tokens.push_back(static_cast<TokenId>(id));
    }
    if (tokens.empty()) Throw("'{}' holds no token ids", file);
    return tokens;
  } catch (const nlohmann::json::exception& error) {
    Throw("'{}' is not a JSON list of token ids: {}", file, error.what());
  }
}

}  // namespace

void RunLogits(const LogitsCommand& command) {
  const std::vector<TokenId> ids = ReadIds(command.ids_file);
  EngineOptions options = command.engine;
  options.with_tokenizer = false;
  options.logit_rows = 16;
  if (options.context == 0) options.context = static_cast<int>(ids.size());
  const RunnableModel model(command.model, command.from_swarm);
  options.shard_source = model.source();
  Engine engine(model.folder(), options);
  Session session(engine);
  const auto vocab = static_cast<std::size_t>(engine.config().vocab_size);
  F32SafetensorsWriter writer(command.output, "logits",
                              {static_cast<std::int64_t>(ids.size()), engine.config().vocab_size});
  session.AppendAll(ids, [&](std::size_t, std::span<const float> logits) {
    DOPPLER_CHECK(logits.size() == vocab);
    writer.Append(logits);
  });
  writer.Finish();
}

}  // namespace doppler
