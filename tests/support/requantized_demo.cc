#include "support/requantized_demo.h"

#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "backend/quantize.h"
#include "base/thread_pool.h"
#include "format/gguf.h"
#include "format/gguf_builder.h"
#include "io/file.h"
#include "support/model_case.h"

namespace doppler {
namespace {

template <class T>
std::string Encoded(std::uint32_t type, const std::vector<T>& list) {
  const std::uint64_t count = list.size();
  std::string out(reinterpret_cast<const char*>(&type), sizeof(type));
  out.append(reinterpret_cast<const char*>(&count), sizeof(count));
  return out.append(reinterpret_cast<const char*>(list.data()), count * sizeof(T));
}

// Numbers were widened when they were read, and stay so.
void AddValue(const std::string& key, const GgufValue& value, GgufBuilder& to) {
  constexpr std::uint32_t kArray = 9;
  std::visit(
      [&](const auto& data) {
        using T = std::decay_t<decltype(data)>;
        if constexpr (std::is_same_v<T, std::uint64_t>) {
          to.AddUint32(key, static_cast<std::uint32_t>(data));
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          to.AddInt32(key, static_cast<std::int32_t>(data));
        } else if constexpr (std::is_same_v<T, double>) {
          to.AddFloat(key, static_cast<float>(data));
        } else if constexpr (std::is_same_v<T, bool>) {
          to.AddBool(key, data);
        } else if constexpr (std::is_same_v<T, std::string>) {
          to.AddString(key, data);
        } else if constexpr (std::is_same_v<T, std::vector<std::uint64_t>>) {
          to.AddRaw(key, kArray, Encoded(10, data));
        } else if constexpr (std::is_same_v<T, std::vector<std::int64_t>>) {
          to.AddRaw(key, kArray, Encoded(11, data));
        } else if constexpr (std::is_same_v<T, std::vector<double>>) {
          to.AddRaw(key, kArray, Encoded(12, data));
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          to.AddStrings(key, data);
        }
      },
      value.data);
}

std::vector<std::byte> InFormat(const GgufModel& model, const GgufTensor& tensor, DType type,
                                ThreadPool& pool) {
  std::vector<std::byte> from(tensor.size);
  model.files()[tensor.file].ReadAt(tensor.offset, from);
  if (*DTypeOfGgml(tensor.type) == type) return from;
  const auto cols = static_cast<std::uint64_t>(tensor.shape.back());
  const DType from_type = *DTypeOfGgml(tensor.type);
  const Bytes from_row = *RowBytes(from_type, cols);
  const Bytes to_row = *RowBytes(type, cols);
  const std::size_t rows = from.size() / from_row;
  std::vector<std::byte> to(rows * to_row);
  pool.ParallelFor(rows, 64, [&](std::size_t begin, std::size_t end) {
    std::vector<float> values(cols);
    for (std::size_t row = begin; row < end; ++row) {
      Dequantize(from_type, std::span(from).subspan(row * from_row, from_row), values);
      Quantize(type, values, std::span(to).subspan(row * to_row, to_row));
    }
  });
  return to;
}

}  // namespace

void WriteRequantizedDemo(DType type, bool with_experts, const std::filesystem::path& file) {
  const GgufModel model(DemoCheckpoint());
  GgufBuilder builder;
  for (const auto& [key, value] : model.metadata().values()) AddValue(key, value, builder);
  ThreadPool pool(2);
  for (const auto& [name, tensor] : model.tensors()) {
    const DType from = *DTypeOfGgml(tensor.type);
    const bool is_expert = name.find("_exps.") != std::string::npos;
    // Only matrices are quantised.
    const bool is_kept = IsFloat(from) || (is_expert && !with_experts);
    const DType to = is_kept ? from : type;
    const std::vector<std::uint64_t> dims(tensor.shape.rbegin(), tensor.shape.rend());
    builder.AddTensor(name, dims, *GgmlTypeOf(to), InFormat(model, tensor, to, pool));
  }
  const std::string bytes = builder.Build();
  File out(file, OpenMode::kCreate);
  out.Write(std::as_bytes(std::span(bytes)));
}

}  // namespace doppler
