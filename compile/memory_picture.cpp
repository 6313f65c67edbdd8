// See memory_picture.h.
#include "compile/memory_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/markup.h"

namespace pith {
namespace {

struct Style {
  const char *name, *fill;
};
constexpr Style kStyles[] = {{"input", "#4c9f70"}, {"activation", "#5b8def"}, {"state", "#b07fd8"}, {"decoding", "#e0a030"}, {"output", "#d9605a"}};

constexpr double kLeft = 86, kTop = 64, kWidth = 1000, kHeight = 480, kBottom = 60;

std::string size_text(double bytes) {
  if (bytes >= 1e6) return fmt::format("{:.4g} MB", bytes / 1e6);
  return bytes >= 1e3 ? fmt::format("{:.4g} kB", bytes / 1e3) : fmt::format("{:.0f} B", bytes);
}

// 1, 2 or 5 times a power of ten, so that there are four to nine ticks.
double tick_step(double range) {
  const double power = std::pow(10.0, std::floor(std::log10(std::max(range, 1.0) / 4)));
  for (double m : {5.0, 2.0, 1.0}) {
    if (range / (m * power) >= 4) return m * power;
  }
  return power;
}

}  // namespace

std::string memory_svg(const std::vector<PictureBuffer>& buffers, const PictureOptions& options) {
  int64_t peak = 1, steps = static_cast<int64_t>(std::max<size_t>(options.steps.size(), 1));
  for (const PictureBuffer& b : buffers) {
    peak = std::max(peak, b.offset + b.size);
    steps = std::max(steps, b.upper);
  }
  const double x_unit = kWidth / static_cast<double>(steps), y_unit = kHeight / static_cast<double>(peak);
  const auto x = [&](int64_t step) { return kLeft + static_cast<double>(step) * x_unit; };
  const auto y = [&](int64_t address) { return kTop + kHeight - static_cast<double>(address) * y_unit; };
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"system-ui,sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0:.0f}\" height=\"{1:.0f}\" fill=\"#fff\"/>\n<text x=\"{2}\" y=\"24\" font-size=\"17\" fill=\"#1c2430\">{3}</text>\n",
      kLeft + kWidth + 30, kTop + kHeight + kBottom, kLeft, escape_xml(options.title));
  double legend = kLeft;
  for (const Style& s : kStyles) {
    out += fmt::format("<rect x=\"{:.1f}\" y=\"36\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{}\"/><text x=\"{:.1f}\" y=\"46\" fill=\"#4a5568\">{}</text>\n", legend, s.fill, legend + 17, s.name);
    legend += 100;
  }
  const double step = tick_step(static_cast<double>(peak));
  for (double at = 0; at <= static_cast<double>(peak); at += step) {
    const double line = y(static_cast<int64_t>(at));
    out += fmt::format("<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#e6eaf0\"/><text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\" fill=\"#4a5568\">{5}</text>\n",
                       kLeft, kLeft + kWidth, line, kLeft - 8, line + 4, size_text(at));
  }
  for (const PictureBuffer& b : buffers) {
    const double width = x(b.upper) - x(b.lower), height = static_cast<double>(b.size) * y_unit;
    const Style& s = kStyles[static_cast<int>(b.kind)];
    out += fmt::format("<g><title>{}: {} at {}, steps {} to {}</title><rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\" fill-opacity=\"0.82\" stroke=\"#fff\" stroke-width=\"0.7\"/>",
                       escape_xml(b.name), size_text(static_cast<double>(b.size)), b.offset, b.lower, b.upper - 1, x(b.lower), y(b.offset + b.size), width, height, s.fill);
    const size_t room = static_cast<size_t>(width / 7);
    if (height > 14 && room >= 4) {
      const std::string shown = b.name.size() > room ? b.name.substr(0, room - 1) + "…" : b.name;
      out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"#fff\" font-size=\"11\" pointer-events=\"none\">{}</text>", x(b.lower) + 4, y(b.offset + b.size) + 12, escape_xml(shown));
    }
    out += "</g>\n";
  }
  out += fmt::format("<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#1c2430\" stroke-dasharray=\"5 3\"/><text x=\"{1}\" y=\"{3:.1f}\" text-anchor=\"end\" fill=\"#1c2430\">peak {4} bytes</text>\n",
                     kLeft, kLeft + kWidth, y(peak), y(peak) - 5, peak);
  // operator names where they fit: every n-th
  const int64_t every = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(14 / x_unit)));
  for (int64_t i = 0; i < static_cast<int64_t>(options.steps.size()); i += every) {
    const double at = x(i) + x_unit * 0.5;
    out += fmt::format("<text transform=\"translate({:.1f},{:.1f}) rotate(35)\" fill=\"#4a5568\" font-size=\"10\">{}</text>\n", at, kTop + kHeight + 12, escape_xml(options.steps[static_cast<size_t>(i)]));
  }
  return out + "</svg>\n";
}

}  // namespace pith
