#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <unistd.h>

#include "apps/commands.h"
#include "apps/line_input.h"
#include "apps/report.h"
#include "base/interrupt.h"
#include "io/file.h"
#include "store/local_store.h"

namespace doppler {
namespace {

constexpr Bytes kLargestPrompt = 256 * kMiB;

std::string ReadStandardInput() {
  if (::isatty(STDIN_FILENO) != 0) {
    throw UsageError("there is no prompt; give one with -p, with -f, or on standard input");
  }
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    if (!WaitForInput(STDIN_FILENO)) throw InterruptedError();
    const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got < 0) Throw("cannot read standard input: {}", std::strerror(errno));
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kLargestPrompt) {
      Throw("standard input holds more than {}, too long for a prompt", FormatSize(kLargestPrompt));
    }
  }
}

std::string PromptOf(const RunCommand& command) {
  if (command.prompt) return *command.prompt;
  if (!command.prompt_file.empty()) return ReadTextFile(command.prompt_file, kLargestPrompt);
  return ReadStandardInput();
}

// Checked before minutes are spent on what could not be written afterwards.
void RequireStatsFile(const std::filesystem::path& file) {
  if (file.empty()) return;
  if (std::filesystem::exists(file)) {
    throw UsageError(
        fmt::format("--stats: '{}' exists already; choose another name", file.string()));
  }
  const std::filesystem::path folder = file.parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder)) {
    throw UsageError(fmt::format("--stats: the folder '{}' does not exist", folder.string()));
  }
}

}  // namespace

void RunRun(const RunCommand& command) {
  if (command.device_memory > 0) {
    throw UsageError(
        "--device-memory: this build has no accelerator backend; leave the flag out, or give 0");
  }
  RequireStatsFile(command.stats_file);
  ValidateSamplerOptions(command.generate.sampler);
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
