// GGUF files (versions 2 and 3): metadata and tensor list, checked in full when a file is opened,
// so that every tensor listed lies inside its file.
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "backend/dtype.h"
#include "base/bytes.h"
#include "base/function_ref.h"
#include "io/file.h"

namespace doppler {

// Numbers are widened; a list of booleans is a list of 0 and 1.
struct GgufValue {
  std::variant<std::uint64_t, std::int64_t, double, bool, std::string, std::vector<std::uint64_t>,
               std::vector<std::int64_t>, std::vector<double>, std::vector<std::string>,
               std::vector<GgufValue>>
      data;
};

// The key-value pairs. Getters throw Error, naming the file and the key, if a value is missing or
// of another kind; those with a second argument give that instead of a missing value.
class GgufMetadata {
 public:
  GgufMetadata() = default;
  GgufMetadata(std::map<std::string, GgufValue> values, std::string where)
      : values_(std::move(values)), where_(std::move(where)) {}

  bool Has(const std::string& key) const { return values_.contains(key); }
  const std::map<std::string, GgufValue>& values() const { return values_; }
  const std::string& where() const { return where_; }

  std::uint64_t Unsigned(const std::string& key) const;
  std::uint64_t Unsigned(const std::string& key, std::uint64_t otherwise) const;
  // An integer that is not negative and fits.
  int Int(const std::string& key) const;
  int Int(const std::string& key, int otherwise) const;
  double Number(const std::string& key) const;  // an integer will do
  double Number(const std::string& key, double otherwise) const;
  bool Bool(const std::string& key) const;
  bool Bool(const std::string& key, bool otherwise) const;
  const std::string& String(const std::string& key) const;
  std::string String(const std::string& key, const std::string& otherwise) const;
  const std::vector<std::string>& Strings(const std::string& key) const;
  std::vector<std::int64_t> Integers(const std::string& key) const;
  const std::vector<double>& Numbers(const std::string& key) const;

 private:
  const GgufValue& Value(const std::string& key) const;
  template <typename T>
  const T& Get(const std::string& key, const char* kind) const;

  std::map<std::string, GgufValue> values_;
  std::string where_;
};

struct GgufTensor {
  std::uint32_t type = 0;           // ggml's number of the format
  std::vector<std::int64_t> shape;  // outermost first: GGUF's own order reversed
  Bytes offset = 0;                 // in its file
  Bytes size = 0;
  std::size_t file = 0;  // of a split set
};

// The name of a ggml format: "Q4_K"; nothing if there is no such format.
std::optional<std::string_view> GgmlTypeName(std::uint32_t type);
// The formats that Doppler can compute with.
std::optional<DType> DTypeOfGgml(std::uint32_t type);
// ggml's number of a format; nothing for the hub's own formats.
std::optional<std::uint32_t> GgmlTypeOf(DType dtype);

struct GgufHeader {
  GgufMetadata metadata;
  std::map<std::string, GgufTensor> tensors;
};

// Reads a file of `size` bytes through `read`, which fills a span from an offset. Throws Error,
// which names `where`.
using ReadBytes = FunctionRef<void(Bytes offset, std::span<std::byte> out)>;
GgufHeader ParseGguf(ReadBytes read, Bytes size, const std::string& where);

// One GGUF model: a file, or the set of files that it was split into.
class GgufModel {
 public:
  // Opens `path` and, if it is x-00001-of-00003.gguf or another part of such a set, the others
  // beside it.
  explicit GgufModel(const std::filesystem::path& path);

  const GgufMetadata& metadata() const { return metadata_; }  // of the first part
  const std::map<std::string, GgufTensor>& tensors() const { return tensors_; }
  const std::vector<File>& files() const { return files_; }  // [GgufTensor::file]
  std::vector<File> TakeFiles() && { return std::move(files_); }

 private:
  void AddPart(const std::filesystem::path& path);

  GgufMetadata metadata_;
  std::map<std::string, GgufTensor> tensors_;
  std::vector<File> files_;
};

}  // namespace doppler
