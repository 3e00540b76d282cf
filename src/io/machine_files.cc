#include "io/machine_files.h"

#include <algorithm>
#include <charconv>

#include <fcntl.h>
#include <unistd.h>

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReadLimit = 1024 * 1024;
// Most of these files are shorter.
constexpr std::size_t kFirstRead = 4096;
constexpr std::string_view kSpaces = " \t\r\n";

// Mount points write space, tab, newline and backslash as three octal digits: "\040".
std::string UnescapeOctal(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    const char* digits = text.data() + i + 1;
    const bool escaped = text[i] == '\\' && i + 3 < text.size() &&
                         std::from_chars(digits, digits + 3, code, 8).ptr == digits + 3;
    plain += escaped ? static_cast<char>(code) : text[i];
    if (escaped) i += 3;
  }
  return plain;
}

// "36 35 98:0 /root /point rw,noatime shared:1 - ext3 /dev/sda1 rw": any number of optional fields
// stand before the dash.
std::optional<Mount> ParseMount(std::string_view line) {
  const std::size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) return std::nullopt;
  const std::vector<std::string_view> left = SplitWords(line.substr(0, dash));
  const std::vector<std::string_view> right = SplitWords(line.substr(dash + 3));
  if (left.size() < 6 || right.size() < 3) return std::nullopt;
  return Mount{.root = UnescapeOctal(left[3]),
               .point = UnescapeOctal(left[4]),
               .file_system = std::string(right[0]),
               .source = UnescapeOctal(right[1]),
               .options = std::string(right[2])};
}

std::vector<std::string_view> SplitAtAny(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t begin = text.find_first_not_of(separators);
    if (begin == std::string_view::npos) return parts;
    text.remove_prefix(begin);
    const std::size_t end = std::min(text.find_first_of(separators), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

}  // namespace

std::optional<std::string> ReadKernelFile(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  std::string text(kFirstRead, '\0');
  std::size_t used = 0;
  ssize_t got = 0;
  do {
    if (used == text.size()) text.resize(2 * used);
    got = ::read(descriptor, text.data() + used, text.size() - used);
    if (got > 0) used += static_cast<std::size_t>(got);
  } while (got > 0 && used < kReadLimit);
  ::close(descriptor);
  if (got < 0) return std::nullopt;
  text.resize(used);
  text.shrink_to_fit();
  return text;
}

std::optional<std::string> ReadKernelLine(const fs::path& path) {
  const std::optional<std::string> text = ReadKernelFile(path);
  if (!text) return std::nullopt;
  const std::string_view line = TrimSpaces(std::string_view(*text).substr(0, text->find('\n')));
  if (line.empty()) return std::nullopt;
  return std::string(line);
}

std::optional<std::uint64_t> ParseNumber(std::string_view text) {
  text = TrimSpaces(text);
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, number);
  if (status != std::errc() || rest != end) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> ReadKernelNumber(const fs::path& path) {
  const std::optional<std::string> line = ReadKernelLine(path);
  return line ? ParseNumber(*line) : std::nullopt;
}

std::string_view TrimSpaces(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

std::vector<std::string_view> SplitWords(std::string_view text) {
  return SplitAtAny(text, kSpaces);
}

std::vector<std::string_view> SplitLines(std::string_view text) { return SplitAtAny(text, "\n"); }

std::optional<std::string_view> FieldOf(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.starts_with(name)) continue;
    const std::string_view rest = line.substr(name.size());
    const std::size_t begin = rest.find_first_not_of(" \t");
    if (begin == std::string_view::npos) continue;
    if (rest[begin] == ':') return TrimSpaces(rest.substr(begin + 1));
    if (begin > 0) return TrimSpaces(rest);
  }
  return std::nullopt;
}

std::optional<Bytes> KilobyteField(std::string_view text, std::string_view name) {
  const std::optional<std::string_view> field = FieldOf(text, name);
  if (!field || !field->ends_with(" kB")) return std::nullopt;
  const std::optional<std::uint64_t> number = ParseNumber(field->substr(0, field->size() - 3));
  return number ? CheckedMul(*number, kKiB) : std::nullopt;
}

fs::path Below(const fs::path& root, const fs::path& path) { return root / path.relative_path(); }

std::vector<Mount> ReadMounts(const fs::path& root) {
  std::vector<Mount> mounts;
  const std::optional<std::string> text = ReadKernelFile(Below(root, "/proc/self/mountinfo"));
  if (!text) return mounts;
  for (const std::string_view line : SplitLines(*text)) {
    if (std::optional<Mount> mount = ParseMount(line)) mounts.push_back(std::move(*mount));
  }
  return mounts;
}

}  // namespace doppler
