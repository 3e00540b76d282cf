// What a run did with its experts, written down: which ones each layer of each pass used, and when.
//
// The file is a Chrome trace (JSON object format), which a browser's trace viewer opens: one span
// for the experts of each layer, one for what came between two of them. Its `otherData` describes
// the model, so that `doppler replay` can page the same uses through another cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/stopwatch.h"
#include "io/file.h"
#include "model/forward.h"

namespace doppler {

// The shape of what is paged.
struct TraceModel {
  std::string name;
  int experts_per_token = 0;
  std::vector<int> experts_of_layer;         // 0 for a layer without experts
  std::vector<Bytes> record_bytes_of_layer;  // of one record

  std::size_t Records() const;
  Bytes TotalBytes() const;
};

// One layer's experts in one pass.
struct TraceUse {
  int layer = 0;
  int tokens = 0;            // of the pass; 1 in decode
  std::vector<int> experts;  // distinct, in the order in which they were computed
};

struct ExpertTrace {
  TraceModel model;
  std::vector<TraceUse> uses;
};

// Reads and validates. `where` names the file in messages. Throws Error.
ExpertTrace ParseTrace(std::string_view json, const std::string& where);

// Writes a trace while a model runs. What it buffers is small and of fixed size.
class TraceWriter {
 public:
  // Creates the file. Throws Error if it exists or cannot be written, as the other functions do.
  TraceWriter(const std::filesystem::path& path, const TraceModel& model);
  // Ends the file, unless Finish did.
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  void Add(const ExpertPass& pass);
  // Ends the file and makes sure that all of it was written.
  void Finish();

 private:
  void Append(std::string_view text);
  void Flush();
  double Microseconds(Clock::time_point time) const;

  File file_;
  std::string buffer_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point last_end_ = start_;
  LayerId last_layer_{-1};
  bool finished_ = false;
};

}  // namespace doppler
