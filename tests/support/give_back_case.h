// For tests of memory that is given back: a small model, and options that cut its few slots into
// many regions.
#pragma once

#include <array>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/model_case.h"

namespace doppler {

inline constexpr Bytes kAll = ~Bytes{0} / 2;

enum class ReaderKind { kUring, kThreads };
inline constexpr std::array kReaderKinds = {ReaderKind::kUring, ReaderKind::kThreads};

inline std::string ReaderKindName(const testing::TestParamInfo<ReaderKind>& tested) {
  return tested.param == ReaderKind::kUring ? "Uring" : "Threads";
}

inline void UseReader(ReaderKind kind, ExpertCacheOptions& options) {
  options.make_reader = kind == ReaderKind::kUring ? MakeUringReader : MakeThreadReader;
}

inline const ConvertedModel& SmallModel() {
  static const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe");
  return model;
}

inline constexpr std::size_t kDecodedTokens = 12;

inline std::vector<TokenId> TwoDozenTokens() {
  std::mt19937 random(11);
  std::vector<TokenId> tokens(24);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 320);
  return tokens;
}

inline EngineOptions SmallRegions(ReaderKind kind) {
  EngineOptions options;
  options.with_tokenizer = false;
  options.context = 64;
  options.ubatch = 8;
  options.logit_rows = 16;
  options.threads = 2;
  UseReader(kind, options.cache);
  options.cache.region = 16 * kDirectAlignment;
  return options;
}

}  // namespace doppler
