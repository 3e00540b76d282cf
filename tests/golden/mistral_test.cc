// Mistral: Llama's layers with a sliding window. The weights are those of the llama3 case; what is
// expected comes from that case, or from a plain computation of every score in double precision.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/float16.h"
#include "format/safetensors.h"
#include "support/model_case.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Vector = std::vector<double>;

constexpr double kTheta = 10000;
constexpr double kEpsilon = 1e-5;

// The llama3 case as a hub folder of Mistral, without position scaling unless `change` leaves it.
class MistralCase {
 public:
  explicit MistralCase(const std::function<void(json&)>& change) {
    fs::copy(DataFolder() / "golden" / "llama3", path());
    json config = json::parse(ReadTextFile(path() / "config.json"));
    config["model_type"] = "mistral";
    change(config);
    fs::remove(path() / "config.json");
    WriteTextFile(path() / "config.json", config.dump());
  }

  fs::path path() const { return folder_.path() / "mistral"; }

 private:
  TempFolder folder_;
};

std::vector<float> LogitsOf(const fs::path& checkpoint, std::size_t decoded, int ubatch = 16,
                            BackendKind backend = BackendKind::kCpu) {
  const ConvertedModel model(checkpoint);
  EngineOptions options;
  options.backend = backend;
  options.threads = 2;
  options.context = 128;
  options.ubatch = ubatch;
  options.logit_rows = ubatch;
  options.kv_dtype = DType::kF32;
  Engine engine(model.path(), options);
  return AllLogits(engine, LoadGoldenCase("llama3").input_ids, decoded);
}

// One token after the other, with all keys and values of all layers kept.
class PlainMistral {
 public:
  explicit PlainMistral(const fs::path& folder, int window)
      : config_(json::parse(ReadTextFile(folder / "config.json"))),
        file_(folder / "model.safetensors"),
        window_(window),
        keys_(Size("num_hidden_layers")),
        values_(Size("num_hidden_layers")) {}

  Vector Next(TokenId token) {
    const std::size_t dim = Size("hidden_size");
    const Vector table = Weights("model.embed_tokens.weight");
    const auto row = table.begin() + static_cast<std::ptrdiff_t>(token * dim);
    Vector hidden(row, row + static_cast<std::ptrdiff_t>(dim));
    for (std::size_t layer = 0; layer < keys_.size(); ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      Add(Attend(prefix, layer, Norm(prefix + "input_layernorm.weight", hidden)), hidden);
      Add(GatedUnit(prefix + "mlp.", Norm(prefix + "post_attention_layernorm.weight", hidden)),
          hidden);
    }
    return Product("lm_head.weight", Norm("model.norm.weight", hidden));
  }

 private:
  std::size_t Size(const char* key) const { return config_.at(key).get<std::size_t>(); }

  Vector Weights(const std::string& name) const {
    const std::vector<std::byte> bytes = file_.Read(name, "BF16");
    Vector values(bytes.size() / 2);
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + 2 * i, 2);
      values[i] = Bf16ToFloat(bits);
    }
    return values;
  }

  Vector Product(const std::string& name, const Vector& x) const {
    const Vector matrix = Weights(name);
    Vector out(matrix.size() / x.size());
    for (std::size_t row = 0; row < out.size(); ++row) {
      for (std::size_t i = 0; i < x.size(); ++i) out[row] += matrix[row * x.size() + i] * x[i];
    }
    return out;
  }

  Vector Norm(const std::string& name, Vector x) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const Vector weight = Weights(name);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + kEpsilon);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= scale * weight[i];
    return x;
  }

  static void Add(const Vector& y, Vector& x) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  Vector GatedUnit(const std::string& prefix, const Vector& x) const {
    Vector gate = Product(prefix + "gate_proj.weight", x);
    const Vector up = Product(prefix + "up_proj.weight", x);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
    return Product(prefix + "down_proj.weight", gate);
  }

  void Turn(Vector& heads, std::size_t position) const {
    const std::size_t half = HeadDim() / 2;
    for (std::size_t begin = 0; begin < heads.size(); begin += 2 * half) {
      for (std::size_t i = 0; i < half; ++i) {
        const double exponent = -static_cast<double>(i) / static_cast<double>(half);
        const double angle = static_cast<double>(position) * std::pow(kTheta, exponent);
        const double a = heads[begin + i];
        const double b = heads[begin + half + i];
        heads[begin + i] = a * std::cos(angle) - b * std::sin(angle);
        heads[begin + half + i] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }

  Vector Attend(const std::string& prefix, std::size_t layer, const Vector& x) {
    const std::size_t position = keys_[layer].size();
    Vector query = Product(prefix + "self_attn.q_proj.weight", x);
    Vector key = Product(prefix + "self_attn.k_proj.weight", x);
    Turn(query, position);
    Turn(key, position);
    keys_[layer].push_back(key);
    values_[layer].push_back(Product(prefix + "self_attn.v_proj.weight", x));
    Vector out(query.size());
    for (std::size_t head = 0; head < Size("num_attention_heads"); ++head) {
      AttendHead(query, layer, head, out);
    }
    return Product(prefix + "self_attn.o_proj.weight", out);
  }

  void AttendHead(const Vector& query, std::size_t layer, std::size_t head, Vector& out) const {
    const std::size_t dim = HeadDim();
    const std::size_t from = head * Size("num_key_value_heads") / Size("num_attention_heads") * dim;
    const int newest = static_cast<int>(keys_[layer].size()) - 1;
    Vector weights(keys_[layer].size());
    double sum = 0;
    for (std::size_t position = 0; position < weights.size(); ++position) {
      if (newest - static_cast<int>(position) >= window_) continue;
      double score = 0;
      for (std::size_t i = 0; i < dim; ++i) {
        score += query[head * dim + i] * keys_[layer][position][from + i];
      }
      weights[position] = std::exp(score / std::sqrt(static_cast<double>(dim)));
      sum += weights[position];
    }
    for (std::size_t position = 0; position < weights.size(); ++position) {
      for (std::size_t i = 0; i < dim; ++i) {
        out[head * dim + i] += weights[position] / sum * values_[layer][position][from + i];
      }
    }
  }

  std::size_t HeadDim() const { return Size("hidden_size") / Size("num_attention_heads"); }

  json config_;
  SafetensorsFile file_;
  int window_;
  std::vector<std::vector<Vector>> keys_;    // [layer][position]
  std::vector<std::vector<Vector>> values_;  // [layer][position]
};

void WithoutScaling(json& config) {
  config["rope_scaling"] = nullptr;
  config["rope_theta"] = kTheta;
  config["rms_norm_eps"] = kEpsilon;
}

TEST(Mistral, WithAWindowAsLongAsTheTextIsLlama) {
  const std::vector<float> llama = LogitsOf(DataFolder() / "golden" / "llama3", 8);
  const MistralCase wide([](json& config) { config["sliding_window"] = 40; });
  const std::vector<float> logits = LogitsOf(wide.path(), 8);
  ASSERT_EQ(logits.size(), llama.size());
  EXPECT_EQ(std::memcmp(logits.data(), llama.data(), llama.size() * sizeof(float)), 0);
  const MistralCase none([](json& config) { config["sliding_window"] = nullptr; });
  EXPECT_EQ(LogitsOf(none.path(), 8), llama);
  const MistralCase narrow([](json& config) { config["sliding_window"] = 39; });
  EXPECT_NE(LogitsOf(narrow.path(), 8), llama);
}

TEST(Mistral, AWindowIsAMask) {
  static constexpr int kWindow = 7;
  const MistralCase checkpoint([](json& config) {
    WithoutScaling(config);
    config["sliding_window"] = kWindow;
  });
  PlainMistral plain(checkpoint.path(), kWindow);
  std::vector<float> expected;
  for (const TokenId token : LoadGoldenCase("llama3").input_ids) {
    const Vector logits = plain.Next(token);
    expected.insert(expected.end(), logits.begin(), logits.end());
  }
  for (const BackendKind backend : {BackendKind::kReference, BackendKind::kCpu}) {
    const std::vector<float> logits = LogitsOf(checkpoint.path(), 3, 16, backend);
    ASSERT_EQ(logits.size(), expected.size());
    float largest = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      largest = std::max(largest, std::abs(logits[i] - expected[i]));
    }
    EXPECT_LT(largest, 5e-4F);
  }
}

}  // namespace
}  // namespace doppler
