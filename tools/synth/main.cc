// doppler_synth: writes models of real shapes and random weights, to measure with.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "format/manifest.h"
#include "io/file.h"
#include "io/machine.h"
#include "io/progress.h"
#include "model/stored_layout.h"
#include "synth/gguf_file.h"

namespace {

struct Arguments {
  std::string config;
  std::string quant = "q4_k_m";
  std::string layout{doppler::LayoutName(doppler::kDefaultLayout)};
  std::string pool = "16M";
  doppler::SynthOptions options;
  std::filesystem::path gguf;
  int layers = 0;
};

void AddOptions(CLI::App& app, Arguments& arguments) {
  app.add_option("CONFIG", arguments.config, "A model's config.json, as on the hub")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("OUT", arguments.options.output,
                 "The artifact's folder, or a GGUF file if it ends in .gguf; must not exist")
      ->required();
  app.add_option("--gguf", arguments.gguf,
                 "Write the same weights as a GGUF file too; it must not exist");
  app.add_option("--quant", arguments.quant,
                 "Format of the weights: bf16, q4_k_m (ggml's mix) or a type of convert --quant")
      ->capture_default_str();
  app.add_option("--layout", arguments.layout,
                 "Order of the rows in the artifact: row, or rows16 for groups of sixteen")
      ->check(CLI::IsMember({"row", "rows16"}))
      ->capture_default_str();
  app.add_option("--layers", arguments.layers, "Only the first N layers")
      ->check(CLI::PositiveNumber);
  app.add_option(
         "--routing-skew", arguments.options.style.routing_skew,
         "How unequal the experts' shares are: the deviation of the logarithm of a router's "
         "rows; 0 makes all equal")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--residual-gain", arguments.options.style.residual_gain,
                 "Factor to what layers add to the hidden state; the smaller, the less the routing "
                 "of a token is that of the token before it")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", arguments.options.style.seed, "Other numbers give other weights")
      ->capture_default_str();
  app.add_option("--pool", arguments.pool,
                 "Random rows of each format and length, a size; tensors are copies of these")
      ->capture_default_str();
  app.add_option("--distinct-experts", arguments.options.distinct_experts,
                 "Write only N expert files of each kind and link the others to them; 0 links none")
      ->capture_default_str();
  app.add_option("--tokenizer", arguments.options.tokenizer,
                 "A folder whose tokenizer files to copy")
      ->check(CLI::ExistingDirectory);
}

void KeepLayers(doppler::ModelConfig& config, int layers) {
  if (layers == 0) return;
  if (layers > config.num_layers) {
    throw doppler::UsageError(fmt::format("the model has {} layers", config.num_layers));
  }
  config.num_layers = layers;
  if (!config.layer_windows.empty()) config.layer_windows.resize(static_cast<std::size_t>(layers));
  std::erase_if(config.dense_layers, [layers](int layer) { return layer >= layers; });
}

using Write = std::function<void(const std::function<void(doppler::Bytes, doppler::Bytes)>&)>;

void WriteWithProgress(const std::string& path, const std::vector<doppler::SynthTensor>& tensors,
                       const Write& write) {
  using namespace doppler;
  Bytes size = 0;
  for (const SynthTensor& tensor : tensors) size += tensor.size;
  ProgressMeter meter("writing", size);
  write([&meter](Bytes done, Bytes) { meter.Update(done); });
  meter.Finish();
  fmt::print("{}: {} in {} tensors\n", path, FormatSize(size), tensors.size());
}

// An OUT that ends in .gguf is what --gguf names, and no artifact is written.
bool TakeGgufOutput(Arguments& arguments) {
  if (arguments.options.output.extension() != ".gguf") return false;
  if (!arguments.gguf.empty()) {
    throw doppler::UsageError("OUT is a GGUF file already; leave --gguf out");
  }
  arguments.gguf = arguments.options.output;
  return true;
}

void Run(Arguments& arguments) {
  using namespace doppler;
  const std::string hub_config = ReadTextFile(arguments.config);
  ModelConfig config = ConfigFromHub(hub_config, arguments.config);
  KeepLayers(config, arguments.layers);
  SynthOptions& options = arguments.options;
  options.style.pool_bytes = ParseSize(arguments.pool);
  options.threads = DetectProcessor().threads;
  options.model_id = options.output.extension() == ".gguf" ? options.output.stem().string()
                                                           : options.output.filename().string();
  const bool only_gguf = TakeGgufOutput(arguments);
  if (!arguments.gguf.empty() && options.distinct_experts > 0) {
    throw UsageError("a GGUF file cannot link experts; leave --distinct-experts out");
  }
  const std::vector<SynthTensor> tensors =
      PlanSynth(config, arguments.quant, *LayoutFromName(arguments.layout));
  if (!only_gguf) {
    WriteWithProgress(options.output.string(), tensors, [&](const auto& on_progress) {
      WriteSynthArtifact(config, tensors, options, on_progress);
    });
  }
  if (arguments.gguf.empty()) return;
  WriteWithProgress(arguments.gguf.string(), tensors, [&](const auto& on_progress) {
    WriteSynthGguf(config, hub_config, tensors, options, arguments.gguf, on_progress);
  });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes a model of a real shape with random weights, to measure with");
  Arguments arguments;
  AddOptions(app, arguments);
  CLI11_PARSE(app, argc, argv);
  try {
    doppler::InstallInterruptHandler();
    Run(arguments);
  } catch (const doppler::UsageError& error) {
    fmt::print(stderr, "doppler_synth: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "doppler_synth: {}\n", error.what());
    return 1;
  }
  return 0;
}
