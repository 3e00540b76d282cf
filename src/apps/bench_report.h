// What `doppler bench` shows of its measurements: lines, JSON, CSV and a drawing.
#pragma once

#include <string>
#include <vector>

#include "apps/report.h"
#include "engine/benchmark.h"

namespace doppler {

// One budget and one length of context.
struct BenchPoint {
  Bytes budget = 0;
  int context = 0;      // tokens before decode
  std::string problem;  // why it could not be measured; then nothing below means anything
  Benchmark measured;
  MemoryPlan plan;
  int speculates = 0;       // experts that were guessed for each layer
  Bytes peak_resident = 0;  // most physical memory of the process so far
};

// One line for each phase.
std::string BenchPointText(const BenchPoint& point);
OrderedJson BenchPointToJson(const BenchPoint& point);

// A table of points, as text and as CSV with a line of names.
std::string BenchTableText(const std::vector<BenchPoint>& points);
std::string BenchTableCsv(const std::vector<BenchPoint>& points);

// Decode and prefill speed over the budget, a line for each context, as SVG.
std::string BenchChart(const std::string& model, const std::vector<BenchPoint>& points);

}  // namespace doppler
