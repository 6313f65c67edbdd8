// Pictures as self-contained SVG: memory over one frame, and the Pareto front.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/markup.h"
#include "sim/report/report.h"
#include "sim/report/svg.h"

namespace pith::sim {
namespace svg {

std::string head(const std::string& title) {
  return fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1030 600\" font-family=\"system-ui,sans-serif\" font-size=\"12\">\n<rect width=\"1030\" height=\"600\" fill=\"#fff\"/>\n"
                     "<text x=\"{}\" y=\"26\" font-size=\"17\" fill=\"#1c2430\">{}</text>\n", kLeft, escape_xml(title));
}

double nice_step(double range) {
  const double power = std::pow(10.0, std::floor(std::log10(std::max(range, 1e-12) / 4)));
  for (double m : {5.0, 2.0}) {
    if (range / (m * power) >= 4) return m * power;
  }
  return power;
}

std::string text_at(double x, double y, const char* anchor, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" fill=\"#4a5568\">{}</text>\n", x, y, anchor, escape_xml(text));
}

std::string axes(double x_most, double y_most, const std::string& x_name, const std::string& y_name) {
  std::string out;
  for (double v = 0, step = nice_step(y_most); v <= y_most * 1.0001; v += step) {
    const double y = kTop + kHeight * (1 - v / y_most);
    out += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#e6eaf0\"/>\n", kLeft, kLeft + kWidth, y, y) + text_at(kLeft - 8, y + 4, "end", fmt::format("{:g}", v));
  }
  for (double v = 0, step = nice_step(x_most); v <= x_most * 1.0001; v += step) out += text_at(kLeft + kWidth * v / x_most, kTop + kHeight + 18, "middle", fmt::format("{:g}", v));
  return out + text_at(kLeft + kWidth, kTop + kHeight + 38, "end", x_name) + text_at(kLeft, kTop - 10, "end", y_name);
}

}  // namespace svg

using namespace svg;

std::string memory_svg(const Prepared& n, const Outcome& o, const chip::Device& d, const Setting& setting) {
  const double period = std::max(1 / o.fps, o.latency + o.post), capacity = static_cast<double>(std::max(d.memory_bytes(), n.work.memory.total)) / 1e6;
  const auto x = [&](double s) { return kLeft + kWidth * s / period; };
  const auto y = [&](double bytes) { return kTop + kHeight * (1 - bytes / 1e6 / capacity); };
  std::string out = head(fmt::format("{} on {}: memory over one frame at {:.1f} frames/s", n.name, d.name, o.fps)) + axes(period * 1e3, capacity, "ms", "MB");
  for (int k = 0; k < 4; ++k) {
    out += fmt::format("<rect x=\"{}\" y=\"36\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{}\"/>", 420 + 110 * k, kFill[k]) + text_at(438 + 110 * k, 46, "start", kOwner[k]);
  }
  const auto block = [&](const Occupancy& b) {
    const double width = std::max(x(std::min(b.to, period)) - x(b.from), 0.3);
    out += fmt::format("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\" fill-opacity=\"0.85\" stroke=\"#fff\" stroke-width=\"0.4\"><title>{}: {} bytes at {}, {:.3f} to {:.3f} ms</title></rect>\n",
                       x(b.from), y(static_cast<double>(b.span.end)), width, y(static_cast<double>(b.span.begin)) - y(static_cast<double>(b.span.end)), kFill[b.owner], escape_xml(b.name), b.span.end - b.span.begin,
                       b.span.begin, b.from * 1e3, b.to * 1e3);
  };
  const std::vector<Occupancy> all = occupancy(n, o, setting.point.mhz * 1e6);
  block({{n.work.memory.arena, n.work.memory.total}, 0, period, 3, "weights, asleep but for the layer that runs"});
  for (const Occupancy& b : all) block(b);
  // the next frame arrives where the network no longer is
  for (const Span& s : n.work.inputs) {
    double free_from = 0;
    for (const Occupancy& b : all) {
      if (b.span.overlaps(s)) free_from = std::max(free_from, b.to);
    }
    if (free_from < period)
      out += fmt::format("<polygon points=\"{0:.2f},{2:.2f} {1:.2f},{2:.2f} {1:.2f},{3:.2f}\" fill=\"{4}\" fill-opacity=\"0.55\"><title>the next frame arrives</title></polygon>\n", x(free_from), x(period),
                         y(static_cast<double>(s.begin)), y(static_cast<double>(s.end)), kFill[0]);
  }
  const double full = y(static_cast<double>(d.memory_bytes()));
  out += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#1c2430\" stroke-dasharray=\"5 3\"/>\n", kLeft, kLeft + kWidth, full, full);
  return out + text_at(kLeft + kWidth, full - 5, "end", fmt::format("memory of {}: {:.2f} MB", d.name, static_cast<double>(d.memory_bytes()) / 1e6)) + "</svg>\n";
}

void mark_front(std::vector<SweepPoint>& points) {
  for (SweepPoint& p : points) {
    p.front = p.fits && std::none_of(points.begin(), points.end(), [&](const SweepPoint& q) {
      const bool no_worse = q.fits && q.rate >= p.rate && q.milliwatts <= p.milliwatts && q.area <= p.area;
      return no_worse && (q.rate > p.rate || q.milliwatts < p.milliwatts || q.area < p.area);
    });
  }
}

std::string pareto_svg(const std::vector<SweepPoint>& points, const std::string& title) {
  double rate = 0, power = 0, area = 0;
  for (const SweepPoint& p : points) rate = std::max(rate, p.rate), power = std::max(power, p.milliwatts), area = std::max(area, p.area);
  rate *= 1.08, power *= 1.08;
  std::string out = head(title) + axes(rate, power, "inferences/s", "mW") + text_at(kLeft, 46, "start", "area of a disc: mm2 of SRAM; blue: nothing is better in all three; hollow: the network doesn't fit");
  for (const SweepPoint& p : points) {
    const double x = kLeft + kWidth * p.rate / rate, y = kTop + kHeight * (1 - p.milliwatts / power), r = 4 + 12 * std::sqrt(p.area / std::max(area, 1e-9));
    out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" fill=\"{}\" fill-opacity=\"0.55\" stroke=\"{}\"><title>{}: {:.1f}/s, {:.1f} mW, {:.2f} mm2{}</title></circle>\n", x, y, r,
                       !p.fits ? "none" : p.front ? kFill[1] : kFill[3], p.front ? kFill[1] : "#8b95a5", escape_xml(p.label), p.rate, p.milliwatts, p.area, p.fits ? "" : ", doesn't fit");
    const bool right = x > kLeft + 0.7 * kWidth;  // the label stays inside the picture
    if (p.front) out += text_at(right ? x - r - 3 : x + r + 3, y + 4, right ? "end" : "start", p.label);
  }
  return out + "</svg>\n";
}

}  // namespace pith::sim
