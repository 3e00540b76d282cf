#include "format/gguf.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "format/gguf_builder.h"

namespace doppler {
namespace {

using testing::AllOf;
using testing::HasSubstr;

GgufHeader Parse(const std::string& file) {
  const auto bytes = std::as_bytes(std::span(file));
  const auto read = [&](Bytes offset, std::span<std::byte> out) {
    ASSERT_LE(offset + out.size(), bytes.size());
    std::memcpy(out.data(), bytes.data() + offset, out.size());
  };
  return ParseGguf(read, file.size(), "x.gguf");
}

const std::vector<std::byte> kData(1024, std::byte{7});

GgufBuilder Sample() {
  GgufBuilder builder;
  builder.AddString("general.architecture", "llama");
  builder.AddUint32("llama.block_count", 3);
  builder.AddFloat("llama.rope.freq_base", 10000.0f);
  builder.AddBool("tokenizer.ggml.add_bos_token", true);
  builder.AddInt32("negative", -1);
  builder.AddStrings("tokens", {"a", "", "c d"});
  builder.AddInt32s("types", {1, -2, 3});
  builder.AddTensor("a.weight", {64, 3}, 30, std::span(kData).first(384));
  builder.AddTensor("b.weight", {32, 2, 5}, 8, std::span(kData).first(340));
  return builder;
}

std::string ErrorOf(const std::string& file) {
  return MessageOf([&] { Parse(file); });
}

TEST(Gguf, ReadsMetadataAndTensors) {
  for (const std::uint32_t version : {2u, 3u}) {
    const GgufHeader header = Parse(Sample().Build(version));
    const GgufMetadata& metadata = header.metadata;
    EXPECT_EQ(metadata.String("general.architecture"), "llama");
    EXPECT_EQ(metadata.Int("llama.block_count"), 3);
    EXPECT_EQ(metadata.Number("llama.rope.freq_base"), 10000.0);
    EXPECT_EQ(metadata.Number("llama.block_count"), 3.0);
    EXPECT_TRUE(metadata.Bool("tokenizer.ggml.add_bos_token"));
    EXPECT_EQ(metadata.Strings("tokens"), (std::vector<std::string>{"a", "", "c d"}));
    EXPECT_EQ(metadata.Integers("types"), (std::vector<std::int64_t>{1, -2, 3}));
    EXPECT_EQ(metadata.Int("absent", 5), 5);
    const GgufTensor& a = header.tensors.at("a.weight");
    EXPECT_EQ(a.shape, (std::vector<std::int64_t>{3, 64}));
    EXPECT_EQ(a.size, 384u);
    EXPECT_EQ(a.offset % 32, 0u);
    const GgufTensor& b = header.tensors.at("b.weight");
    EXPECT_EQ(b.shape, (std::vector<std::int64_t>{5, 2, 32}));
    EXPECT_EQ(b.size, 340u);
    EXPECT_EQ(b.offset, a.offset + 384);
    EXPECT_EQ(DTypeOfGgml(b.type), DType::kQ8_0);
  }
}

TEST(Gguf, GettersNameTheKey) {
  const GgufMetadata metadata = Parse(Sample().Build()).metadata;
  EXPECT_THAT(MessageOf([&] { metadata.Int("absent"); }), HasSubstr("no 'absent'"));
  EXPECT_THAT(MessageOf([&] { metadata.Int("negative"); }), HasSubstr("below 0"));
  EXPECT_THAT(MessageOf([&] { metadata.Int("tokens"); }), HasSubstr("'tokens' is not an integer"));
  EXPECT_THAT(MessageOf([&] { metadata.String("types"); }), HasSubstr("not a string"));
  EXPECT_THAT(MessageOf([&] { metadata.Strings("types"); }), HasSubstr("not a list of strings"));
  EXPECT_THAT(MessageOf([&] { metadata.Integers("tokens"); }), HasSubstr("not a list of integers"));
  EXPECT_THAT(MessageOf([&] { metadata.Bool("types", false); }), HasSubstr("not true or false"));
}

TEST(Gguf, ReadsEveryTypeOfValue) {
  GgufBuilder builder;
  const auto zeros = [](std::size_t count) { return std::string(count, '\0'); };
  const std::size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  for (std::uint32_t type = 0; type < 13; ++type) {
    builder.AddRaw(fmt::format("value{}", type), type, zeros(sizes[type]));
    const std::string head = {static_cast<char>(type), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    builder.AddRaw(fmt::format("list{}", type), 9, head + zeros(sizes[type]));
  }
  EXPECT_EQ(Parse(builder.Build()).metadata.values().size(), 26u);
  builder.AddRaw("value13", 13, zeros(8));
  EXPECT_THAT(ErrorOf(builder.Build()), HasSubstr("unknown type 13"));
}

TEST(Gguf, RefusesEveryTruncation) {
  const std::string file = Sample().Build();
  for (std::size_t size = 0; size < file.size() - 32; ++size) {
    EXPECT_NE(ErrorOf(file.substr(0, size)), "no error") << size;
  }
  EXPECT_THAT(ErrorOf(file.substr(0, file.size() - 32)), HasSubstr("truncated"));
}

TEST(Gguf, RefusesOtherFiles) {
  EXPECT_THAT(ErrorOf("GGML" + std::string(100, '\0')), HasSubstr("not a GGUF file"));
  EXPECT_THAT(ErrorOf(Sample().Build(1)), HasSubstr("version 1 is not supported"));
  EXPECT_THAT(ErrorOf(Sample().Build(0x03000000)), HasSubstr("big-endian"));
}

TEST(Gguf, RefusesBadTensors) {
  const auto with = [](const std::string& name, const std::vector<std::uint64_t>& dims,
                       std::uint32_t type, std::uint64_t offset) {
    GgufBuilder builder = Sample();
    builder.AddTensorAt(name, dims, type, offset);
    return ErrorOf(builder.Build());
  };
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 61;
  EXPECT_THAT(with("c", {1}, 0, 736), HasSubstr("beyond the end"));
  EXPECT_THAT(with("c", {1}, 0, 0), HasSubstr("overlap"));
  EXPECT_THAT(with("a.weight", {1}, 0, 0), HasSubstr("twice"));
  EXPECT_THAT(with("c", {}, 0, 0), HasSubstr("0 dimensions"));
  EXPECT_THAT(with("c", {1, 1, 1, 1, 1}, 0, 0), HasSubstr("5 dimensions"));
  EXPECT_THAT(with("c", {0}, 0, 0), HasSubstr("0 wide"));
  EXPECT_THAT(with("c", {kHuge, kHuge}, 0, 0), HasSubstr("too large"));
  EXPECT_THAT(with("c", {33}, 8, 0), HasSubstr("rows of 33 values, which Q8_0 cannot hold"));
  EXPECT_THAT(with("c", {1}, 77, 0), HasSubstr("unknown format number 77"));
  EXPECT_THAT(with("c", {1}, 0, 16), HasSubstr("not a multiple of 32"));
  EXPECT_THAT(with("c", {1}, 0, 1 << 20), HasSubstr("beyond the end"));
  EXPECT_THAT(with("c", {1}, 0, ~std::uint64_t{31}), HasSubstr("beyond the end"));
}

TEST(Gguf, RefusesBadMetadata) {
  const auto with = [](std::uint32_t type, const std::string& encoded) {
    GgufBuilder builder = Sample();
    builder.AddRaw("x", type, encoded);
    return ErrorOf(builder.Build());
  };
  const std::string huge(8, '\x7f');
  EXPECT_THAT(with(8, huge), HasSubstr("a string has"));
  EXPECT_THAT(with(9, std::string(4, '\0') + huge), HasSubstr("too early"));
  EXPECT_THAT(with(9, std::string("\x0d\0\0\0", 4) + std::string(8, '\0')),
              HasSubstr("unknown type 13"));
  EXPECT_THAT(with(7, "\x02"), HasSubstr("a boolean is 2"));
  std::string nested;
  for (int i = 0; i < 6; ++i) nested += std::string("\x09\0\0\0\x01\0\0\0\0\0\0\0", 12);
  EXPECT_THAT(with(9, nested), HasSubstr("nested"));
  GgufBuilder twice = Sample();
  twice.AddUint32("llama.block_count", 3);
  EXPECT_THAT(ErrorOf(twice.Build()), HasSubstr("'llama.block_count' twice"));
  GgufBuilder odd = Sample();
  odd.AddUint32("general.alignment", 24);
  EXPECT_THAT(ErrorOf(odd.Build()), HasSubstr("general.alignment"));
}

TEST(Gguf, NamesFormatsItCannotUse) {
  EXPECT_EQ(GgmlTypeName(34), "TQ1_0");
  EXPECT_FALSE(DTypeOfGgml(34));
  EXPECT_FALSE(GgmlTypeName(77));
  for (const DTypeTraits& traits : kDTypes) {
    int found = 0;
    for (std::uint32_t type = 0; type < 64; ++type) found += DTypeOfGgml(type) == traits.dtype;
    const bool of_hub = traits.dtype == DType::kF8E4M3 || traits.dtype == DType::kInt4G32;
    EXPECT_EQ(found, of_hub ? 0 : 1) << traits.name;
  }
}

class GgufModelTest : public testing::Test {
 protected:
  // Part `number` (from 0) of two, under the name of `as`.
  void WritePart(int number, int as, int tensors_in_all = 2) {
    GgufBuilder builder;
    builder.AddUint16("split.count", 2);
    builder.AddUint16("split.no", static_cast<std::uint16_t>(number));
    builder.AddInt32("split.tensors.count", tensors_in_all);
    builder.AddTensor(number == 0 ? "a" : "b", {8}, 0, std::span(kData).first(32));
    WriteTextFile(Part(as), builder.Build());
  }
  std::filesystem::path Part(int number) const {
    return folder_.path() / fmt::format("x-{:05}-of-00002.gguf", number + 1);
  }

  TempFolder folder_;
};

TEST_F(GgufModelTest, FindsTheOtherParts) {
  WritePart(0, 0);
  WritePart(1, 1);
  for (const int opened : {0, 1}) {
    const GgufModel model(Part(opened));
    ASSERT_EQ(model.files().size(), 2u);
    ASSERT_EQ(model.tensors().size(), 2u);
    EXPECT_EQ(model.tensors().at("b").file, 1u);
  }
}

TEST_F(GgufModelTest, RefusesSetsThatAreNotWhole) {
  const auto error = [this] { return MessageOf([this] { GgufModel model(Part(0)); }); };
  WritePart(0, 0, 3);
  EXPECT_THAT(error(), AllOf(HasSubstr("x-00002-of-00002.gguf"), HasSubstr("missing")));
  WritePart(1, 1, 3);
  EXPECT_THAT(error(), HasSubstr("hold 2 tensors instead of 3"));
  std::filesystem::remove(Part(1));
  WritePart(0, 1);
  EXPECT_THAT(error(), HasSubstr("its name says 2"));
  std::filesystem::rename(Part(0), folder_.path() / "x.gguf");
  EXPECT_THAT(MessageOf([&] { GgufModel model(folder_.path() / "x.gguf"); }),
              HasSubstr("one of 2 parts"));
}

}  // namespace
}  // namespace doppler
