#include "apps/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

namespace doppler {
namespace {

constexpr double kWidth = 480;
constexpr double kHeight = 320;
constexpr double kLeft = 56;
constexpr double kRight = 16;
constexpr double kTop = 36;
constexpr double kBottom = 44;
constexpr std::array<std::string_view, 6> kColors = {"#0072b2", "#d55e00", "#009e73",
                                                     "#cc79a7", "#e69f00", "#56b4e9"};

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// From 0 in equal steps of 1, 2 or 5 times a power of ten, about five of them, beyond `largest`.
struct Axis {
  explicit Axis(double largest) {
    const double rough = std::max(largest, 1e-9) / 5;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
      step = factor * power;
      if (step >= rough) break;
    }
    count = static_cast<int>(std::ceil(largest / step));
  }
  double Part(double value) const { return value / (step * std::max(count, 1)); }

  double step = 1;
  int count = 1;
};

struct Plot {
  double left = 0;  // of the whole chart
  Axis x;
  Axis y;

  double X(double value) const { return left + kLeft + x.Part(value) * (kWidth - kLeft - kRight); }
  double Y(double value) const {
    return kHeight - kBottom - y.Part(value) * (kHeight - kTop - kBottom);
  }
};

std::string Label(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     Escaped(text));
}

std::string Segment(double x1, double y1, double x2, double y2, std::string_view color) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2,
      y2, color);
}

std::string Grid(const Plot& plot) {
  std::string svg;
  const double bottom = plot.Y(0);
  for (int i = 0; i <= plot.x.count; ++i) {
    const double value = i * plot.x.step;
    svg += Segment(plot.X(value), bottom, plot.X(value), kTop, i == 0 ? "#444" : "#ddd");
    svg += Label(plot.X(value), bottom + 16, "middle", fmt::format("{:.6g}", value));
  }
  for (int i = 0; i <= plot.y.count; ++i) {
    const double value = i * plot.y.step;
    svg += Segment(plot.X(0), plot.Y(value), plot.left + kWidth - kRight, plot.Y(value),
                   i == 0 ? "#444" : "#ddd");
    svg += Label(plot.X(0) - 6, plot.Y(value) + 4, "end", fmt::format("{:.6g}", value));
  }
  return svg;
}

std::string Curve(const Plot& plot, const ChartSeries& series, std::string_view color) {
  std::string path;
  std::string dots;
  for (const auto& [x, y] : series.points) {
    path += fmt::format("{:.1f},{:.1f} ", plot.X(x), plot.Y(y));
    dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", plot.X(x),
                        plot.Y(y), color);
  }
  return fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n",
                     path, color) +
         dots;
}

double Largest(const Chart& chart, bool of_x) {
  double largest = 0;
  for (const ChartSeries& series : chart.series) {
    for (const auto& [x, y] : series.points) largest = std::max(largest, of_x ? x : y);
  }
  return largest;
}

std::string Draw(const Chart& chart, double left) {
  const Plot plot{.left = left, .x = Axis(Largest(chart, true)), .y = Axis(Largest(chart, false))};
  std::string svg = Grid(plot);
  svg += Label(left + kWidth / 2, 20, "middle", chart.title);
  svg += Label(left + (kLeft + kWidth - kRight) / 2, kHeight - 8, "middle", chart.x_label);
  svg += fmt::format(
      "<text transform=\"translate({:.1f},{:.1f}) rotate(-90)\" "
      "text-anchor=\"middle\">{}</text>\n",
      left + 14, (kTop + kHeight - kBottom) / 2, Escaped(chart.y_label));
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const std::string_view color = kColors[i % kColors.size()];
    svg += Curve(plot, chart.series[i], color);
    const double y = kTop + 14 + 16 * static_cast<double>(i);
    svg += Segment(left + kLeft + 8, y - 4, left + kLeft + 28, y - 4, color);
    svg += Label(left + kLeft + 34, y, "start", chart.series[i].name);
  }
  return svg;
}

}  // namespace

std::string ChartsToSvg(const std::vector<Chart>& charts) {
  const double width = kWidth * static_cast<double>(charts.size());
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
      width, kHeight);
  for (std::size_t i = 0; i < charts.size(); ++i)
    svg += Draw(charts[i], kWidth * static_cast<double>(i));
  return svg + "</svg>\n";
}

}  // namespace doppler
