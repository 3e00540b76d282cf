#include "format/safetensors_stream.h"

#include <nlohmann/json.hpp>

#include "backend/dtype.h"
#include "base/error.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

fs::path RequireNew(const fs::path& path) {
  if (fs::exists(fs::symlink_status(path))) {
    Throw("'{}' exists already and is not overwritten; remove it or choose another name",
          path.string());
  }
  return path;
}

}  // namespace

F32SafetensorsWriter::F32SafetensorsWriter(const fs::path& path, const std::string& name,
                                           const std::vector<std::int64_t>& shape)
    : path_(RequireNew(path)),
      partial_(path.string() + ".partial"),
      file_(partial_, OpenMode::kCreate),
      missing_(ElementCount(shape)) {
  const nlohmann::json header = {
      {name,
       {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {0, missing_ * sizeof(float)}}}}};
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the format's way to align the data
  const std::uint64_t length = text.size();
  file_.Write(std::as_bytes(std::span(&length, 1)));
  file_.Write(std::as_bytes(std::span(text)));
}

F32SafetensorsWriter::~F32SafetensorsWriter() {
  std::error_code ignored;
  fs::remove(partial_, ignored);
}

void F32SafetensorsWriter::Append(std::span<const float> values) {
  DOPPLER_CHECK(values.size() <= missing_);
  file_.Write(std::as_bytes(values));
  missing_ -= values.size();
}

void F32SafetensorsWriter::Finish() {
  DOPPLER_CHECK(missing_ == 0);
  file_.Sync();
  RequireNew(path_);
  fs::rename(partial_, path_);
}

}  // namespace doppler
