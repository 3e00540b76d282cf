// Line charts as SVG.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace doppler {

struct ChartSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x, y; in the order of x
};

struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<ChartSeries> series;
};

// One drawing of charts side by side. Both axes begin at 0.
std::string ChartsToSvg(const std::vector<Chart>& charts);

}  // namespace doppler
