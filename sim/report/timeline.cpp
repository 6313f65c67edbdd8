// One frame by units: what the camera, the clusters, DMA and CPU do when, and how full the camera's buffer gets.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/markup.h"
#include "sim/report/report.h"
#include "sim/report/svg.h"

namespace pith::sim {

using namespace svg;

std::string timeline_svg(const Prepared& n, const Outcome& o, const chip::Device& d, const Setting& setting) {
  const double hz = setting.point.mhz * 1e6, period = std::max(1 / o.fps, o.latency + o.post),
               bottom = setting.camera ? 150 : 0;
  const size_t lanes = n.timing.units.size();
  const double lane = (kHeight - bottom) / static_cast<double>(lanes);
  const auto x = [&](double s) { return kLeft + kWidth * s / period; };
  std::string out = head(fmt::format("{} on {}: one frame at {:.1f} frames/s", n.name, d.name, o.fps));
  const auto bar = [&](size_t unit, double from, double to, const char* fill, const std::string& name) {
    out += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\"><title>{}, {:.3f} to {:.3f} "
        "ms</title></rect>\n",
        x(from), kTop + static_cast<double>(unit) * lane + 2, std::max(x(std::min(to, period)) - x(from), 0.25),
        lane - 4, fill, escape_xml(name), from * 1e3, to * 1e3);
  };
  for (size_t u = 0; u < lanes; ++u) {
    out += fmt::format("<rect x=\"{}\" y=\"{:.2f}\" width=\"{}\" height=\"{:.2f}\" fill=\"#f3f5f8\"/>", kLeft,
                       kTop + static_cast<double>(u) * lane + 2, kWidth, lane - 4);
    std::string name = n.timing.units[u];
    if (name.ends_with(" vector unit")) name.resize(name.size() - 5);
    out += text_at(kLeft - 6, kTop + static_cast<double>(u) * lane + lane / 2 + 4, "end",
                   name.starts_with("cluster ") ? name.substr(8) : name);
  }
  // what is closer together than a fifth of a pixel becomes one bar, named after its first operator
  std::vector<std::optional<Segment>> open(lanes);
  const auto close = [&](size_t unit) {
    const Segment& s = *open[unit];
    bar(unit, s.start / hz, s.end / hz,
        unit + 1 == lanes   ? kFill[0]
        : unit + 2 == lanes ? kFill[2]
                            : kFill[1],
        fmt::format("{} {}", s.op, n.work.ops[static_cast<size_t>(s.op)].name));
  };
  for (const Segment& s : n.timing.segments) {
    const size_t unit = static_cast<size_t>(s.unit);
    if (open[unit] && (s.start - open[unit]->end) / hz < 0.2 * period / kWidth) {
      open[unit]->end = std::max(open[unit]->end, s.end);
      continue;
    }
    if (open[unit]) close(unit);
    open[unit] = s;
  }
  for (size_t u = 0; u < lanes; ++u) {
    if (open[u]) close(u);
  }
  if (setting.camera && n.work.row_bytes == 0)
    bar(lanes - 1, 0, 1 / setting.camera->fps, kFill[0], "the next frame arrives, line by line");
  if (o.post > 0) bar(lanes - 2, o.latency, o.latency + o.post, kFill[2], "post-processing");
  for (double v = 0, step = nice_step(period * 1e3); v <= period * 1e3; v += step)
    out += text_at(x(v / 1e3), kTop + kHeight + 18, "middle", fmt::format("{:g}", v));
  out += text_at(kLeft + kWidth, kTop + kHeight + 38, "end", "ms");
  if (!setting.camera) return out + "</svg>\n";
  const CameraResult camera =
      simulate_camera(*setting.camera, n.work.input_bytes + n.work.row_bytes, d, setting.point.mhz);
  const double full = d.camera_fifo * 1024, base = kTop + kHeight, top = base - bottom + 30;
  const auto y = [&](double bytes) { return base - (base - top) * bytes / full; };
  std::string points = fmt::format("{:.1f},{:.1f}", x(0), base);
  const size_t lines = camera.levels.size(), step = std::max<size_t>(1, lines / 400);
  for (size_t i = 0; i < lines; i += step) {
    double most = 0;
    for (size_t k = i; k < std::min(lines, i + step); ++k) most = std::max(most, camera.levels[k]);
    const double at = (static_cast<double>(i) + 1) / static_cast<double>(lines) / setting.camera->fps;
    if (at <= period) points += fmt::format(" {:.1f},{:.1f}", x(at), y(most));
  }
  points += fmt::format(" {:.1f},{:.1f}", x(std::min(period, 1 / setting.camera->fps)), base);
  out += fmt::format("<polygon points=\"{}\" fill=\"{}\" fill-opacity=\"0.6\"/>\n", points, kFill[0]);
  out += fmt::format(
      "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#1c2430\" stroke-dasharray=\"5 3\"/>", kLeft,
      kLeft + kWidth, top);
  return out +
         text_at(kLeft, top - 6, "start",
                 fmt::format("camera's line buffer: at most {:.0f} of {:.0f} bytes wait; {:.0f} x {:.0f} at {:g}/s, "
                             "{:.0f} million pixels/s arrive, {:.0f} are taken",
                             camera.fullest, full, setting.camera->width, setting.camera->height, setting.camera->fps,
                             camera.pixel_rate / 1e6, d.camera_pixel_rate * setting.point.mhz)) +
         "</svg>\n";
}

}  // namespace pith::sim
