#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "base/interrupt.h"
#include "io/file.h"
#include "store/local_store.h"

namespace doppler {
namespace {

std::string ReadStandardInput() {
  if (::isatty(STDIN_FILENO) != 0) {
    throw UsageError("there is no prompt; give one with -p, with -f, or on standard input");
  }
  std::string text;
  char buffer[65536];
  while (const std::size_t got = std::fread(buffer, 1, sizeof(buffer), stdin)) {
    text.append(buffer, got);
  }
  return text;
}

std::string PromptOf(const RunCommand& command) {
  if (command.prompt) return *command.prompt;
  if (!command.prompt_file.empty()) return ReadTextFile(command.prompt_file);
  return ReadStandardInput();
}

void Print(std::string_view text) {
  const bool failed =
      std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0;
  if (failed) Throw("cannot write to standard output: {}", std::strerror(errno));
}

// Checked before minutes are spent on what could not be written afterwards.
void RequireStatsFile(const std::string& file) {
  if (file.empty() || !std::filesystem::exists(file)) return;
  throw UsageError(fmt::format("--stats: '{}' exists already; choose another name", file));
}

}  // namespace

void RunRun(const RunCommand& command) {
  if (command.device_memory > 0) {
    throw UsageError("--device-memory: this build has no accelerator backend");
  }
  RequireStatsFile(command.stats_file);
  const std::string prompt = PromptOf(command);
  Engine engine(ResolveModel(command.model), command.engine);
  Session session(engine);
  const std::vector<TokenId> ids = engine.tokenizer().Encode(prompt);
  if (ids.empty()) throw UsageError("the prompt is empty");
  if (command.echo) Print(prompt);
  const GenerateResult result = Generate(session, engine, ids, command.generate, Print);
  Print("\n");
  fmt::print(stderr, "\n{}", SummaryText(engine, result));
  if (!command.stats_file.empty()) {
    WriteTextFile(command.stats_file, StatsToJson(engine, result).dump(2) + "\n");
  }
  if (result.stop == StopReason::kInterrupted) throw InterruptedError();
}

}  // namespace doppler
