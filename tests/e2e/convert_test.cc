// `doppler convert`: every form of checkpoint, and output that stays away when it goes wrong.

#include <csignal>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "e2e/program.h"
#include "format/safetensors.h"
#include "model/config.h"
#include "model/tensors.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string GreedyText(const fs::path& model) {
  return Output({"run", model, "-p", "Once upon a time", "-n", "12", "--temperature", "0"});
}

TEST(ConvertTest, EveryShardingHoldsTheSameModel) {
  const TempFolder folder;
  const std::string text = GreedyText(MoeModel());
  for (const char* sharding : {"expert", "layer", "fixed"}) {
    SCOPED_TRACE(sharding);
    const fs::path model = folder.path() / sharding;
    EXPECT_THAT(Output({"convert", Golden("mixtral"), model, "--sharding", sharding, "--shard-size",
                        "256K"}),
                HasSubstr("96 tensors in "));
    EXPECT_EQ(JsonOutput({"inspect", model, "--json"}).at("sharding"), sharding);
    EXPECT_EQ(GreedyText(model), text);
    ExpectDone(Doppler({"verify", model}));
  }
}

TEST(ConvertTest, EveryFamilyFromTheHubAndFromGguf) {
  const TempFolder folder;
  for (const char* name : {"llama3", "mixtral", "qwen3", "qwen3-moe"}) {
    SCOPED_TRACE(name);
    const fs::path hub = folder.path() / name;
    const fs::path gguf = folder.path() / (std::string(name) + "-gguf");
    const ProcessResult result = Doppler({"convert", Golden(name), hub});
    ExpectDone(result);
    EXPECT_EQ(result.errors, "");
    EXPECT_THAT(result.output, testing::StartsWith(hub.string() + ": "));
    Output({"convert", Golden("gguf") / (std::string(name) + "-bf16.gguf"), gguf});
    EXPECT_EQ(GreedyText(gguf), GreedyText(hub));
  }
}

TEST(ConvertTest, Quantised) {
  const TempFolder folder;
  const fs::path model = folder.path() / "model";
  Output({"convert", Golden("mixtral"), model, "--quant", "q8_0"});
  const nlohmann::json report = JsonOutput({"inspect", model, "--json"});
  EXPECT_GT(report.at("formats").at("q8_0").at("count"), 0);
  EXPECT_EQ(report.at("model"), "mixtral-q8_0");
  EXPECT_GT(GreedyText(model).size(), 1u);
}

TEST(ConvertTest, InGroupsOfRows) {
  const TempFolder folder;
  const fs::path rows = folder.path() / "rows";
  const fs::path groups = folder.path() / "groups";
  const std::vector<std::string> convert = {"convert", Golden("mixtral"), "--quant", "q8_0"};
  const auto with = [&](const fs::path& model, const char* layout) {
    std::vector<std::string> all = convert;
    all.insert(all.end(), {model, "--layout", layout});
    return Doppler(all);
  };
  const ProcessResult in_rows = with(rows, "row");
  ExpectDone(in_rows);
  EXPECT_EQ(in_rows.errors, "");
  const ProcessResult in_groups = with(groups, "rows16");
  EXPECT_EQ(in_groups.status, kDone) << in_groups.errors;
  EXPECT_THAT(in_groups.errors, HasSubstr("1 tensors stay row after row"));
  const nlohmann::json report = JsonOutput({"inspect", groups, "--json"});
  EXPECT_EQ(report.at("layouts").at("rows16").at("count"), 85);
  EXPECT_EQ(report.at("layouts").at("row").at("count"), 11);
  EXPECT_EQ(report.at("bytes"), JsonOutput({"inspect", rows, "--json"}).at("bytes"));
  EXPECT_EQ(GreedyText(groups), GreedyText(rows));
  ExpectRefused(with(folder.path() / "x", "column"), kWrongUsage, {"--layout", "row|rows16"});
}

TEST(ConvertTest, TheModelOfTheProject) {
  const TempFolder folder;
  const fs::path model = folder.path() / "model";
  EXPECT_THAT(Output({"convert", DemoCheckpoint(), model}), HasSubstr("145 shards"));
  EXPECT_EQ(JsonOutput({"verify", model, "--json"}).at("damaged"), nlohmann::json::array());
}

TEST(ConvertTest, OutputThatCannotBeMade) {
  const TempFolder folder;
  const fs::path file = folder.path() / "file";
  Overwrite(file, "mine");
  const std::string checkpoint = Golden("llama3");
  ExpectRefused(Doppler({"convert", checkpoint, file}), kFailed, {file, "exists already"});
  ExpectRefused(Doppler({"convert", checkpoint, folder.path()}), kFailed, {"exists already"});
  ExpectRefused(Doppler({"convert", checkpoint, file / "model"}), kFailed,
                {file, "choose another"});
  ExpectRefused(Doppler({"convert", checkpoint, folder.path() / "no" / "model"}), kFailed,
                {"/no'", "does not exist"});
  ExpectRefused(Doppler({"convert", checkpoint, "/proc/model"}), kFailed, {"/proc/"});
  EXPECT_THAT(Entries(folder.path()), ElementsAre("file"));
  EXPECT_EQ(ReadTextFile(file), "mine");
}

TEST(ConvertTest, CheckpointsThatAreNone) {
  const TempFolder folder;
  const std::string out = folder.path() / "out";
  const fs::path input = folder.path() / "input";
  ExpectRefused(Doppler({"convert", input, out}), kFailed, {input, "does not exist"});
  fs::create_directory(input);
  ExpectRefused(Doppler({"convert", input, out}), kFailed, {input, "no config.json"});
  Overwrite(folder.path() / "text.gguf", "This is a text and no model at all.");
  ExpectRefused(Doppler({"convert", folder.path() / "text.gguf", out}), kFailed,
                {"text.gguf", "not a GGUF file"});
  EXPECT_THAT(Entries(folder.path()), ElementsAre("input", "text.gguf"));
}

// A checkpoint of tests/data/golden to be damaged, and where it is to be converted to.
class DamagedCheckpoint {
 public:
  explicit DamagedCheckpoint(const fs::path& original) {
    fs::create_directory(folder_.path() / "out");
    fs::copy(original, path(), fs::copy_options::recursive);
  }
  fs::path path() const { return folder_.path() / "checkpoint"; }

  void ExpectRefusedWith(const std::vector<std::string>& parts) const {
    const fs::path out = folder_.path() / "out";
    ExpectRefused(Doppler({"convert", path(), out / "model"}), kFailed, parts);
    EXPECT_THAT(Entries(out), IsEmpty());
  }

 private:
  TempFolder folder_;
};

TEST(ConvertTest, DamagedHubCheckpoints) {
  const DamagedCheckpoint checkpoint(Golden("mixtral"));
  const fs::path weights = checkpoint.path() / "model.safetensors";
  const fs::path config = checkpoint.path() / "config.json";
  const std::string good_weights = ReadTextFile(weights);
  const std::string good_config = ReadTextFile(config);

  Overwrite(weights, std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  checkpoint.ExpectRefusedWith({"model.safetensors", "header claims 9223372036854775807 bytes"});
  Overwrite(weights, good_weights.substr(0, 3));
  checkpoint.ExpectRefusedWith({"model.safetensors", "too few"});
  Overwrite(weights, good_weights.substr(0, 100));
  checkpoint.ExpectRefusedWith({"model.safetensors", "truncated"});
  Overwrite(weights, good_weights.substr(0, good_weights.size() - 1));
  checkpoint.ExpectRefusedWith({"model.safetensors", "truncated"});
  fs::remove(weights);
  checkpoint.ExpectRefusedWith({"neither model.safetensors nor model.safetensors.index.json"});
  Overwrite(weights, good_weights);

  nlohmann::json edited = nlohmann::json::parse(good_config);
  edited["model_type"] = "bert";
  Overwrite(config, edited.dump());
  checkpoint.ExpectRefusedWith({"'bert' is not supported", "llama, mistral, mixtral, qwen3"});
  edited = nlohmann::json::parse(good_config);
  edited["num_hidden_layers"] = 4;
  Overwrite(config, edited.dump());
  checkpoint.ExpectRefusedWith({"layers.3.", "is missing"});
  edited["num_hidden_layers"] = 2;
  Overwrite(config, edited.dump());
  checkpoint.ExpectRefusedWith({"model.layers.2.", "not part of a model of this family"});
  edited["num_hidden_layers"] = -3;
  Overwrite(config, edited.dump());
  checkpoint.ExpectRefusedWith({"config.json", "num_hidden_layers", "-3"});
  edited = nlohmann::json::parse(good_config);
  edited["vocab_size"] = 321;
  Overwrite(config, edited.dump());
  checkpoint.ExpectRefusedWith({"embed_tokens.weight", "[320, 64]", "[321, 64]"});
  Overwrite(config, "{\"model_type\": ");
  checkpoint.ExpectRefusedWith({"config.json", "not valid JSON"});
  Overwrite(config, good_config);

  fs::remove(checkpoint.path() / "tokenizer.json");
  checkpoint.ExpectRefusedWith({"no tokenizer.json"});
}

// The golden model with one tensor in another number format.
void RewriteWithDtype(const fs::path& path, const std::string& changed, const std::string& dtype,
                      Bytes bytes_each) {
  std::vector<std::vector<std::byte>> values;
  std::vector<SafetensorsOutput> outputs;
  const SafetensorsFile file(path);
  for (const auto& [name, tensor] : file.tensors()) {
    values.push_back(file.Read(name, tensor.dtype));
    outputs.push_back({.name = name, .dtype = tensor.dtype, .shape = tensor.shape, .values = {}});
    if (name != changed) continue;
    outputs.back().dtype = dtype;
    values.back().resize(values.back().size() / 2 * bytes_each);
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].values = values[i];
  fs::remove(path);
  WriteSafetensors(path, outputs);
}

TEST(ConvertTest, NumberFormatsThatAreNotSupported) {
  const std::string name = "layers.1.self_attn.q_proj.weight";
  for (const auto& [dtype, bytes] : {std::pair("F8_E4M3", 1), {"I32", 4}}) {
    const DamagedCheckpoint checkpoint(Golden("llama3"));
    RewriteWithDtype(checkpoint.path() / "model.safetensors", "model." + name, dtype,
                     static_cast<Bytes>(bytes));
    checkpoint.ExpectRefusedWith({"model.safetensors", "'" + name + "'", dtype, "BF16"});
  }
}

// Where the type of a tensor stands in a GGUF file: after its name, the number of its dimensions
// (four bytes) and the dimensions (eight each).
std::size_t TypePlace(const std::string& file, const std::string& tensor, std::size_t dims) {
  return file.find(tensor) + tensor.size() + 4 + 8 * dims;
}

TEST(ConvertTest, DamagedGgufFiles) {
  const DamagedCheckpoint checkpoint(Golden("gguf") / "llama3-bf16.gguf");
  const std::string good = ReadTextFile(checkpoint.path());
  const std::string name = "blk.0.attn_q.weight";

  Overwrite(checkpoint.path(), good.substr(0, 20));
  checkpoint.ExpectRefusedWith({"not a GGUF file"});
  Overwrite(checkpoint.path(), good.substr(0, 5000));
  checkpoint.ExpectRefusedWith({"header ends too early", "fetch it again"});
  Overwrite(checkpoint.path(), good.substr(0, good.size() / 2));
  checkpoint.ExpectRefusedWith({"reaches beyond the end of the file", "truncated"});

  std::string patched = good;
  constexpr char kI16 = 25;
  patched[TypePlace(good, name, 2)] = kI16;
  Overwrite(checkpoint.path(), patched);
  checkpoint.ExpectRefusedWith({"'" + name + "'", "I16, which is not supported", "Q4_K"});
  patched[TypePlace(good, name, 2)] = 99;
  Overwrite(checkpoint.path(), patched);
  checkpoint.ExpectRefusedWith({"'" + name + "'", "unknown format number 99"});
  patched = good;
  patched[4] = 9;
  Overwrite(checkpoint.path(), patched);
  checkpoint.ExpectRefusedWith({"version 9"});
  patched = good;
  patched[patched.find("llama")] = 'b';
  Overwrite(checkpoint.path(), patched);
  checkpoint.ExpectRefusedWith({"'blama' is not supported"});
}

TEST(ConvertTest, FilesThatMayNotGrowLeaveNothingBehind) {
  const TempFolder folder;
  const auto limit_files = [] {
    std::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit { 100'000, 100'000 };
    ::setrlimit(RLIMIT_FSIZE, &limit);
  };
  const ProcessResult result =
      Doppler({"convert", Golden("llama3"), folder.path() / "model"}, {.prepare = limit_files});
  ExpectRefused(result, kFailed, {"cannot write", "00000.bin", "File too large"});
  EXPECT_THAT(Entries(folder.path()), IsEmpty());
}

// Runs `convert` on a small file system of its own, which only this run sees, and then lists what
// is there. Where mounting is forbidden, nothing.
std::optional<ProcessResult> ConvertOnSmallDisk(const char* mount_options) {
  const std::vector<std::vector<std::string>> ways = {{"unshare", "--mount"},
                                                      {"unshare", "--mount", "--map-root-user"}};
  const TempFolder folder;
  for (std::vector<std::string> command : ways) {
    const std::string mount = "mount -t tmpfs -o " + std::string(mount_options) + " disk \"$1\"";
    command.insert(command.end(), {"sh", "-c", mount, "sh", folder.path()});
    if (RunProcess(command).status != 0) continue;
    command[command.size() - 3] =
        mount +
        " && { \"$2\" convert \"$3\" \"$1/model\"; status=$?; ls -A \"$1\"; exit $status; }";
    command.insert(command.end(), {ProgramPath(), Golden("mixtral")});
    return RunProcess(command);
  }
  return std::nullopt;
}

TEST(ConvertTest, AFullDiskLeavesNothingBehind) {
  // Too few bytes, which is known before anything is written; and too few files, which is not.
  for (const auto& [mount_options, part] :
       {std::pair("size=512k", "free some space"), {"size=64m,nr_inodes=12", "free some space"}}) {
    SCOPED_TRACE(mount_options);
    const std::optional<ProcessResult> result = ConvertOnSmallDisk(mount_options);
    if (!result) {
      // The device that is always full stands in for the disk.
      ExpectRefused(Doppler({"convert", Golden("mixtral"), "/dev/full/model"}), kFailed,
                    {"/dev/full"});
      continue;
    }
    ExpectRefused(*result, kFailed, {part});
    EXPECT_EQ(result->output, "") << "left behind";
  }
}

// A checkpoint of zeros that takes a while to convert and no space.
void WriteLargeCheckpoint(const fs::path& folder) {
  nlohmann::json config = ReadJson(Golden("qwen3") / "config.json");
  config["hidden_size"] = 1024;
  config["intermediate_size"] = 4096;
  Overwrite(folder / "config.json", config.dump());
  fs::copy(Golden("qwen3") / "tokenizer.json", folder);
  nlohmann::json header;
  Bytes end = 0;
  for (const TensorSpec& spec : ExpectedTensors(ConfigFromHub(config.dump(), "config.json"))) {
    Bytes size = sizeof(float);
    for (const std::int64_t extent : spec.shape) size *= static_cast<Bytes>(extent);
    header["model." + spec.name] = {
        {"dtype", "F32"}, {"shape", spec.shape}, {"data_offsets", {end, end + size}}};
    end += size;
  }
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  const fs::path weights = folder / "model.safetensors";
  Overwrite(weights, std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text);
  fs::resize_file(weights, sizeof(length) + text.size() + end);
}

TEST(ConvertTest, CtrlCLeavesNothingBehind) {
  const TempFolder checkpoint;
  const TempFolder folder;
  WriteLargeCheckpoint(checkpoint.path());
  const auto has_begun = [&folder](const RunningProcess&) {
    for (const std::string& name : Entries(folder.path())) {
      if (fs::exists(folder.path() / name / "shards" / "00000.bin")) return true;
    }
    return false;
  };
  for (const int signal : {SIGINT, SIGTERM}) {
    const ProcessResult result =
        Doppler({"convert", checkpoint.path(), folder.path() / "model", "--quant", "q4_k"},
                {.signal = signal, .signal_when = has_begun});
    ExpectRefused(result, kFailed, {"interrupted"});
    EXPECT_EQ(result.output, "");
    EXPECT_THAT(Entries(folder.path()), IsEmpty());
  }
}

}  // namespace
}  // namespace doppler
