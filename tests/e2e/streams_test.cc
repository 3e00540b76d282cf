// A dense model larger than its budget: every pass reads layers anew, whatever the command.

#include <sstream>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "e2e/budget.h"
#include "e2e/synth.h"

namespace doppler {
namespace {

using nlohmann::json;

class StreamsTest : public testing::Test {
 protected:
  // The output of a command with everything resident, and in little more than the smallest budget
  // that it takes: the process is not of the same size in every run.
  struct Outputs {
    std::string resident;
    std::string streamed;
    std::string budget;  // of the latter
  };
  static Outputs Both(const std::vector<std::string>& command, const std::string& input = {}) {
    Outputs outputs;
    outputs.budget = std::to_string(ParseSize(SmallestBudgetFor(command)) + 8 * kMiB);
    std::vector<std::string> limited = command;
    limited.insert(limited.end(), {"--host-memory", "1G"});
    outputs.resident = Output(limited, {.input = input});
    limited.back() = outputs.budget;
    outputs.streamed = Output(limited, {.input = input});
    return outputs;
  }

  const TempFolder folder_;
  // 25 MiB, of which 21 in 8 layers.
  const fs::path model_ = SynthModel(folder_.path(), {{"model_type", "llama"},
                                                      {"architectures", {"LlamaForCausalLM"}},
                                                      {"hidden_size", 256},
                                                      {"intermediate_size", 3072},
                                                      {"num_hidden_layers", 8},
                                                      {"num_attention_heads", 4},
                                                      {"num_key_value_heads", 2},
                                                      {"rms_norm_eps", 1e-5},
                                                      {"rope_theta", 10000.0},
                                                      {"max_position_embeddings", 1024},
                                                      {"vocab_size", 8192},
                                                      {"tie_word_embeddings", false},
                                                      {"hidden_act", "silu"}});
};

std::vector<json> Lines(const std::string& text) {
  std::istringstream lines(text);
  std::vector<json> all;
  for (std::string line; std::getline(lines, line);) all.push_back(json::parse(line));
  return all;
}

TEST_F(StreamsTest, AConversationIsTheSame) {
  const Outputs outputs =
      Both({"chat", model_, "--json", "-n", "12", "--temperature", "0", "--context", "256",
            "--template", DataFolder() / "chat" / "plain.jinja"},
           "Who was the king?\nWhy?\n");
  const std::vector<json> resident = Lines(outputs.resident);
  const std::vector<json> streamed = Lines(outputs.streamed);
  ASSERT_EQ(resident.size(), 2u);
  ASSERT_EQ(streamed.size(), 2u);
  for (std::size_t turn = 0; turn < resident.size(); ++turn) {
    SCOPED_TRACE(turn);
    EXPECT_EQ(streamed[turn].at("answer"), resident[turn].at("answer"));
    EXPECT_EQ(streamed[turn].at("generated_tokens"), 12);
    EXPECT_EQ(streamed[turn].at("kept_tokens"), resident[turn].at("kept_tokens"));
    EXPECT_GT(streamed[turn].at("decode").at("streamed_bytes_read"), 0);
    EXPECT_EQ(resident[turn].at("decode").at("streamed_bytes_read"), 0);
  }
  EXPECT_GT(streamed[1].at("kept_tokens"), 0);
}

TEST_F(StreamsTest, PerplexityIsTheSameToTheLastDigit) {
  const fs::path ids = folder_.path() / "ids.u16";
  std::string bytes;
  for (int i = 0; i < 2 * 16; ++i) {
    const int id = (i * i * 37 + 11) % 8000;
    bytes += {static_cast<char>(id & 255), static_cast<char>(id >> 8)};
  }
  Overwrite(ids, bytes);
  const Outputs outputs = Both({"perplexity", model_, "--json", "--ids", ids, "--row", "16"});
  EXPECT_EQ(json::parse(outputs.resident).at("rows"), 2);
  EXPECT_EQ(outputs.streamed, outputs.resident);
  const json report = JsonOutput({"plan", model_, "--json", "--host-memory", outputs.budget,
                                  "--context", "16", "--kv-type", "f32"});
  EXPECT_GT(report.at("plan").at("streamed_layers"), 0);
}

}  // namespace
}  // namespace doppler
