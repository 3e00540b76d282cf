// Builds small GGUF files in memory, for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace doppler {

class GgufBuilder {
 public:
  explicit GgufBuilder(Bytes alignment = 32) : alignment_(alignment) {}

  void AddUint32(const std::string& key, std::uint32_t value) { AddValue(key, 4, value); }
  void AddUint16(const std::string& key, std::uint16_t value) { AddValue(key, 2, value); }
  void AddInt32(const std::string& key, std::int32_t value) { AddValue(key, 5, value); }
  void AddFloat(const std::string& key, float value) { AddValue(key, 6, value); }
  void AddBool(const std::string& key, bool value) { AddValue(key, 7, std::uint8_t{value}); }
  void AddString(const std::string& key, std::string_view value) {
    AddKey(key, 8);
    Append(values_, value);
  }
  void AddStrings(const std::string& key, const std::vector<std::string>& list) {
    AddArrayHead(key, 8, list.size());
    for (const std::string& item : list) Append(values_, item);
  }
  void AddInt32s(const std::string& key, const std::vector<std::int32_t>& list) {
    AddArrayHead(key, 5, list.size());
    for (const std::int32_t item : list) Append(values_, item);
  }
  // A value of any type, already encoded.
  void AddRaw(const std::string& key, std::uint32_t type, std::string_view encoded) {
    AddKey(key, type);
    values_.append(encoded);
  }

  // `dims` innermost first, as GGUF has them.
  void AddTensor(const std::string& name, const std::vector<std::uint64_t>& dims,
                 std::uint32_t type, std::span<const std::byte> bytes) {
    AddTensorAt(name, dims, type, data_.size());
    AppendData(bytes);
  }
  // A tensor list entry without bytes.
  void AddTensorAt(const std::string& name, const std::vector<std::uint64_t>& dims,
                   std::uint32_t type, std::uint64_t offset) {
    infos_.push_back({name, dims, type, offset});
  }
  // Gives a tensor that was added another format and bytes.
  void ReplaceTensor(const std::string& name, std::uint32_t type,
                     std::span<const std::byte> bytes) {
    for (Info& info : infos_) {
      if (info.name != name) continue;
      info.type = type;
      info.offset = data_.size();
    }
    AppendData(bytes);
  }

  std::string Build(std::uint32_t version = 3) const {
    std::string file = "GGUF";
    Append(file, version);
    Append(file, std::uint64_t{infos_.size()});
    Append(file, value_count_);
    file += values_;
    for (const Info& info : infos_) AppendInfo(file, info);
    file.resize(AlignUp(file.size(), alignment_));
    return file + data_;
  }

 private:
  struct Info {
    std::string name;
    std::vector<std::uint64_t> dims;
    std::uint32_t type = 0;
    std::uint64_t offset = 0;
  };

  static void AppendInfo(std::string& to, const Info& info) {
    Append(to, std::string_view(info.name));
    Append(to, static_cast<std::uint32_t>(info.dims.size()));
    for (const std::uint64_t dim : info.dims) Append(to, dim);
    Append(to, info.type);
    Append(to, info.offset);
  }
  void AppendData(std::span<const std::byte> bytes) {
    data_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    data_.resize(AlignUp(data_.size(), alignment_));
  }
  template <typename T>
  static void Append(std::string& to, T value) requires std::is_arithmetic_v<T> {
    to.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static void Append(std::string& to, std::string_view text) {
    Append(to, std::uint64_t{text.size()});
    to.append(text);
  }
  void AddKey(const std::string& key, std::uint32_t type) {
    Append(values_, std::string_view(key));
    Append(values_, type);
    ++value_count_;
  }
  template <typename T>
  void AddValue(const std::string& key, std::uint32_t type, T value) {
    AddKey(key, type);
    Append(values_, value);
  }
  void AddArrayHead(const std::string& key, std::uint32_t type, std::uint64_t count) {
    AddKey(key, 9);
    Append(values_, type);
    Append(values_, count);
  }

  Bytes alignment_;
  std::uint64_t value_count_ = 0;
  std::vector<Info> infos_;
  std::string values_;
  std::string data_;
};

}  // namespace doppler
