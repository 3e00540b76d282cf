#include "format/safetensors.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

using testing::HasSubstr;

std::vector<std::byte> FileOf(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::vector<std::byte> file(8 + header.size() + data_bytes);
  std::memcpy(file.data(), &length, 8);
  std::memcpy(file.data() + 8, header.data(), header.size());
  return file;
}

std::string ErrorOf(const std::string& header, std::size_t data_bytes) {
  try {
    ParseSafetensors(FileOf(header, data_bytes), "x.safetensors");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Safetensors, ReadsTheHeader) {
  const std::string header = R"({"__metadata__": {"format": "pt"},)"
                             R"("b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [4, 16]},)"
                             R"("odd": {"dtype": "F6_X", "shape": [5], "data_offsets": [16, 19]},)"
                             R"("none": {"dtype": "F32", "shape": [0], "data_offsets": [16, 16]},)"
                             R"("a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}   )";
  const SafetensorsTensors tensors = ParseSafetensors(FileOf(header, 19), "x");
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors.at("a").offset, 8 + header.size());
  EXPECT_EQ(tensors.at("b").offset, 8 + header.size() + 4);
  EXPECT_EQ(tensors.at("b").size, 12u);
  EXPECT_EQ(tensors.at("b").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(tensors.at("odd").dtype, "F6_X");
}

TEST(Safetensors, RefusesDamage) {
  const auto one = [](const std::string& rest) { return "{\"a\": {" + rest + "}}"; };
  const std::string good = R"("dtype": "F32", "shape": [2], "data_offsets": [0, 8])";
  EXPECT_EQ(ErrorOf(one(good), 8), "no error");
  EXPECT_THAT(ErrorOf(one(good), 7), HasSubstr("truncated"));
  EXPECT_THAT(ErrorOf(one(good), 9), HasSubstr("end at byte"));
  EXPECT_THAT(ErrorOf(one(good + ", \"x\": 1"), 8), HasSubstr("not known"));
  EXPECT_THAT(ErrorOf(one(good + ", \"dtype\": \"F32\""), 8), HasSubstr("twice"));
  EXPECT_THAT(ErrorOf(R"({"a": 1})", 0), HasSubstr("must be an object"));
  EXPECT_THAT(ErrorOf("[]", 0), HasSubstr("must be an object"));
  const auto entry = [&](const char* shape, const char* offsets) {
    return one(std::string(R"("dtype": "F32", "shape": )") + shape +
               ", \"data_offsets\": " + offsets);
  };
  EXPECT_THAT(ErrorOf(entry("[3]", "[0, 8]"), 8), HasSubstr("do not fit its shape"));
  EXPECT_THAT(ErrorOf(entry("[-2]", "[0, 8]"), 8), HasSubstr("a.shape[0]"));
  EXPECT_THAT(ErrorOf(entry("[2]", "[8, 0]"), 8), HasSubstr("not inside"));
  EXPECT_THAT(ErrorOf(entry("[2]", "[0, 8, 8]"), 8), HasSubstr("two offsets"));
  EXPECT_THAT(ErrorOf(entry("[2]", "[4, 12]"), 12), HasSubstr("hole"));
  EXPECT_THAT(ErrorOf(entry("[4611686018427387904, 4]", "[0, 0]"), 0), HasSubstr("too large"));
  EXPECT_THAT(ErrorOf(entry("[2305843009213693952, 8]", "[0, 0]"), 0), HasSubstr("do not fit"));
  EXPECT_THAT(ErrorOf(R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},)"
                      R"("b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]}})",
                      6),
              HasSubstr("overlap"));
}

TEST(Safetensors, RefusesABadLength) {
  std::vector<std::byte> file = FileOf("{}", 0);
  EXPECT_NO_THROW(ParseSafetensors(file, "x"));
  file[0] = std::byte{3};
  EXPECT_THROW(ParseSafetensors(file, "x"), Error);
  std::fill_n(file.begin(), 8, std::byte{255});
  EXPECT_THROW(ParseSafetensors(file, "x"), Error);
  EXPECT_THROW(ParseSafetensors(std::span(file).first(7), "x"), Error);
}

TEST(Safetensors, WritesAndReadsBack) {
  const TempFolder folder;
  const std::filesystem::path path = folder.path() / "out.safetensors";
  const std::vector<float> logits = {1.5f, -2.0f, 0.25f, 8.0f, 9.0f, -1.0f};
  const std::vector<std::int32_t> ids = {7, 8};
  const std::vector<SafetensorsOutput> outputs = {
      {"logits", "F32", {2, 3}, std::as_bytes(std::span(logits))},
      {"ids", "I32", {2}, std::as_bytes(std::span(ids))}};
  WriteSafetensors(path, outputs);
  const SafetensorsFile file(path);
  EXPECT_EQ(file.Tensor("logits").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.Tensor("logits").offset % 8, 0u);
  const std::vector<std::byte> read = file.Read("logits", "F32");
  ASSERT_EQ(read.size(), 24u);
  const auto written = std::as_bytes(std::span(logits));
  EXPECT_TRUE(std::equal(read.begin(), read.end(), written.begin(), written.end()));
  EXPECT_THROW(file.Read("ids", "F32"), Error);
  EXPECT_THROW(file.Read("other", "F32"), Error);
  EXPECT_THROW(WriteSafetensors(path, outputs), Error);
}

}  // namespace
}  // namespace doppler
