#include "format/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "format/gguf_types.h"

namespace doppler {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr Bytes kMaxHeaderBytes = 64 * kMiB;  // bounds what damaged counts can make us reserve
constexpr std::size_t kMaxNameLength = 512;
constexpr std::uint32_t kMaxDims = 4;
constexpr int kMaxNesting = 4;
constexpr Bytes kMaxAlignment = kMiB;

enum class ValueType : std::uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

// Reads forward through the beginning of a file, a window at a time.
class HeaderReader {
 public:
  HeaderReader(ReadBytes read, Bytes size, const std::string& where)
      : read_(read), size_(size), limit_(std::min(size, kMaxHeaderBytes)), where_(where) {}

  Bytes position() const { return position_; }
  Bytes file_size() const { return size_; }
  const std::string& where() const { return where_; }

  template <typename T>
  T Number() {
    T value;
    Take(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  std::string String(Bytes longest) {
    const auto length = Number<std::uint64_t>();
    if (length > longest) Fail("a string has {} bytes", length);
    RequireLeft(length, 1);
    std::string text(length, '\0');
    Take(std::as_writable_bytes(std::span(text)));
    return text;
  }
  std::string String() { return String(kMaxHeaderBytes); }

  // Throws Error unless `count` things of at least `bytes_each` can still follow.
  void RequireLeft(std::uint64_t count, Bytes bytes_each) {
    if (count <= (limit_ - position_) / bytes_each) return;
    if (limit_ < size_) Fail("the header is larger than {}", FormatSize(kMaxHeaderBytes));
    Fail("the header ends too early; the file is truncated");
  }

  template <typename... Args>
  [[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) const {
    Throw("{}, at byte {}: {}; it is damaged, fetch it again", where_, position_,
          fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  void Take(std::span<std::byte> out) {
    RequireLeft(out.size(), 1);
    while (!out.empty()) {
      if (position_ == window_start_ + window_.size()) LoadWindow();
      const Bytes at = position_ - window_start_;
      const std::size_t part = std::min<std::size_t>(out.size(), window_.size() - at);
      std::memcpy(out.data(), window_.data() + at, part);
      out = out.subspan(part);
      position_ += part;
    }
  }

  void LoadWindow() {
    constexpr Bytes kWindowBytes = 256 * kKiB;
    window_start_ = position_;
    window_.resize(std::min(kWindowBytes, limit_ - position_));
    read_(window_start_, window_);
  }

  ReadBytes read_;
  Bytes size_;
  Bytes limit_;  // what lies beyond is not header
  std::string where_;
  Bytes position_ = 0;
  Bytes window_start_ = 0;
  std::vector<std::byte> window_;
};

template <typename Stored, typename Wide>
std::vector<Wide> NumberList(HeaderReader& reader, std::uint64_t count) {
  reader.RequireLeft(count, sizeof(Stored));
  std::vector<Wide> list;
  list.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    list.push_back(static_cast<Wide>(reader.Number<Stored>()));
  }
  return list;
}

std::uint8_t ReadBoolByte(HeaderReader& reader) {
  const auto byte = reader.Number<std::uint8_t>();
  if (byte > 1) reader.Fail("a boolean is {}", byte);
  return byte;
}

GgufValue ReadValue(HeaderReader& reader, ValueType type, int depth);

GgufValue ReadArray(HeaderReader& reader, int depth) {
  const auto type = static_cast<ValueType>(reader.Number<std::uint32_t>());
  const auto count = reader.Number<std::uint64_t>();
  switch (type) {
    case ValueType::kUint8:
      return {NumberList<std::uint8_t, std::uint64_t>(reader, count)};
    case ValueType::kInt8:
      return {NumberList<std::int8_t, std::int64_t>(reader, count)};
    case ValueType::kUint16:
      return {NumberList<std::uint16_t, std::uint64_t>(reader, count)};
    case ValueType::kInt16:
      return {NumberList<std::int16_t, std::int64_t>(reader, count)};
    case ValueType::kUint32:
      return {NumberList<std::uint32_t, std::uint64_t>(reader, count)};
    case ValueType::kInt32:
      return {NumberList<std::int32_t, std::int64_t>(reader, count)};
    case ValueType::kUint64:
      return {NumberList<std::uint64_t, std::uint64_t>(reader, count)};
    case ValueType::kInt64:
      return {NumberList<std::int64_t, std::int64_t>(reader, count)};
    case ValueType::kFloat32:
      return {NumberList<float, double>(reader, count)};
    case ValueType::kFloat64:
      return {NumberList<double, double>(reader, count)};
    case ValueType::kBool: {
      reader.RequireLeft(count, 1);
      std::vector<std::uint64_t> list;
      for (std::uint64_t i = 0; i < count; ++i) list.push_back(ReadBoolByte(reader));
      return {std::move(list)};
    }
    case ValueType::kString: {
      reader.RequireLeft(count, sizeof(std::uint64_t));
      std::vector<std::string> list;
      list.reserve(count);
      for (std::uint64_t i = 0; i < count; ++i) list.push_back(reader.String());
      return {std::move(list)};
    }
    case ValueType::kArray: {
      constexpr Bytes kEmptyArrayBytes = 12;
      reader.RequireLeft(count, kEmptyArrayBytes);
      std::vector<GgufValue> list;
      for (std::uint64_t i = 0; i < count; ++i) {
        list.push_back(ReadValue(reader, ValueType::kArray, depth));
      }
      return {std::move(list)};
    }
  }
  reader.Fail("a list has elements of the unknown type {}", static_cast<std::uint32_t>(type));
}

GgufValue ReadValue(HeaderReader& reader, ValueType type, int depth) {
  switch (type) {
    case ValueType::kUint8:
      return {std::uint64_t{reader.Number<std::uint8_t>()}};
    case ValueType::kInt8:
      return {std::int64_t{reader.Number<std::int8_t>()}};
    case ValueType::kUint16:
      return {std::uint64_t{reader.Number<std::uint16_t>()}};
    case ValueType::kInt16:
      return {std::int64_t{reader.Number<std::int16_t>()}};
    case ValueType::kUint32:
      return {std::uint64_t{reader.Number<std::uint32_t>()}};
    case ValueType::kInt32:
      return {std::int64_t{reader.Number<std::int32_t>()}};
    case ValueType::kUint64:
      return {reader.Number<std::uint64_t>()};
    case ValueType::kInt64:
      return {reader.Number<std::int64_t>()};
    case ValueType::kFloat32:
      return {double{reader.Number<float>()}};
    case ValueType::kFloat64:
      return {reader.Number<double>()};
    case ValueType::kBool:
      return {ReadBoolByte(reader) == 1};
    case ValueType::kString:
      return {reader.String()};
    case ValueType::kArray:
      if (depth >= kMaxNesting) reader.Fail("lists are nested more than {} deep", kMaxNesting);
      return ReadArray(reader, depth + 1);
  }
  reader.Fail("a value has the unknown type {}", static_cast<std::uint32_t>(type));
}

void ReadMagic(HeaderReader& reader) {
  const std::string& where = reader.where();
  if (reader.file_size() < 24 || reader.Number<std::uint32_t>() != kMagic) {
    Throw("{}: this is not a GGUF file", where);
  }
  const auto version = reader.Number<std::uint32_t>();
  if (version == 2 || version == 3) return;
  if ((version & 0xffff) == 0) Throw("{}: big-endian GGUF files are not supported", where);
  Throw(
      "{}: GGUF version {} is not supported, only 2 and 3 are; get a newer conversion of the model",
      where, version);
}

std::map<std::string, GgufValue> ReadMetadata(HeaderReader& reader, std::uint64_t count) {
  constexpr Bytes kSmallestPair = 13;  // length of the key, type, one byte
  reader.RequireLeft(count, kSmallestPair);
  std::map<std::string, GgufValue> values;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string key = reader.String(kMaxNameLength);
    const auto type = static_cast<ValueType>(reader.Number<std::uint32_t>());
    if (!values.emplace(key, ReadValue(reader, type, 0)).second) {
      reader.Fail("the metadata has '{}' twice", key);
    }
  }
  return values;
}

// Reads one entry of the tensor list; its offset still counts from the data's beginning.
GgufTensor ReadTensor(HeaderReader& reader, const std::string& name) {
  GgufTensor tensor;
  const auto dims = reader.Number<std::uint32_t>();
  if (dims == 0 || dims > kMaxDims) reader.Fail("tensor '{}' has {} dimensions", name, dims);
  for (std::uint32_t dim = 0; dim < dims; ++dim) {
    const auto extent = reader.Number<std::uint64_t>();
    if (extent == 0 || extent >> 62 != 0) reader.Fail("tensor '{}' is {} wide", name, extent);
    tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(extent));
  }
  tensor.type = reader.Number<std::uint32_t>();
  const GgmlType* const type = FindGgmlType(tensor.type);
  if (type == nullptr) {
    Throw("{}: tensor '{}' has the unknown format number {}", reader.where(), name, tensor.type);
  }
  const auto row = static_cast<std::uint64_t>(tensor.shape.back());
  if (row % type->block_elements != 0) {
    reader.Fail("tensor '{}' has rows of {} values, which {} cannot hold", name, row, type->name);
  }
  std::optional<Bytes> size = CheckedMul(row / type->block_elements, type->block_bytes);
  for (std::size_t dim = 0; dim + 1 < tensor.shape.size(); ++dim) {
    if (size) size = CheckedMul(*size, static_cast<std::uint64_t>(tensor.shape[dim]));
  }
  if (!size) reader.Fail("tensor '{}' is too large", name);
  tensor.size = *size;
  tensor.offset = reader.Number<std::uint64_t>();
  return tensor;
}

void PlaceTensors(std::map<std::string, GgufTensor>& tensors, const HeaderReader& reader,
                  Bytes alignment) {
  const Bytes data_start = AlignUp(reader.position(), alignment);
  std::vector<std::pair<Bytes, Bytes>> ranges;
  for (auto& [name, tensor] : tensors) {
    if (tensor.offset % alignment != 0) {
      reader.Fail("tensor '{}' starts at {}, not a multiple of {}", name, tensor.offset, alignment);
    }
    const std::optional<Bytes> begin = CheckedAdd(data_start, tensor.offset);
    const std::optional<Bytes> end = begin ? CheckedAdd(*begin, tensor.size) : std::nullopt;
    if (!end || *end > reader.file_size()) {
      Throw("{}: tensor '{}' reaches beyond the end of the file; it is truncated, fetch it again",
            reader.where(), name);
    }
    tensor.offset = *begin;
    ranges.emplace_back(*begin, *end);
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) {
      reader.Fail("two tensors overlap at byte {}", ranges[i].first);
    }
  }
}

}  // namespace

GgufHeader ParseGguf(ReadBytes read, Bytes size, const std::string& where) {
  HeaderReader reader(read, size, where);
  ReadMagic(reader);
  const auto tensor_count = reader.Number<std::uint64_t>();
  const auto value_count = reader.Number<std::uint64_t>();
  GgufHeader header = {.metadata = {ReadMetadata(reader, value_count), where}, .tensors = {}};
  constexpr Bytes kSmallestTensor = 32;  // length of the name, dimensions, one extent, type, offset
  reader.RequireLeft(tensor_count, kSmallestTensor);
  for (std::uint64_t i = 0; i < tensor_count; ++i) {
    const std::string name = reader.String(kMaxNameLength);
    if (!header.tensors.emplace(name, ReadTensor(reader, name)).second) {
      reader.Fail("the tensor '{}' stands twice", name);
    }
  }
  const std::uint64_t alignment = header.metadata.Unsigned("general.alignment", 32);
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    reader.Fail("'general.alignment' is {}", alignment);
  }
  PlaceTensors(header.tensors, reader, alignment);
  return header;
}

}  // namespace doppler
