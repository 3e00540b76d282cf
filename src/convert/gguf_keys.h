// The metadata keys of a GGUF's own architecture: those below "llama." or another name.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "format/gguf.h"

namespace doppler {

// Refers to the model's metadata, which must outlive it. Getters throw Error as GgufMetadata's do.
class GgufKeys {
 public:
  explicit GgufKeys(const GgufModel& model)
      : metadata_(model.metadata()), prefix_(metadata_.String("general.architecture") + ".") {}

  const std::string& where() const { return metadata_.where(); }
  bool Has(const char* key) const { return metadata_.Has(prefix_ + key); }
  int Int(const char* key) const { return metadata_.Int(prefix_ + key); }
  int Int(const char* key, int otherwise) const { return metadata_.Int(prefix_ + key, otherwise); }
  double Number(const char* key) const { return metadata_.Number(prefix_ + key); }
  double Number(const char* key, double otherwise) const {
    return metadata_.Number(prefix_ + key, otherwise);
  }
  bool Bool(const char* key, bool otherwise) const {
    return metadata_.Bool(prefix_ + key, otherwise);
  }
  std::string String(const char* key, const std::string& otherwise) const {
    return metadata_.String(prefix_ + key, otherwise);
  }
  bool IsList(const char* key) const {
    const auto found = metadata_.values().find(prefix_ + key);
    return found != metadata_.values().end() &&
           (std::holds_alternative<std::vector<std::uint64_t>>(found->second.data) ||
            std::holds_alternative<std::vector<std::int64_t>>(found->second.data));
  }
  std::vector<std::int64_t> Integers(const char* key) const {
    return metadata_.Integers(prefix_ + key);
  }

  // Throws Error unless `value`, of `key`, is the one that is supported.
  void Require(const char* key, int value, int supported) const {
    if (value == supported) return;
    Throw("{}: '{}{}' is {}, and only {} is supported for this model", where(), prefix_, key, value,
          supported);
  }

 private:
  const GgufMetadata& metadata_;
  std::string prefix_;
};

}  // namespace doppler
