#include "format/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "format/json.h"

namespace doppler {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr Bytes kLengthBytes = 8;
constexpr Bytes kMaxJsonBytes = 100'000'000;  // the format's own limit
constexpr std::size_t kMaxSafetensorsDims = 16;

struct DtypeSize {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array<DtypeSize, 16> kDtypeSizes = {{{"BOOL", 1},
                                                    {"U8", 1},
                                                    {"I8", 1},
                                                    {"F8_E5M2", 1},
                                                    {"F8_E4M3", 1},
                                                    {"F8_E8M0", 1},
                                                    {"I16", 2},
                                                    {"U16", 2},
                                                    {"F16", 2},
                                                    {"BF16", 2},
                                                    {"I32", 4},
                                                    {"U32", 4},
                                                    {"F32", 4},
                                                    {"F64", 8},
                                                    {"I64", 8},
                                                    {"U64", 8}}};

std::optional<std::uint64_t> SizeOfDtype(std::string_view name) {
  for (const DtypeSize& dtype : kDtypeSizes) {
    if (dtype.name == name) return dtype.bytes;
  }
  return std::nullopt;
}

std::uint64_t ReadLength(std::span<const std::byte> bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  return length;
}

void CheckHeaderLength(Bytes length, Bytes file_size, const std::string& where) {
  if (length > kMaxJsonBytes || length > file_size - kLengthBytes) {
    Throw(
        "{}: its header claims {} bytes, but the file has {}; it is no safetensors file or it is "
        "truncated, fetch it again",
        where, length, file_size);
  }
}

void RequireLengthBytes(Bytes file_size, const std::string& where) {
  if (file_size >= kLengthBytes) return;
  Throw("{}: {} bytes are too few for a safetensors file; fetch it again", where, file_size);
}

std::vector<std::int64_t> ReadShape(const JsonReader& json) {
  json.RequireArray();
  if (json.value().size() > kMaxSafetensorsDims)
    json.Fail("more than {} dimensions", kMaxSafetensorsDims);
  std::vector<std::int64_t> shape;
  for (std::size_t dim = 0; dim < json.value().size(); ++dim) {
    const JsonReader extent = json.Element(dim);
    if (extent.Unsigned() >> 62 != 0) extent.Fail("{} is too large", extent.Unsigned());
    shape.push_back(static_cast<std::int64_t>(extent.Unsigned()));
  }
  return shape;
}

void CheckSize(const JsonReader& json, const SafetensorsTensor& tensor) {
  std::optional<Bytes> needed = SizeOfDtype(tensor.dtype);
  if (!needed) return;  // an unknown dtype is an error for whoever wants that tensor
  for (const std::int64_t extent : tensor.shape) {
    if (needed) needed = CheckedMul(*needed, static_cast<std::uint64_t>(extent));
  }
  if (needed != tensor.size) {
    json.Fail("its {} bytes do not fit its shape in {}; the file is damaged", tensor.size,
              tensor.dtype);
  }
}

SafetensorsTensor ReadTensor(const JsonReader& json, Bytes data_start, Bytes data_size) {
  json.RequireOnly({"dtype", "shape", "data_offsets"});
  SafetensorsTensor tensor;
  tensor.dtype = json.Member("dtype").String();
  tensor.shape = ReadShape(json.Member("shape"));
  const JsonReader offsets = json.Member("data_offsets");
  offsets.RequireArray();
  if (offsets.value().size() != 2) offsets.Fail("this must be a list of two offsets");
  const Bytes begin = offsets.Element(0).Unsigned();
  const Bytes end = offsets.Element(1).Unsigned();
  if (begin > end || end > data_size) {
    offsets.Fail("{} to {} is not inside the {} bytes of data; the file is truncated or damaged",
                 begin, end, data_size);
  }
  tensor.offset = data_start + begin;
  tensor.size = end - begin;
  CheckSize(json, tensor);
  return tensor;
}

// The format allows neither holes nor overlaps.
void CheckCoverage(const SafetensorsTensors& tensors, Bytes data_start, Bytes file_size,
                   const std::string& where) {
  std::vector<std::pair<Bytes, Bytes>> ranges;
  for (const auto& [name, tensor] : tensors) {
    ranges.emplace_back(tensor.offset, tensor.offset + tensor.size);
  }
  std::sort(ranges.begin(), ranges.end());
  Bytes covered = data_start;
  for (const auto& [begin, end] : ranges) {
    if (begin != covered) {
      Throw("{}: tensors {} at byte {}; the file is damaged", where,
            begin < covered ? "overlap" : "leave a hole", std::min(begin, covered));
    }
    covered = end;
  }
  if (covered != file_size) {
    Throw("{}: the tensors end at byte {} but the file has {} bytes; it is damaged", where, covered,
          file_size);
  }
}

std::string HeaderJson(std::span<const SafetensorsOutput> tensors) {
  nlohmann::json header = nlohmann::json::object();
  Bytes offset = 0;
  for (const SafetensorsOutput& tensor : tensors) {
    const bool fresh =
        header
            .emplace(tensor.name,
                     nlohmann::json{{"dtype", tensor.dtype},
                                    {"shape", tensor.shape},
                                    {"data_offsets", {offset, offset + tensor.values.size()}}})
            .second;
    DOPPLER_CHECK(fresh);
    offset += tensor.values.size();
  }
  std::string text = header.dump();
  text.resize(AlignUp(text.size(), kLengthBytes), ' ');
  return text;
}

void CheckOutput(const SafetensorsOutput& tensor) {
  std::uint64_t size = SizeOfDtype(tensor.dtype).value_or(0);
  for (const std::int64_t extent : tensor.shape) size *= static_cast<std::uint64_t>(extent);
  DOPPLER_CHECK(size == tensor.values.size());
}

}  // namespace

SafetensorsTensors ParseSafetensorsHeader(std::string_view header, Bytes file_size,
                                          const std::string& where) {
  RequireLengthBytes(file_size, where);
  CheckHeaderLength(header.size(), file_size, where);
  const nlohmann::json document =
      ParseStrictJson(header, where, {.size = kMaxJsonBytes, .depth = 8});
  const JsonReader top(document, where);
  top.RequireObject();
  const Bytes data_start = kLengthBytes + header.size();
  SafetensorsTensors tensors;
  for (const auto& item : document.items()) {
    const JsonReader entry = top.Member(item.key());
    if (item.key() == "__metadata__") {
      entry.RequireObject();
    } else {
      tensors.emplace(item.key(), ReadTensor(entry, data_start, file_size - data_start));
    }
  }
  CheckCoverage(tensors, data_start, file_size, where);
  return tensors;
}

SafetensorsTensors ParseSafetensors(std::span<const std::byte> file, const std::string& where) {
  RequireLengthBytes(file.size(), where);
  const Bytes length = ReadLength(file);
  CheckHeaderLength(length, file.size(), where);
  const auto* text = reinterpret_cast<const char*>(file.data()) + kLengthBytes;
  return ParseSafetensorsHeader({text, length}, file.size(), where);
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path, OpenMode::kRead) {
  const std::string where = path.string();
  const Bytes size = file_.Size();
  RequireLengthBytes(size, where);
  std::array<std::byte, kLengthBytes> length_bytes;
  file_.ReadAt(0, length_bytes);
  const Bytes length = ReadLength(length_bytes);
  CheckHeaderLength(length, size, where);
  std::string header(length, '\0');
  file_.ReadAt(kLengthBytes, std::as_writable_bytes(std::span(header)));
  tensors_ = ParseSafetensorsHeader(header, size, where);
}

const SafetensorsTensor& SafetensorsFile::Tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) Throw("{} has no tensor '{}'", file_.path().string(), name);
  return found->second;
}

std::vector<std::byte> SafetensorsFile::Read(const std::string& name,
                                             std::string_view dtype) const {
  const SafetensorsTensor& tensor = Tensor(name);
  if (tensor.dtype != dtype) {
    Throw("{}: the tensor '{}' is {}, not {} as is needed here", file_.path().string(), name,
          tensor.dtype, dtype);
  }
  std::vector<std::byte> bytes(tensor.size);
  file_.ReadAt(tensor.offset, bytes);
  return bytes;
}

void WriteSafetensors(const std::filesystem::path& path,
                      std::span<const SafetensorsOutput> tensors) {
  for (const SafetensorsOutput& tensor : tensors) CheckOutput(tensor);
  const std::string header = HeaderJson(tensors);
  const std::uint64_t length = header.size();
  File file(path, OpenMode::kCreate);
  try {
    file.Write(std::as_bytes(std::span(&length, 1)));
    file.Write(std::as_bytes(std::span(header)));
    for (const SafetensorsOutput& tensor : tensors) file.Write(tensor.values);
    file.Sync();
  } catch (const Error&) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    throw;
  }
}

}  // namespace doppler
