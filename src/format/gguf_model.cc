// A GGUF model that is one file or a set of files.
#include <charconv>

#include "base/error.h"
#include "format/gguf.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// "x-00002-of-00003.gguf" cut into its parts.
struct PartName {
  std::string stem;  // "x"
  int number = 0;    // from 1
  int count = 0;

  std::string FileName(int part) const {
    return fmt::format("{}-{:05}-of-{:05}.gguf", stem, part, count);
  }
};

std::optional<int> FiveDigits(std::string_view digits) {
  int value = 0;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (status != std::errc() || end != digits.data() + 5 || value < 1) return std::nullopt;
  return value;
}

std::optional<PartName> ParsePartName(std::string_view name) {
  constexpr std::string_view kTail = "-00001-of-00003.gguf";
  if (name.size() <= kTail.size() || !name.ends_with(".gguf")) return std::nullopt;
  const std::string_view tail = name.substr(name.size() - kTail.size());
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-") return std::nullopt;
  const std::optional<int> number = FiveDigits(tail.substr(1, 5));
  const std::optional<int> count = FiveDigits(tail.substr(10, 5));
  if (!number || !count || *number > *count) return std::nullopt;
  return PartName{std::string(name.substr(0, name.size() - kTail.size())), *number, *count};
}

}  // namespace

GgufModel::GgufModel(const fs::path& path) {
  const std::optional<PartName> part = ParsePartName(path.filename().string());
  AddPart(part ? path.parent_path() / part->FileName(1) : path);
  const int count = metadata_.Int("split.count", 1);
  if (count <= 1) return;
  if (!part || part->count != count) {
    Throw(
        "{}: this is one of {} parts of a model; keep the parts' names as they were published "
        "(NAME-00001-of-{:05}.gguf)",
        path.string(), count, count);
  }
  for (int number = 2; number <= count; ++number) {
    AddPart(path.parent_path() / part->FileName(number));
  }
  const std::uint64_t expected = metadata_.Unsigned("split.tensors.count", tensors_.size());
  if (expected != tensors_.size()) {
    Throw("{}: the {} parts hold {} tensors instead of {}; fetch them again", path.string(), count,
          tensors_.size(), expected);
  }
}

void GgufModel::AddPart(const fs::path& path) {
  const std::string where = path.string();
  if (!files_.empty() && !fs::exists(path)) {
    Throw("{}: this part of a split model is missing; put all parts into one folder", where);
  }
  const std::size_t index = files_.size();
  files_.emplace_back(path, OpenMode::kRead);
  const File& file = files_.back();
  const auto read = [&file](Bytes offset, std::span<std::byte> out) { file.ReadAt(offset, out); };
  GgufHeader header = ParseGguf(read, file.Size(), where);
  if (header.metadata.Unsigned("split.no", index) != index) {
    Throw("{}: this is part {} of a split model, but its name says {}", where,
          header.metadata.Unsigned("split.no") + 1, index + 1);
  }
  for (auto& [name, tensor] : header.tensors) {
    tensor.file = index;
    if (!tensors_.emplace(name, tensor).second) {
      Throw("{}: the tensor '{}' is in an earlier part too", where, name);
    }
  }
  if (index == 0) metadata_ = std::move(header.metadata);
}

}  // namespace doppler
