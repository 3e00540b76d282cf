// doppler_synth: writes models of real shapes and random weights, to measure with.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "io/file.h"
#include "io/machine.h"
#include "io/progress.h"
#include "synth/artifact.h"

namespace {

struct Arguments {
  std::string config;
  std::string quant = "q4_k_m";
  doppler::SynthOptions options;
  int layers = 0;
};

void AddOptions(CLI::App& app, Arguments& arguments) {
  app.add_option("CONFIG", arguments.config, "A model's config.json, as on the hub")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("OUT", arguments.options.output, "The artifact's folder, which must not exist")
      ->required();
  app.add_option("--quant", arguments.quant,
                 "Format of the weights: bf16, q4_k_m (ggml's mix) or a type of convert --quant")
      ->capture_default_str();
  app.add_option("--layers", arguments.layers, "Only the first N layers")
      ->check(CLI::PositiveNumber);
  app.add_option(
         "--routing-skew", arguments.options.style.routing_skew,
         "How unequal the experts' shares are: the deviation of the logarithm of a router's "
         "rows; 0 makes all equal")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--seed", arguments.options.style.seed, "Other numbers give other weights")
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

void Run(Arguments& arguments) {
  using namespace doppler;
  ModelConfig config = ConfigFromHub(ReadTextFile(arguments.config), arguments.config);
  KeepLayers(config, arguments.layers);
  arguments.options.threads = DetectProcessor().threads;
  arguments.options.model_id = arguments.options.output.filename().string();
  const std::vector<SynthTensor> tensors = PlanSynth(config, arguments.quant);
  Bytes size = 0;
  for (const SynthTensor& tensor : tensors) size += tensor.size;
  ProgressMeter meter("writing", size);
  WriteSynthArtifact(config, tensors, arguments.options,
                     [&meter](Bytes done, Bytes) { meter.Update(done); });
  meter.Finish();
  fmt::print("{}: {} in {} tensors\n", arguments.options.output.string(), FormatSize(size),
             tensors.size());
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
