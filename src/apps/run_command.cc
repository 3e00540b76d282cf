#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>

#include "apps/commands.h"
#include "apps/line_input.h"
#include "apps/report.h"
#include "apps/runnable_model.h"
#include "base/interrupt.h"
#include "engine/trace.h"
#include "io/file.h"

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
void RequireNewFile(const char* flag, const std::filesystem::path& file) {
  if (file.empty()) return;
  if (std::filesystem::exists(file)) {
    throw UsageError(
        fmt::format("{}: '{}' exists already; choose another name", flag, file.string()));
  }
  const std::filesystem::path folder = file.parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder)) {
    throw UsageError(fmt::format("{}: the folder '{}' does not exist", flag, folder.string()));
  }
}

// The writer is made once the model is known, and the engine needs to know its observer before.
class Tracing {
 public:
  explicit Tracing(std::filesystem::path file) : file_(std::move(file)) {}

  void AddTo(EngineOptions& options) {
    if (file_.empty()) return;
    options.on_experts = [this](const ExpertPass& pass) { writer_->Add(pass); };
  }
  void Begin(const Engine& engine) {
    if (!file_.empty()) writer_.emplace(file_, engine.trace_model());
  }
  void Finish() {
    if (writer_) writer_->Finish();
  }

 private:
  const std::filesystem::path file_;
  std::optional<TraceWriter> writer_;
};

}  // namespace

void RunRun(const RunCommand& command) {
  if (command.device_memory > 0) {
    throw UsageError(
        "--device-memory: this build has no accelerator backend; leave the flag out, or give 0");
  }
  RequireNewFile("--stats", command.stats_file);
  RequireNewFile("--trace", command.trace_file);
  ValidateSamplerOptions(command.generate.sampler);
  const std::string prompt = PromptOf(command);
  const RunnableModel model(command.model, command.from_swarm);
  Tracing tracing(command.trace_file);
  EngineOptions options = command.engine;
  options.warm_start = !command.cold;
  options.shard_source = model.source();
  tracing.AddTo(options);
  Engine engine(model.folder(), options);
  tracing.Begin(engine);
  Session session(engine);
  const std::vector<TokenId> ids = engine.tokenizer().Encode(prompt);
  if (ids.empty()) throw UsageError("the prompt is empty");
  if (command.echo) Print(prompt);
  const GenerateResult result = Generate(session, engine, ids, command.generate, Print);
  Print("\n");
  tracing.Finish();
  // Where it cannot be written the next run starts cold, as this one may have.
  if (!command.cold) engine.SaveUsage();
  fmt::print(stderr, "\n{}{}", SummaryText(engine, result), model.SummaryLine());
  if (!command.stats_file.empty()) {
    OrderedJson stats = StatsToJson(engine, result);
    if (const auto swarm = model.StatsJson()) stats["swarm"] = *swarm;
    WriteTextFile(command.stats_file, stats.dump(2) + "\n");
  }
  if (result.stop == StopReason::kInterrupted) throw InterruptedError();
}

}  // namespace doppler
