// What ggml calls its number formats, and what a GGUF's metadata holds.
#include "format/gguf_types.h"

#include <array>
#include <limits>

#include "base/error.h"
#include "format/gguf.h"

namespace doppler {
namespace {

// Numbers and sizes: enum ggml_type and the block structures of ggml.
constexpr std::array<GgmlType, 35> kGgmlTypes = {{
    {0, "F32", 1, 4, DType::kF32},
    {1, "F16", 1, 2, DType::kF16},
    {2, "Q4_0", 32, 18, DType::kQ4_0},
    {3, "Q4_1", 32, 20, DType::kQ4_1},
    {6, "Q5_0", 32, 22, DType::kQ5_0},
    {7, "Q5_1", 32, 24, DType::kQ5_1},
    {8, "Q8_0", 32, 34, DType::kQ8_0},
    {9, "Q8_1", 32, 36, std::nullopt},
    {10, "Q2_K", 256, 84, DType::kQ2_K},
    {11, "Q3_K", 256, 110, DType::kQ3_K},
    {12, "Q4_K", 256, 144, DType::kQ4_K},
    {13, "Q5_K", 256, 176, DType::kQ5_K},
    {14, "Q6_K", 256, 210, DType::kQ6_K},
    {15, "Q8_K", 256, 292, std::nullopt},
    {16, "IQ2_XXS", 256, 66, DType::kIQ2_XXS},
    {17, "IQ2_XS", 256, 74, DType::kIQ2_XS},
    {18, "IQ3_XXS", 256, 98, DType::kIQ3_XXS},
    {19, "IQ1_S", 256, 50, DType::kIQ1_S},
    {20, "IQ4_NL", 32, 18, DType::kIQ4_NL},
    {21, "IQ3_S", 256, 110, DType::kIQ3_S},
    {22, "IQ2_S", 256, 82, DType::kIQ2_S},
    {23, "IQ4_XS", 256, 136, DType::kIQ4_XS},
    {24, "I8", 1, 1, std::nullopt},
    {25, "I16", 1, 2, std::nullopt},
    {26, "I32", 1, 4, std::nullopt},
    {27, "I64", 1, 8, std::nullopt},
    {28, "F64", 1, 8, std::nullopt},
    {29, "IQ1_M", 256, 56, DType::kIQ1_M},
    {30, "BF16", 1, 2, DType::kBf16},
    {34, "TQ1_0", 256, 54, std::nullopt},
    {35, "TQ2_0", 256, 66, std::nullopt},
    {39, "MXFP4", 32, 17, DType::kMxfp4},
    // Of the interleaved formats below, no longer written, the rows are as long as Q4_0's.
    {31, "Q4_0_4_4", 32, 18, std::nullopt},
    {32, "Q4_0_4_8", 32, 18, std::nullopt},
    {33, "Q4_0_8_8", 32, 18, std::nullopt},
}};

}  // namespace

const GgmlType* FindGgmlType(std::uint32_t number) {
  for (const GgmlType& type : kGgmlTypes) {
    if (type.number == number) return &type;
  }
  return nullptr;
}

std::optional<std::string_view> GgmlTypeName(std::uint32_t type) {
  const GgmlType* const found = FindGgmlType(type);
  if (found == nullptr) return std::nullopt;
  return found->name;
}

std::optional<DType> DTypeOfGgml(std::uint32_t type) {
  const GgmlType* const found = FindGgmlType(type);
  if (found == nullptr) return std::nullopt;
  return found->dtype;
}

std::optional<std::uint32_t> GgmlTypeOf(DType dtype) {
  for (const GgmlType& type : kGgmlTypes) {
    if (type.dtype == dtype) return type.number;
  }
  return std::nullopt;
}

const GgufValue& GgufMetadata::Value(const std::string& key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) Throw("{}: the metadata has no '{}'", where_, key);
  return found->second;
}

template <typename T>
const T& GgufMetadata::Get(const std::string& key, const char* kind) const {
  const T* const value = std::get_if<T>(&Value(key).data);
  if (value == nullptr) Throw("{}: the metadata's '{}' is not {}", where_, key, kind);
  return *value;
}

std::uint64_t GgufMetadata::Unsigned(const std::string& key) const {
  if (const auto* number = std::get_if<std::int64_t>(&Value(key).data)) {
    if (*number < 0) Throw("{}: the metadata's '{}' is {}, below 0", where_, key, *number);
    return static_cast<std::uint64_t>(*number);
  }
  return Get<std::uint64_t>(key, "an integer");
}

int GgufMetadata::Int(const std::string& key) const {
  const std::uint64_t number = Unsigned(key);
  if (number > static_cast<std::uint64_t>(std::numeric_limits<int>::max())) {
    Throw("{}: the metadata's '{}' is {}, which is out of range", where_, key, number);
  }
  return static_cast<int>(number);
}

double GgufMetadata::Number(const std::string& key) const {
  const GgufValue& value = Value(key);
  if (const auto* number = std::get_if<std::uint64_t>(&value.data)) {
    return static_cast<double>(*number);
  }
  if (const auto* number = std::get_if<std::int64_t>(&value.data)) {
    return static_cast<double>(*number);
  }
  return Get<double>(key, "a number");
}

bool GgufMetadata::Bool(const std::string& key) const { return Get<bool>(key, "true or false"); }

const std::string& GgufMetadata::String(const std::string& key) const {
  return Get<std::string>(key, "a string");
}

const std::vector<std::string>& GgufMetadata::Strings(const std::string& key) const {
  return Get<std::vector<std::string>>(key, "a list of strings");
}

const std::vector<double>& GgufMetadata::Numbers(const std::string& key) const {
  return Get<std::vector<double>>(key, "a list of numbers");
}

std::vector<std::int64_t> GgufMetadata::Integers(const std::string& key) const {
  const auto* numbers = std::get_if<std::vector<std::uint64_t>>(&Value(key).data);
  if (numbers == nullptr) return Get<std::vector<std::int64_t>>(key, "a list of integers");
  std::vector<std::int64_t> integers;
  integers.reserve(numbers->size());
  for (const std::uint64_t number : *numbers) {
    if (number >> 63 != 0) Throw("{}: the metadata's '{}' holds {}", where_, key, number);
    integers.push_back(static_cast<std::int64_t>(number));
  }
  return integers;
}

std::uint64_t GgufMetadata::Unsigned(const std::string& key, std::uint64_t otherwise) const {
  return Has(key) ? Unsigned(key) : otherwise;
}
int GgufMetadata::Int(const std::string& key, int otherwise) const {
  return Has(key) ? Int(key) : otherwise;
}
double GgufMetadata::Number(const std::string& key, double otherwise) const {
  return Has(key) ? Number(key) : otherwise;
}
bool GgufMetadata::Bool(const std::string& key, bool otherwise) const {
  return Has(key) ? Bool(key) : otherwise;
}
std::string GgufMetadata::String(const std::string& key, const std::string& otherwise) const {
  return Has(key) ? String(key) : otherwise;
}

}  // namespace doppler
