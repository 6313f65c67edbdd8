// A curve of bytes against quality as CSV or as one self-contained SVG.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace pith::cli {

struct CurvePoint {
  double bytes = 0, ratio = 0, loss = 0;
  double cosine = 0, sqnr = 0, same = -1;  // of measured points; same: percent of equal answers, -1: can't be compared
};
struct Curve {
  std::vector<CurvePoint> measured;  // real files
  std::vector<CurvePoint> modelled;  // the hull of all choices: bytes, ratio and loss only
};

// By the ending of `path`: .csv or .svg.
Result<void> write_curve(const Curve& curve, const std::string& path);
std::string curve_csv(const Curve& curve);
std::string curve_svg(const Curve& curve);

}  // namespace pith::cli
