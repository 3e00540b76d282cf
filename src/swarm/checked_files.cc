#include "swarm/checked_files.h"

#include <algorithm>
#include <charconv>
#include <span>

#include <fmt/format.h>

#include "base/error.h"
#include "io/file.h"
#include "io/replace_file.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

constexpr std::string_view kFirstLine = "doppler checked files 1";
// Of a model of a hundred thousand shards.
constexpr Bytes kMostRecordBytes = 32 * kMiB;
constexpr std::size_t kEndDigits = 64;

Digest HashOf(std::string_view text) { return Sha256(std::as_bytes(std::span(text))); }

// The part up to `end`, which is taken away with it.
std::string_view TakeUntil(std::string_view& text, char end) {
  const std::size_t size = text.find(end);
  if (size == std::string_view::npos) Throw("a line of it is not whole");
  const std::string_view part = text.substr(0, size);
  text.remove_prefix(size + 1);
  return part;
}

Digest ReadHash(std::string_view hex) {
  const std::optional<Digest> digest = DigestFromHex(hex);
  if (!digest || ToHex(*digest) != hex) Throw("a hash in it is none");
  return *digest;
}

// In the one spelling that a number has.
template <typename Number>
Number ReadNumber(std::string_view text) {
  Number number{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc() || fmt::format("{}", number) != text) Throw("a number in it is none");
  return number;
}

CheckedFile ReadLine(std::string_view line) {
  CheckedFile file;
  file.root = ReadHash(TakeUntil(line, ' '));
  file.stamp.size = ReadNumber<Bytes>(TakeUntil(line, ' '));
  file.stamp.modified_ns = ReadNumber<std::int64_t>(TakeUntil(line, ' '));
  file.stamp.changed_ns = ReadNumber<std::int64_t>(TakeUntil(line, ' '));
  file.stamp.inode = ReadNumber<std::uint64_t>(TakeUntil(line, ' '));
  file.stamp.device = ReadNumber<std::uint64_t>(TakeUntil(line, ' '));
  if (!IsShardPath(line) && !IsTextPath(line)) Throw("a model has no file of a name in it");
  file.path = line;
  return file;
}

}  // namespace

std::string FormatChecked(const std::vector<CheckedFile>& files) {
  std::string text = fmt::format("{}\n", kFirstLine);
  for (const auto& [path, root, stamp] : files) {
    text += fmt::format("{} {} {} {} {} {} {}\n", ToHex(root), stamp.size, stamp.modified_ns,
                        stamp.changed_ns, stamp.inode, stamp.device, path);
  }
  return text + ToHex(HashOf(text)) + "\n";
}

std::vector<CheckedFile> ParseChecked(std::string_view text) {
  constexpr std::size_t kEndBytes = kEndDigits + 1;
  if (text.size() < kEndBytes || text.back() != '\n') Throw("it is not whole");
  std::string_view lines = text.substr(0, text.size() - kEndBytes);
  if (ReadHash(text.substr(lines.size(), kEndDigits)) != HashOf(lines)) {
    Throw("it does not have its own hash");
  }
  if (lines.empty() || TakeUntil(lines, '\n') != kFirstLine) Throw("it is of another kind");
  std::vector<CheckedFile> files;
  while (!lines.empty()) files.push_back(ReadLine(TakeUntil(lines, '\n')));
  return files;
}

std::vector<CheckedFile> ReadChecked(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kCheckedCache;
  if (!StampOf(path)) return {};
  try {
    return ParseChecked(ReadTextFile(path, kMostRecordBytes));
  } catch (const Error&) {
    return {};  // as if there were none: all is hashed
  }
}

void WriteChecked(const std::filesystem::path& folder, const std::vector<CheckedFile>& files) {
  const std::string text = FormatChecked(files);
  ReplaceFile(folder / kCheckedCache, std::as_bytes(std::span(text)));
}

}  // namespace doppler
