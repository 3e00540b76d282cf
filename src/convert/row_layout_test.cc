// `convert --layout rows16` against `row`: other orders of the same bytes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/row_groups.h"
#include "convert/convert.h"
#include "convert/sample_checkpoint.h"
#include "io/file.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

class RowLayoutTest : public testing::Test {
 protected:
  RowLayoutTest() { fs::create_directory(source()); }

  fs::path source() const { return folder_.path() / "sample"; }
  fs::path in_rows() const { return folder_.path() / "rows"; }
  fs::path in_groups() const { return folder_.path() / "groups"; }

  ConvertReport ConvertTo(const fs::path& output, std::optional<DType> quantize,
                          WeightLayout layout) {
    return Convert({.checkpoint = source(),
                    .output = output,
                    .quantize = quantize,
                    .layout = layout,
                    .threads = 2},
                   [](Bytes, Bytes) {});
  }
  ConvertReport ConvertBoth(std::optional<DType> quantize) {
    EXPECT_THAT(ConvertTo(in_rows(), quantize, WeightLayout::kRow).notes,
                testing::Not(Contains(HasSubstr("row after row"))));
    return ConvertTo(in_groups(), quantize, WeightLayout::kRows16);
  }

  static Manifest ManifestOf(const fs::path& artifact) {
    return ParseManifest(ReadTextFile(artifact / "manifest.json"), "manifest.json");
  }
  static std::vector<std::byte> BytesOf(const fs::path& artifact, const Manifest& manifest,
                                        const TensorEntry& tensor) {
    std::vector<std::byte> bytes(tensor.size);
    File(artifact / manifest.shards[tensor.shard.index()].file, OpenMode::kRead)
        .ReadAt(tensor.offset, bytes);
    return bytes;
  }
  // In rows, whatever its layout is.
  static std::vector<std::byte> RowsOf(const fs::path& artifact, const Manifest& manifest,
                                       const TensorEntry& tensor) {
    std::vector<std::byte> bytes = BytesOf(artifact, manifest, tensor);
    if (tensor.layout == WeightLayout::kRow) return bytes;
    std::vector<std::byte> rows(bytes.size());
    const auto cols = static_cast<int>(tensor.shape[1]);
    const std::size_t group = bytes.size() / static_cast<std::size_t>(tensor.shape[0]) * 16;
    for (std::size_t at = 0; at < bytes.size(); at += group) {
      UngroupRows(tensor.dtype, tensor.layout, cols, std::span(bytes).subspan(at, group),
                  std::span(rows).subspan(at, group));
    }
    return rows;
  }

  // Compares all tensors; returns how many are in groups.
  int ExpectSameRows() const {
    const Manifest rows = ManifestOf(in_rows());
    const Manifest groups = ManifestOf(in_groups());
    EXPECT_EQ(groups.tensors.size(), rows.tensors.size());
    int grouped = 0;
    for (const auto& [name, tensor] : groups.tensors) {
      const TensorEntry& same = rows.Tensor(name);
      EXPECT_EQ(same.layout, WeightLayout::kRow);
      EXPECT_EQ(tensor.dtype, same.dtype);
      EXPECT_EQ(tensor.offset, same.offset);
      EXPECT_EQ(RowsOf(in_groups(), groups, tensor), BytesOf(in_rows(), rows, same)) << name;
      if (tensor.layout == WeightLayout::kRow) continue;
      EXPECT_NE(BytesOf(in_groups(), groups, tensor), BytesOf(in_rows(), rows, same)) << name;
      ++grouped;
    }
    return grouped;
  }

  TempFolder folder_;
};

TEST_F(RowLayoutTest, IsUndoneExactly) {
  const SampleModel sample = MakeSample("qwen3_moe", 256);
  WriteHub(sample, source());
  for (const DType quantize : {DType::kQ8_0, DType::kQ4_K, DType::kMxfp4}) {
    const ConvertReport report = ConvertBoth(quantize);
    // Projections, the output projection and experts; not the token table.
    EXPECT_EQ(ExpectSameRows(), 2 * 4 + 1 + 2 * 4 * 3) << DTypeName(quantize);
    EXPECT_THAT(report.notes, Contains(AllOf(HasSubstr("1 tensors stay row after row"),
                                             HasSubstr("only some of their rows"))));
    fs::remove_all(in_rows());
    fs::remove_all(in_groups());
  }
}

TEST_F(RowLayoutTest, SaysWhatStaysInRows) {
  SampleModel sample = MakeSample("llama");
  sample.config.vocab_size = 40;
  sample.specs = ExpectedTensors(sample.config);
  for (const char* table : {"embed_tokens.weight", "lm_head.weight"}) {
    sample.weights.at(table).resize(std::size_t{40} * 64 * 2);
  }
  WriteHub(sample, source());
  EXPECT_THAT(ConvertBoth(DType::kQ8_0).notes,
              Contains(AllOf(HasSubstr("1 tensors"), HasSubstr("not a multiple of 16"))));
  EXPECT_EQ(ExpectSameRows(), 2 * 7);
  fs::remove_all(in_rows());
  fs::remove_all(in_groups());
  EXPECT_THAT(ConvertBoth(std::nullopt).notes,
              testing::ElementsAre(HasSubstr("16 tensors stay row after row: bf16 has no groups")));
  EXPECT_EQ(ExpectSameRows(), 0);
}

}  // namespace
}  // namespace doppler
