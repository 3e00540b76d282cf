// Speed of loading, encoding and decoding. Reads DOPPLER_BENCH_TOKENIZER (a tokenizer.json) and
// DOPPLER_BENCH_TEXT (any text, repeated to 1 MB); without them the tokenizer of the tests and a
// few sentences.
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include <benchmark/benchmark.h>

#include "text/tokenizer.h"

namespace doppler {
namespace {

constexpr std::size_t kTextBytes = 1'000'000;

constexpr std::string_view kSentences =
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age "
    "of foolishness; in short, the period was so far like the present period, that some of its "
    "noisiest authorities insisted on its being received, for good or for evil, in the superlative "
    "degree of comparison only.\n\nThere were a king with a large jaw and a queen with a plain "
    "face, on the throne of England, in 1775.\n";

std::string ReadFile(const char* variable, const char* fallback) {
  const char* path = std::getenv(variable);
  std::ifstream file(path != nullptr ? path : fallback);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

const std::string& TokenizerText() {
  static const std::string kText =
      ReadFile("DOPPLER_BENCH_TOKENIZER", "tests/data/tokenizers/demo/tokenizer.json");
  return kText;
}

const Tokenizer& Loaded() {
  static const Tokenizer kTokenizer = Tokenizer::FromJson(TokenizerText(), "", "bench");
  return kTokenizer;
}

std::string Text() {
  std::string text = ReadFile("DOPPLER_BENCH_TEXT", "/dev/null");
  if (text.empty()) text = kSentences;
  std::string out;
  while (out.size() < kTextBytes) out += text;
  out.resize(kTextBytes);
  return out;
}

void BM_Load(benchmark::State& state) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(Tokenizer::FromJson(TokenizerText(), "", "bench").vocab_size());
  }
}
BENCHMARK(BM_Load)->Unit(benchmark::kMillisecond);

void Encode(benchmark::State& state, const std::string& text) {
  const Tokenizer& tokenizer = Loaded();  // loaded before the clock starts
  std::size_t tokens = 0;
  for (auto _ : state) {
    const auto ids = tokenizer.Encode(text, {.add_bos = false});
    tokens = ids.size();
    benchmark::DoNotOptimize(ids.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
  state.counters["tokens"] = static_cast<double>(tokens);
}

void BM_EncodeText(benchmark::State& state) { Encode(state, Text()); }
BENCHMARK(BM_EncodeText)->Unit(benchmark::kMillisecond);

// One word of 100,000 letters.
void BM_EncodeLongWord(benchmark::State& state) {
  std::string word;
  for (int i = 0; i < 100'000; ++i) word += static_cast<char>('a' + i * i % 26);
  Encode(state, word);
}
BENCHMARK(BM_EncodeLongWord)->Unit(benchmark::kMillisecond);

void BM_EncodeFewWords(benchmark::State& state) { Encode(state, "The quick brown fox"); }
BENCHMARK(BM_EncodeFewWords)->Unit(benchmark::kMicrosecond);

void BM_Decode(benchmark::State& state) {
  const auto ids = Loaded().Encode(Text(), {.add_bos = false});
  for (auto _ : state) benchmark::DoNotOptimize(Loaded().Decode(ids).size());
}
BENCHMARK(BM_Decode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace doppler
