// Layers with a sliding window keep a ring of positions. What they forget must never be missed.

#include <cstring>

#include <gtest/gtest.h>

#include "support/model_case.h"

namespace doppler {
namespace {

constexpr int kWindowContext = 240;

// Three layers, of which the first and the last see 8 positions.
const std::filesystem::path& Windowed() {
  static const ConvertedModel model(DataFolder() / "golden" / "gpt-oss");
  return model.path();
}

EngineOptions WindowOptions(int ubatch, int context = kWindowContext) {
  EngineOptions options;
  options.threads = 2;
  options.context = context;
  options.ubatch = ubatch;
  options.logit_rows = ubatch;
  return options;
}

std::vector<TokenId> WindowText(std::size_t length) {
  const std::vector<TokenId> ids = LoadGoldenCase("gpt-oss").input_ids;
  std::vector<TokenId> text;
  for (std::size_t i = 0; i < length; ++i) text.push_back(ids[(i * i + i / 7) % ids.size()]);
  return text;
}

void ExpectEqualBits(std::span<const float> a, std::span<const float> b) {
  ASSERT_EQ(a.size(), b.size());
  ASSERT_FALSE(a.empty());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size_bytes()), 0);
}

KvShape ShapeOf(const Engine& engine) {
  return KvShapeOf(engine.config(), DType::kF16, engine.plan().ubatch, engine.plan().context);
}

TEST(Window, RingsDoNotGrowWithTheContext) {
  Engine small(Windowed(), WindowOptions(16, 128));
  Engine large(Windowed(), WindowOptions(16, 256));
  const KvShape shape = ShapeOf(small);
  EXPECT_GT(shape.RingBlocks(LayerId(0)), 0);
  EXPECT_EQ(shape.RingBlocks(LayerId(1)), 0);
  EXPECT_EQ(shape.RingBytes(), ShapeOf(large).RingBytes());
  // The layer in the middle alone: 2 heads of keys and values of 32 f16 for each further position.
  EXPECT_EQ(large.plan().kv - small.plan().kv, Bytes{128} * 2 * 2 * 32 * 2);
}

// A ubatch as large as the context leaves no ring: every position is kept.
TEST(Window, LongTextsGiveTheSameBitsWithAndWithoutRings) {
  const std::vector<TokenId> text = WindowText(kWindowContext);
  Engine whole(Windowed(), WindowOptions(kWindowContext));
  ASSERT_EQ(ShapeOf(whole).RingBytes(), 0u);
  const std::vector<float> expected = AllLogits(whole, text);
  const std::vector<float> decoded = AllLogits(whole, text, 190);
  for (const int ubatch : {1, 5, 16, 33}) {
    SCOPED_TRACE(ubatch);
    Engine engine(Windowed(), WindowOptions(ubatch));
    ASSERT_GT(ShapeOf(engine).RingBytes(), 0u);
    ExpectEqualBits(AllLogits(engine, text), expected);
    ExpectEqualBits(AllLogits(engine, text, 190), decoded);
  }
}

TEST(Window, GreedyTextsGoOnPastSeveralRings) {
  const std::vector<TokenId> prompt = WindowText(20);
  Engine whole(Windowed(), WindowOptions(kWindowContext));
  Engine engine(Windowed(), WindowOptions(16));
  EXPECT_EQ(GreedyTokens(engine, prompt, 200), GreedyTokens(whole, prompt, 200));
}

TEST(Window, TruncateGoesBackFurtherThanARingHolds) {
  const std::vector<TokenId> text = WindowText(200);
  const std::span<const TokenId> tokens(text);
  Engine engine(Windowed(), WindowOptions(16));
  Session straight(engine);
  const std::span<const float> last = straight.Append(tokens.first(40));
  const std::vector<float> expected(last.begin(), last.end());
  straight.Truncate(0);
  for (const int back : {38, 30, 9, 1, 0}) {
    SCOPED_TRACE(back);
    straight.Append(tokens.subspan(static_cast<std::size_t>(straight.length())));
    ASSERT_EQ(straight.length(), 200);
    straight.Truncate(back);
    EXPECT_EQ(straight.length(), back);
    ExpectEqualBits(straight.Append(tokens.first(40).subspan(static_cast<std::size_t>(back))),
                    expected);
  }
}

TEST(Window, TwoTruncatesInARowForgetNothing) {
  const std::vector<TokenId> text = WindowText(200);
  const std::span<const TokenId> tokens(text);
  Engine engine(Windowed(), WindowOptions(16));
  std::vector<float> expected;
  {
    Session session(engine);
    const std::span<const float> last = session.Append(tokens.first(110));
    expected.assign(last.begin(), last.end());
  }
  Session session(engine);
  session.Append(tokens);
  session.Truncate(120);
  session.Truncate(100);
  ExpectEqualBits(session.Append(tokens.subspan(100, 10)), expected);
}

}  // namespace
}  // namespace doppler
