// See curve.h. The picture: quality of real files over the ratio on a logarithmic axis; below it the modelled loss, with the
// same points as they were modelled.
#include "cli/curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"

namespace pith::cli {
namespace {

constexpr double kWidth = 760, kLeft = 70, kRight = 20, kTop = 46, kPanel = 250, kGap = 60;

struct Axis {
  double low, high, from, to;
  double operator()(double v) const { return from + (v - low) / std::max(1e-12, high - low) * (to - from); }
};

std::string text_at(double x, double y, const std::string& anchor, const std::string& what, const std::string& more = "") {
  return fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='{}'{}>{}</text>\n", x, y, anchor, more, what);
}

std::string line_at(double x1, double y1, double x2, double y2, const std::string& colour) {
  return fmt::format("<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' stroke='{}'/>\n", x1, y1, x2, y2, colour);
}

// Ratios at 1, 2, 3, 5 x 10^k within the axis, which is in log2.
std::string ratio_ticks(const Axis& x, double top, double bottom) {
  std::string out;
  for (double decade : {1.0, 10.0, 100.0, 1000.0}) {
    for (double digit : {1.0, 2.0, 3.0, 5.0}) {
      const double v = std::log2(decade * digit);
      if (v < x.low - 1e-9 || v > x.high + 1e-9) continue;
      out += line_at(x(v), top, x(v), bottom, "#e4e4e4") + text_at(x(v), bottom + 18, "middle", fmt::format("{:.0f}x", decade * digit));
    }
  }
  return out;
}

double step_for(double span) {
  const double raw = span / 5, power = std::pow(10, std::floor(std::log10(std::max(raw, 1e-9))));
  for (double d : {1.0, 2.0, 5.0}) {
    if (d * power >= raw) return d * power;
  }
  return 10 * power;
}

std::string value_ticks(const Axis& y, const std::string& unit) {
  std::string out;
  const double step = step_for(y.high - y.low);
  for (double v = std::ceil(y.low / step) * step; v <= y.high + 1e-9; v += step) {
    out += line_at(kLeft, y(v), kWidth - kRight, y(v), "#e4e4e4") + text_at(kLeft - 8, y(v) + 4, "end", fmt::format("{:g}{}", std::abs(v) < 1e-9 ? 0.0 : v, unit));
  }
  return out;
}

std::string polyline(const std::vector<std::pair<double, double>>& points, const std::string& colour) {
  std::string list;
  for (const auto& [x, y] : points) list += fmt::format("{:.1f},{:.1f} ", x, y);
  return fmt::format("<polyline points='{}' fill='none' stroke='{}' stroke-width='2'/>\n", list, colour);
}

std::string quality_panel(const Curve& c, const Axis& x, double top) {
  const bool answers = std::all_of(c.measured.begin(), c.measured.end(), [](const CurvePoint& p) { return p.same >= 0; });
  const auto value = [&](const CurvePoint& p) { return answers ? p.same : p.sqnr; };
  double low = 1e9, high = -1e9;
  for (const CurvePoint& p : c.measured) low = std::min(low, value(p)), high = std::max(high, value(p));
  const double room = std::max(0.05 * (high - low), 0.1);
  const Axis y{low - room, answers ? std::min(100.0, high + room) : high + room, top + kPanel, top};
  std::string out = ratio_ticks(x, top, top + kPanel) + value_ticks(y, answers ? " %" : " dB");
  out += text_at(kLeft, top - 10, "start", answers ? "same answer as float, held-back samples (measured on the file)" : "signal to noise against float, held-back samples (measured on the file)", " font-weight='bold'");
  std::vector<std::pair<double, double>> points;
  for (const CurvePoint& p : c.measured) points.emplace_back(x(std::log2(p.ratio)), y(value(p)));
  out += polyline(points, "#1f6fb2");
  for (size_t i = 0; i < points.size(); ++i) {
    const CurvePoint& p = c.measured[i];
    out += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='4' fill='#1f6fb2'><title>{:.0f} bytes, {:.2f}x, cosine {:.5f}, {:.2f} dB{}</title></circle>\n", points[i].first, points[i].second, p.bytes, p.ratio,
                       p.cosine, p.sqnr, p.same < 0 ? "" : fmt::format(", same answer {:.2f} %", p.same));
  }
  return out;
}

std::string loss_panel(const Curve& c, const Axis& x, double top) {
  std::vector<CurvePoint> shown;
  for (const CurvePoint& p : c.modelled) {
    if (p.loss > 0 && std::log2(p.ratio) >= x.low && std::log2(p.ratio) <= x.high) shown.push_back(p);
  }
  if (shown.empty()) return "";
  double low = 1e9, high = -1e9;
  for (const CurvePoint& p : shown) low = std::min(low, std::log10(p.loss)), high = std::max(high, std::log10(p.loss));
  for (const CurvePoint& p : c.measured) low = std::min(low, std::log10(std::max(p.loss, 1e-12))), high = std::max(high, std::log10(std::max(p.loss, 1e-12)));
  const Axis y{low - 0.1, high + 0.1, top + kPanel, top};
  std::string out = ratio_ticks(x, top, top + kPanel) + value_ticks(y, "");
  out += text_at(kLeft, top - 10, "start", "log10 of the modelled loss: the hull of all choices, and the files", " font-weight='bold'");
  std::vector<std::pair<double, double>> points;
  for (const CurvePoint& p : shown) points.emplace_back(x(std::log2(p.ratio)), y(std::log10(p.loss)));
  out += polyline(points, "#b25d1f");
  for (const CurvePoint& p : c.measured) out += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='4' fill='#1f6fb2'/>\n", x(std::log2(p.ratio)), y(std::log10(std::max(p.loss, 1e-12))));
  return out;
}

}  // namespace

std::string curve_csv(const Curve& c) {
  std::string out = "kind,bytes,ratio,loss,cosine,sqnr_db,same_answer\n";
  for (const CurvePoint& p : c.measured) out += fmt::format("measured,{:.0f},{:.3f},{:.6g},{:.6f},{:.3f},{}\n", p.bytes, p.ratio, p.loss, p.cosine, p.sqnr, p.same < 0 ? "" : fmt::format("{:.3f}", p.same));
  for (const CurvePoint& p : c.modelled) out += fmt::format("modelled,{:.0f},{:.3f},{:.6g},,,\n", p.bytes, p.ratio, p.loss);
  return out;
}

std::string curve_svg(const Curve& c) {
  double low = 1e9, high = -1e9;
  for (const CurvePoint& p : c.measured) low = std::min(low, std::log2(p.ratio)), high = std::max(high, std::log2(p.ratio));
  const Axis x{low - 0.1, high + 0.1, kLeft, kWidth - kRight};
  const double height = kTop + 2 * kPanel + kGap + 50;
  std::string out = fmt::format("<svg xmlns='http://www.w3.org/2000/svg' width='{0:.0f}' height='{1:.0f}' viewBox='0 0 {0:.0f} {1:.0f}' font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n", kWidth, height);
  out += quality_panel(c, x, kTop) + loss_panel(c, x, kTop + kPanel + kGap);
  out += text_at((kLeft + kWidth - kRight) / 2, height - 8, "middle", "times smaller than float32, the whole file");
  return out + "</svg>\n";
}

Result<void> write_curve(const Curve& curve, const std::string& path) {
  const bool csv = path.ends_with(".csv");
  if (!csv && !path.ends_with(".svg")) return usage_error(fmt::format("--curve '{}' is neither .csv nor .svg; choose one of them", path));
  const std::string text = csv ? curve_csv(curve) : curve_svg(curve);
  return write_file(path, std::string_view(text));
}

}  // namespace pith::cli
