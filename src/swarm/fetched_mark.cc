#include "swarm/fetched_mark.h"

#include <span>
#include <string>

#include "io/replace_file.h"

namespace doppler {
namespace {

constexpr const char* kFetchedMark = "swarm.fetched";

}  // namespace

void MarkFetched(const std::filesystem::path& folder, const Digest& info_hash) {
  const std::string text = ToHex(info_hash) + "\n";
  ReplaceFile(folder / kFetchedMark, std::as_bytes(std::span(text)));
}

bool WasFetched(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / kFetchedMark);
}

}  // namespace doppler
