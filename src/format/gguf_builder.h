// Builds GGUF files in memory: small ones whole, for tests, and of others all that comes before the
// tensors' bytes.
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
  void AddString(const std::string& key, std::string_view value) { Append(AddKey(key, 8), value); }
  void AddStrings(const std::string& key, const std::vector<std::string>& list) {
    std::string& encoded = AddArrayHead(key, 8, list.size());
    for (const std::string& item : list) Append(encoded, std::string_view(item));
  }
  void AddInt32s(const std::string& key, const std::vector<std::int32_t>& list) {
    std::string& encoded = AddArrayHead(key, 5, list.size());
    for (const std::int32_t item : list) Append(encoded, item);
  }
  void AddBools(const std::string& key, const std::vector<bool>& list) {
    std::string& encoded = AddArrayHead(key, 7, list.size());
    for (const bool item : list) Append(encoded, std::uint8_t{item});
  }
  // A value of any type, already encoded.
  void AddRaw(const std::string& key, std::uint32_t type, std::string_view encoded) {
    AddKey(key, type).append(encoded);
  }
  // Takes back every value whose key begins with `prefix`.
  void RemoveValues(const std::string& prefix) {
    std::erase_if(values_, [&](const Value& value) { return value.key.starts_with(prefix); });
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
    Append(file, std::uint64_t{values_.size()});
    for (const Value& value : values_) {
      Append(file, std::string_view(value.key));
      file += value.encoded;
    }
    for (const Info& info : infos_) AppendInfo(file, info);
    file.resize(AlignUp(file.size(), alignment_));
    return file + data_;
  }

 private:
  struct Value {
    std::string key;
    std::string encoded;  // type and value
  };
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
  // Begins a value; its bytes follow its type.
  std::string& AddKey(const std::string& key, std::uint32_t type) {
    values_.push_back({key, {}});
    Append(values_.back().encoded, type);
    return values_.back().encoded;
  }
  template <typename T>
  void AddValue(const std::string& key, std::uint32_t type, T value) {
    Append(AddKey(key, type), value);
  }
  std::string& AddArrayHead(const std::string& key, std::uint32_t type, std::uint64_t count) {
    std::string& encoded = AddKey(key, 9);
    Append(encoded, type);
    Append(encoded, count);
    return encoded;
  }

  Bytes alignment_;
  std::vector<Value> values_;
  std::vector<Info> infos_;
  std::string data_;
};

}  // namespace doppler
