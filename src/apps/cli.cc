#include "apps/cli.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "apps/commands.h"
#include "apps/size_flags.h"
#include "apps/swarm_cli.h"
#include "backend/quantize.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "model/stored_layout.h"

namespace doppler {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

constexpr const char* kModelHelp = "Artifact folder, or the name of a model in the local store";

// A flag that takes sizes with commas between them.
void AddSizes(CLI::App& app, const char* flag, std::vector<Bytes>& sizes, const char* help) {
  app.add_option_function<std::vector<std::string>>(
         flag,
         [flag, &sizes](const std::vector<std::string>& texts) {
           for (const std::string& text : texts) sizes.push_back(SizeOfFlag(flag, text));
         },
         help)
      ->delimiter(',')
      ->type_name("SIZE,...");
}

// A flag that takes one of a few words; `which` says in messages what they are, if that is not
// clear.
template <typename Value>
void AddChoice(CLI::App& app, const char* flag, const std::map<std::string, Value>& choices,
               const std::function<void(Value)>& set, const char* help, const char* which = "") {
  std::string names;
  for (const auto& [name, value] : choices) names += (names.empty() ? "" : "|") + name;
  app.add_option_function<std::string>(
         flag,
         [flag, choices, names, set, which](const std::string& text) {
           const auto found = choices.find(text);
           if (found == choices.end()) {
             throw CLI::ValidationError(flag,
                                        fmt::format("'{}' is not one of {}{}", text, names, which));
           }
           set(found->second);
         },
         help)
      ->type_name(names);
}

void AddQuant(CLI::App& app, std::optional<DType>& quantize, const char* help) {
  std::map<std::string, DType> choices;
  for (const DTypeTraits& traits : kDTypes) {
    if (!IsFloat(traits.dtype) && CanQuantize(traits.dtype)) {
      choices[std::string(traits.name)] = traits.dtype;
    }
  }
  AddChoice<DType>(
      app, "--quant", choices, [&quantize](DType dtype) { quantize = dtype; }, help);
}

std::map<std::string, CpuPath> CpuPaths() {
  std::map<std::string, CpuPath> paths;
  for (const CpuPath path : RunnableCpuPaths()) paths[std::string(CpuPathName(path))] = path;
  return paths;
}

// The flags of every command that runs a model.
void AddEngine(CLI::App& app, EngineOptions& engine) {
  AddSize(
      app, "--host-memory", [&engine](Bytes bytes) { engine.host_memory = bytes; },
      "Budget for the whole process; by default what the machine and the container leave, less an "
      "eighth");
  app.add_option(
         "--context", engine.context,
         "Tokens of context to make room for; by default as many as fit in a quarter of what "
         "the dense weights leave, at most 8192")
      ->check(CLI::Range(1, 1 << 28));
  app.add_option("--ubatch", engine.ubatch, "Tokens computed at once in prefill")
      ->check(CLI::Range(1, 65536));
  app.add_option("--threads", engine.threads, "Compute threads; by default one per core")
      ->check(CLI::Range(1, 1024));
  engine.speculate.reset();
  app.add_option("--speculate", engine.speculate,
                 "Experts of the next layer to guess in decode and to read while the disk is idle; "
                 "0: none; by default half of those that a token uses")
      ->check(CLI::Range(0, 65536));
  AddChoice<DType>(
      app, "--kv-type", {{"f16", DType::kF16}, {"bf16", DType::kBf16}, {"f32", DType::kF32}},
      [&engine](DType dtype) { engine.kv_dtype = dtype; }, "Number format of the KV");
  AddChoice<BackendKind>(
      app, "--backend", {{"cpu", BackendKind::kCpu}, {"reference", BackendKind::kReference}},
      [&engine](BackendKind kind) { engine.backend = kind; },
      "Kernels: vectorised, or the slow ones that define what is right");
  AddChoice<CpuPath>(
      app, "--cpu-path", CpuPaths(), [&engine](CpuPath path) { engine.cpu_path = path; },
      "Instruction set of the cpu backend; by default the best of this processor",
      ", which this processor can run");
}

// For the commands that run for long.
void AddGiveBack(CLI::App& app, EngineOptions& engine) {
  engine.give_back = true;
  app.add_flag_callback(
      "--no-give-back", [&engine] { engine.give_back = false; },
      "Keep all expert slots also while the system is short of memory");
}

void AddModel(CLI::App& app, std::string& model) {
  app.add_option("MODEL", model, kModelHelp)->required();
}

void AddConvertCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("convert", "Make an artifact from a checkpoint");
  const auto command = std::make_shared<ConvertCommand>();
  app->add_option("CHECKPOINT", command->checkpoint,
                  "Folder with config.json and safetensors files, or a GGUF file (the first of a "
                  "split set)")
      ->required();
  app->add_option("OUT", command->output, "Folder to create; it must not exist")->required();
  AddQuant(*app, command->quantize,
           "Quantise weights that are floats or q8_0: experts and projections to this, the token "
           "table and the output projection to q6_k or q8_0; without it every weight keeps its "
           "format");
  AddChoice<ShardingStrategy>(
      *app, "--sharding",
      {{"expert", ShardingStrategy::kExpert},
       {"layer", ShardingStrategy::kLayer},
       {"fixed", ShardingStrategy::kFixed}},
      [command](ShardingStrategy strategy) { command->sharding = strategy; },
      "One shard per expert (default), per layer, or of equal sizes");
  AddSize(
      *app, "--shard-size", [command](Bytes bytes) { command->shard_size = bytes; },
      "Size of fixed shards (default 64M), largest size of dense ones (default 128M)");
  AddChoice<WeightLayout>(
      *app, "--layout", {{"row", WeightLayout::kRow}, {"rows16", WeightLayout::kRows16}},
      [command](WeightLayout layout) { command->layout = layout; },
      fmt::format(
          "Order of the weights in a file: rows16 puts sixteen rows side by side, so that a "
          "vector register reads the same part of several rows at once; the values, "
          "the size and the results are those of row, the order that other programs expect "
          "(default {})",
          LayoutName(kDefaultLayout))
          .c_str());
  app->callback([command] { RunConvert(*command); });
}

void AddSampling(CLI::App& app, SamplerOptions& sampler) {
  app.add_option("--temperature", sampler.temperature,
                 "0 always takes the most probable token; 1 samples as the model says")
      ->capture_default_str();
  app.add_option("--top-k", sampler.top_k, "Sample among the k most probable tokens; 0: all")
      ->capture_default_str();
  app.add_option("--top-p", sampler.top_p,
                 "Sample among the fewest tokens that have this probability together")
      ->capture_default_str();
  app.add_option("--min-p", sampler.min_p,
                 "Leave out tokens less probable than this part of the most probable one")
      ->capture_default_str();
  app.add_option("--repetition-penalty", sampler.repetition_penalty,
                 "Makes recent tokens less probable; 1: off")
      ->capture_default_str();
  app.add_option("--repetition-window", sampler.repetition_window,
                 "How many of the last tokens the penalty looks at")
      ->capture_default_str();
  app.add_option("--seed", sampler.seed, "Start of the random numbers")->capture_default_str();
}

// What decides about a generated text.
void AddGeneration(CLI::App& app, GenerateOptions& generate, const char* limit_help) {
  app.add_option("-n", generate.max_tokens, limit_help)
      ->check(CLI::Range(-1, 1 << 28))
      ->capture_default_str();
  app.add_option("--stop", generate.stop, "Text that ends the answer; may be repeated")
      ->allow_extra_args(false);
  AddSampling(app, generate.sampler);
}

void AddChatCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("chat", "Hold a conversation");
  const auto command = std::make_shared<ChatCommand>();
  AddModel(*app, command->model);
  app->add_option("--system", command->chat.system, "System message: how the model shall behave");
  app->add_option("--template", command->template_file,
                  "File with the chat template; by default the model's own");
  app->add_flag("--thinking,!--no-thinking", command->chat.thinking,
                "Let the model think first, or not, if its template has that choice");
  app->add_flag("--hide-thinking", command->hide_thinking,
                "Do not show what the model thinks before it answers");
  app->add_flag("--json", command->json, "Print each answer as a JSON object on one line");
  AddGeneration(*app, command->chat.generate,
                "Most tokens of an answer; -1: until the model ends it or the context is full");
  AddEngine(*app, command->engine);
  AddGiveBack(*app, command->engine);
  AddRunFromSwarm(*app, command->from_swarm);
  app->callback([command] { RunChat(*command); });
}

void AddRunCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("run", "Continue a text");
  const auto command = std::make_shared<RunCommand>();
  AddModel(*app, command->model);
  CLI::Option* prompt = app->add_option("-p,--prompt", command->prompt,
                                        "The text to continue; without it and -f it is read from "
                                        "standard input");
  app->add_option("-f,--prompt-file", command->prompt_file, "File that holds the prompt")
      ->excludes(prompt);
  AddGeneration(*app, command->generate,
                "Tokens to generate; -1: until the text ends or the context is full");
  app->add_flag("--echo", command->echo, "Print the prompt before its continuation");
  app->add_option("--stats", command->stats_file, "Write the run's counters to this file as JSON");
  app->add_option("--trace", command->trace_file,
                  "Write which experts were used when: for 'doppler replay' and trace viewers");
  app->add_flag("--cold", command->cold,
                "Do not read what earlier runs used most, nor remember what this one uses");
  AddSize(
      *app, "--device-memory", [command](Bytes bytes) { command->device_memory = bytes; },
      "Budget of GPU memory; this build has no accelerator backend, so only 0 is accepted");
  AddEngine(*app, command->engine);
  AddGiveBack(*app, command->engine);
  AddRunFromSwarm(*app, command->from_swarm);
  app->callback([command] { RunRun(*command); });
}

void AddPlanCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand(
      "plan", "What goes into which tier on this machine, and what speed to expect");
  const auto command = std::make_shared<PlanCommand>();
  CLI::Option* model = app->add_option("MODEL", command->model, kModelHelp);
  app->add_option("--config", command->config_file,
                  "Plan for a model that is not here, from its config.json")
      ->excludes(model);
  AddQuant(*app, command->quantize,
           "With --config: weights as 'convert --quant' would make them; otherwise bf16");
  app->add_flag("--probe", command->probe, "Measure the disk's and the memory's speed (a second)");
  app->add_flag("--json", command->json, "Print JSON");
  AddEngine(*app, command->engine);
  app->callback([command] { RunPlan(*command); });
}

void AddInspectCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("inspect", "What an artifact holds");
  const auto command = std::make_shared<InspectCommand>();
  AddModel(*app, command->model);
  app->add_flag("--json", command->json, "Print JSON");
  app->add_flag("--tensors", command->tensors, "List every tensor");
  app->callback([command] { RunInspect(*command); });
}

void AddVerifyCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("verify", "Check the hash of every shard");
  const auto command = std::make_shared<VerifyCommand>();
  AddModel(*app, command->model);
  app->add_option("--threads", command->threads, "Threads; by default one per core")
      ->check(CLI::Range(1, 1024));
  app->add_flag("--json", command->json, "Print JSON");
  app->callback([command] { RunVerify(*command); });
}

void AddTokenizeCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("tokenize", "Which tokens a model makes of a text");
  const auto command = std::make_shared<TokenizeCommand>();
  app->add_option("MODEL", command->model,
                  "Artifact folder, the name of a model in the local store, a checkpoint's folder "
                  "or a GGUF file")
      ->required();
  CLI::Option_group* input = app->add_option_group("input", "What to encode");
  input->add_option("-p,--prompt", command->text, "The text");
  input->add_option("-f,--prompt-file", command->text_file, "File that holds the text");
  input->add_option("--lines", command->lines_file,
                    "File with a JSON string in each line; a line of JSON is printed for each");
  input->require_option(1);
  app->add_flag_callback(
      "--no-bos", [command] { command->add_bos = false; },
      "Leave out the token that begins a text");
  app->add_flag("--json", command->json, "Print JSON: the ids, and the text that they decode to");
  app->callback([command] { RunTokenize(*command); });
}

void AddLogitsCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("logits", "Write the logits after each of some tokens");
  const auto command = std::make_shared<LogitsCommand>();
  command->engine.kv_dtype = DType::kF32;
  AddModel(*app, command->model);
  app->add_option("--ids", command->ids_file, "JSON file with a list of token ids")->required();
  app->add_option("-o,--output", command->output,
                  "safetensors file to create: tensor `logits`, f32 [tokens, vocab]")
      ->required();
  AddEngine(*app, command->engine);
  AddRunFromSwarm(*app, command->from_swarm);
  app->callback([command] { RunLogits(*command); });
}

void AddPerplexityCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("perplexity", "How well the model predicts some texts");
  const auto command = std::make_shared<PerplexityCommand>();
  command->engine.kv_dtype = DType::kF32;
  AddModel(*app, command->model);
  app->add_option("--ids", command->ids_file, "File of little-endian uint16 token ids")->required();
  app->add_option("--row", command->row, "Tokens of one text; each is predicted from its own start")
      ->required()
      ->check(CLI::Range(2, 1 << 28));
  app->add_flag("--json", command->json, "Print JSON");
  AddEngine(*app, command->engine);
  AddRunFromSwarm(*app, command->from_swarm);
  app->callback([command] { RunPerplexity(*command); });
}

void AddBenchCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("bench", "Measure prefill and decode");
  const auto command = std::make_shared<BenchCommand>();
  AddModel(*app, command->model);
  app->add_option("--prefill", command->prefill, "Tokens of the prompt")
      ->check(CLI::Range(1, 1 << 28))
      ->capture_default_str();
  app->add_option("--decode", command->decode, "Tokens to decode after it")
      ->check(CLI::Range(0, 1 << 28))
      ->capture_default_str();
  app->add_option("--repetitions", command->repetitions, "Runs; the median is printed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  AddSizes(*app, "--budgets", command->budgets,
           "Measure under each of these budgets, as 4G,6G,8G, and print a table");
  app->add_option("--contexts", command->contexts,
                  "Measure with prompts of each of these lengths, as 512,4096")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 28));
  app->add_option("--csv", command->csv_file, "Write the table to this file, which must not exist");
  app->add_option("--svg", command->svg_file,
                  "Draw speed over budget into this file, which must not exist");
  app->add_flag("--json", command->json, "Print JSON");
  AddEngine(*app, command->engine);
  AddRunFromSwarm(*app, command->from_swarm);
  app->callback([command] { RunBench(*command); });
}

void AddReplayCommand(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand(
      "replay", "Page a recorded run's experts through caches of other sizes and policies");
  const auto command = std::make_shared<ReplayCommand>();
  app->add_option("TRACE", command->trace, "File that 'run --trace' wrote")->required();
  app->add_option_function<std::vector<std::string>>(
         "--policy",
         [command](const std::vector<std::string>& names) {
           for (const std::string& name : names) {
             const std::optional<ReplayPolicy> policy = ReplayPolicyFromName(name);
             if (!policy) {
               throw CLI::ValidationError("--policy", fmt::format("there is no policy '{}'", name));
             }
             command->policies.push_back(*policy);
           }
         },
         "Who is evicted; may be repeated; by default all, beside what is possible at best")
      ->type_name("default|recency|frequency|layers|optimal")
      ->allow_extra_args(false);
  app->add_option("--slots", command->slots, "Slots of the cache; may be repeated")
      ->check(CLI::Range(1, 1 << 28))
      ->allow_extra_args(false);
  AddSize(
      *app, "--budget", [command](Bytes bytes) { command->budgets.push_back(bytes); },
      "Bytes of the cache instead, in records of average size");
  app->add_option("--half-life", command->half_life_tokens,
                  "Tokens after which a use counts half, for the policy frequency")
      ->check(CLI::Range(0.1, 1e9))
      ->capture_default_str();
  app->add_flag("--json", command->json, "Print JSON");
  app->callback([command] {
    if (command->policies.empty()) {
      command->policies = {ReplayPolicy::kDefault, ReplayPolicy::kRecency, ReplayPolicy::kFrequency,
                           ReplayPolicy::kLayers, ReplayPolicy::kOptimal};
    }
    RunReplay(*command);
  });
}

// Messages go to standard error, so that standard output holds results alone.
void SetUpLogging() {
  spdlog::set_default_logger(spdlog::stderr_color_st("doppler"));
  spdlog::set_pattern("doppler: %v");
}

int Report(std::string_view message, int status) {
  fmt::print(stderr, "doppler: {}\n", message);
  return status;
}

// Requests for help, and command lines that cannot be understood.
int ReportParseError(CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const std::vector<CLI::App*> commands = app.get_subcommands();
  const std::vector<std::string> unknown = app.remaining();
  if (!commands.empty()) {
    return Report(
        fmt::format("{}; see 'doppler {} --help'", error.what(), commands.front()->get_name()),
        kWrongUsage);
  }
  const std::string problem = unknown.empty()
                                  ? "there is no command"
                                  : fmt::format("there is no command '{}'", unknown.front());
  return Report(problem + "; see 'doppler --help'", kWrongUsage);
}

// What was printed may still wait in memory, to be lost without a word when the program ends.
void FlushOutput() {
  if (std::fflush(stdout) == 0) return;
  Throw("cannot write to standard output: {}", std::strerror(errno));
}

}  // namespace

int RunCommandLine(int argc, char** argv) {
  SetUpLogging();
  InstallInterruptHandler();
  CLI::App app("Runs language models that are larger than the memory they run in.", "doppler");
  app.set_version_flag("--version", "doppler " DOPPLER_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Sizes take K, M, G (binary). Exit status: 0 done, 1 the work failed, 2 the command line was "
      "wrong.\n'doppler COMMAND --help' explains a command.");
  for (const auto add : {AddConvertCommand, AddRunCommand, AddChatCommand, AddPlanCommand,
                         AddInspectCommand, AddVerifyCommand, AddTokenizeCommand, AddLogitsCommand,
                         AddPerplexityCommand, AddBenchCommand, AddReplayCommand, AddShareCommand,
                         AddPullCommand, AddPeersCommand, AddTeamCommand}) {
    add(app);
  }
  try {
    app.parse(argc, argv);
    FlushOutput();
    return kDone;
  } catch (const CLI::ParseError& error) {
    return ReportParseError(app, error);
  } catch (const UsageError& error) {
    return Report(error.what(), kWrongUsage);
  } catch (const std::bad_alloc&) {
    return Report("the system refused more memory; lower --host-memory or --context", kFailed);
  } catch (const std::filesystem::filesystem_error& error) {
    return Report(fmt::format("cannot use '{}': {}; check its permissions and those of its folder",
                              error.path1().string(), error.code().message()),
                  kFailed);
  } catch (const std::exception& error) {
    return Report(error.what(), kFailed);
  }
}

}  // namespace doppler
