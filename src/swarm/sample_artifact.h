// For tests: a small artifact whose shards hold bytes without meaning.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "format/manifest.h"
#include "io/file.h"

namespace doppler {

struct SampleArtifactOptions {
  std::string name = "sample";
  int experts = 4;
  Bytes expert_bytes = 320 * kKiB;  // five pieces
  Bytes dense_bytes = 132 * kKiB;   // three pieces, the last not whole
};

inline std::string SampleBytes(std::size_t seed, Bytes size) {
  std::string bytes(size, '\0');
  std::uint64_t state = seed * 2654435761u + 1;
  for (char& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

inline void WriteSampleFile(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  DOPPLER_CHECK(file.good());
}

// Writes it to `folder`, which need not exist.
inline void WriteSampleArtifact(const std::filesystem::path& folder,
                                const SampleArtifactOptions& options = {}) {
  Manifest manifest;
  manifest.model_id = options.name;
  manifest.architecture = "{}";
  for (int i = 0; i <= options.experts; ++i) {
    ShardEntry shard;
    shard.file = fmt::format("shards/{:05}.bin", i);
    shard.type = i == 0 ? ShardType::kDense : ShardType::kExpert;
    if (i > 0) shard.expert_key = fmt::format("0_{}", i - 1);
    shard.size = i == 0 ? options.dense_bytes : options.expert_bytes;
    const std::string bytes = SampleBytes(static_cast<std::size_t>(i), shard.size);
    shard.hash = MerkleRootOf(std::as_bytes(std::span(bytes)));
    WriteSampleFile(folder / shard.file, bytes);
    manifest.shards.push_back(shard);
  }
  WriteSampleFile(folder / "manifest.json", SerializeManifest(manifest));
  WriteSampleFile(folder / "tokenizer.json", SampleBytes(1000, 70 * kKiB));
}

}  // namespace doppler
