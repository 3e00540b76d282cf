// GGUF files of whole models, split as llama.cpp's gguf-split does it: the parts make the same
// artifact as the file.
#include <array>
#include <cstring>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_testing.h"
#include "format/gguf.h"
#include "format/gguf_builder.h"
#include "support/model_case.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// Walks over the encoded metadata of a GGUF file.
class MetadataWalker {
 public:
  explicit MetadataWalker(const std::string& file) : file_(file) {}

  // Copies every value as it stands.
  void CopyTo(GgufBuilder& builder) {
    at_ = 4 + 4 + 8;  // magic, version, tensors
    for (auto left = Take<std::uint64_t>(); left > 0; --left) {
      const std::string key(TakeText());
      const auto type = Take<std::uint32_t>();
      const std::size_t begin = at_;
      Skip(type);
      builder.AddRaw(key, type, std::string_view(file_).substr(begin, at_ - begin));
    }
  }

 private:
  static constexpr std::uint32_t kString = 8;
  static constexpr std::uint32_t kArray = 9;

  template <typename T>
  T Take() {
    T value;
    std::memcpy(&value, file_.data() + at_, sizeof(value));
    at_ += sizeof(value);
    return value;
  }
  std::string_view TakeText() {
    const auto size = Take<std::uint64_t>();
    at_ += size;
    return std::string_view(file_).substr(at_ - size, size);
  }
  void Skip(std::uint32_t type) {
    if (type == kString) {
      TakeText();
    } else if (type == kArray) {
      const auto element = Take<std::uint32_t>();
      for (auto left = Take<std::uint64_t>(); left > 0; --left) Skip(element);
    } else {
      constexpr std::array<std::size_t, 13> kSizes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
      at_ += kSizes.at(type);
    }
  }

  const std::string& file_;
  std::size_t at_ = 0;
};

// Writes `parts` files into `folder` and returns the path of the first. The first part has all
// metadata, and no tensors if `bare`; the others have the keys of the split only.
fs::path Split(const fs::path& gguf, const fs::path& folder, int parts, bool bare) {
  const GgufModel model(gguf);
  const std::string text = ReadTextFile(gguf);
  std::vector<GgufBuilder> builders(static_cast<std::size_t>(parts));
  MetadataWalker(text).CopyTo(builders[0]);
  const std::size_t first = bare ? 1 : 0;
  const std::size_t used = builders.size() - first;
  std::size_t index = 0;
  for (const auto& [name, tensor] : model.tensors()) {
    const std::vector<std::uint64_t> dims(tensor.shape.rbegin(), tensor.shape.rend());
    std::vector<std::byte> bytes(tensor.size);
    model.files()[tensor.file].ReadAt(tensor.offset, bytes);
    const std::size_t part = first + index++ * used / model.tensors().size();
    builders[part].AddTensor(name, dims, tensor.type, bytes);
  }
  const auto path = [&](int part) {
    return folder / fmt::format("x-{:05}-of-{:05}.gguf", part + 1, parts);
  };
  for (int part = 0; part < parts; ++part) {
    GgufBuilder& builder = builders[static_cast<std::size_t>(part)];
    builder.AddUint16("split.no", static_cast<std::uint16_t>(part));
    builder.AddUint16("split.count", static_cast<std::uint16_t>(parts));
    builder.AddInt32("split.tensors.count", static_cast<std::int32_t>(model.tensors().size()));
    WriteTextFile(path(part), builder.Build());
  }
  return path(0);
}

// What an artifact says of itself, but for its name.
nlohmann::json ManifestOf(const ConvertedModel& model) {
  nlohmann::json manifest = nlohmann::json::parse(ReadTextFile(model.path() / "manifest.json"));
  manifest.erase("modelId");
  return manifest;
}

// A model, and whether its first part is without tensors.
class SplitGguf : public testing::TestWithParam<std::pair<const char*, bool>> {};

TEST_P(SplitGguf, MakesTheSameArtifact) {
  const auto [name, bare] = GetParam();
  const fs::path whole = DataFolder() / "golden" / "gguf" / (std::string(name) + "-bf16.gguf");
  const TempFolder folder;
  const fs::path first = Split(whole, folder.path(), 3, bare);
  const ConvertedModel expected(whole);
  const ConvertedModel split(first);
  // The hashes of all shards are among it.
  EXPECT_EQ(ManifestOf(split), ManifestOf(expected));
  EXPECT_EQ(ReadTextFile(split.path() / "tokenizer.json"),
            ReadTextFile(expected.path() / "tokenizer.json"));
  fs::remove(folder.path() / "x-00002-of-00003.gguf");
  EXPECT_THAT(
      MessageOf([&] { const ConvertedModel model(first); }),
      testing::AllOf(testing::HasSubstr("x-00002-of-00003.gguf"), testing::HasSubstr("missing")));
}

INSTANTIATE_TEST_SUITE_P(Families, SplitGguf,
                         testing::Values(std::pair("gpt-oss", false), std::pair("gpt-oss", true),
                                         std::pair("deepseek-v3", true)));

}  // namespace
}  // namespace doppler
