// Resize in all its opsets, Upsample, GridSample.
//
// Opset 10's Resize and Upsample know only scales; they sample asymmetrically and, for nearest, round down. Opset 11 brought
// coordinate modes, sizes and regions of interest, 18 axes, aspect-ratio policies and antialiasing, 19 the symmetric half
// pixel. Opset 11's tf_half_pixel_for_nn, (x + 0.5) / scale rounded down, is half_pixel rounded with ties up.
#include <fmt/format.h>

#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::ValueId;

bool given(const NodeContext& n, size_t i) { return n.has_input(i) && !(n.content(i) && n.content(i)->count() == 0); }

Result<void> resize_by_scales(NodeContext& n, ValueId x, const std::vector<double>& scales) {
  std::string mode = n.text("mode", "nearest");
  if (mode == "bilinear") mode = "linear";
  Attributes attributes{{"scales", scales}, {"mode", mode}, {"coordinate_transformation_mode", std::string("asymmetric")}};
  if (mode == "nearest") attributes["nearest_mode"] = std::string("floor");
  return n.emit(Op::kResize, {x}, std::move(attributes));
}

Result<void> upsample(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  if (n.opset < 9) return resize_by_scales(n, x, n.reals("scales"));
  PITH_TRY(const std::vector<double> scales, n.constant_reals(1, "scales"));
  return resize_by_scales(n, x, scales);
}

Result<void> resize(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  if (n.opset < 11) {
    PITH_TRY(const std::vector<double> scales, n.constant_reals(1, "scales"));
    return resize_by_scales(n, x, scales);
  }
  Attributes a = n.copy("mode:s coordinate_transformation_mode:s nearest_mode:s cubic_coeff_a:f exclude_outside:i "
                        "extrapolation_value:f antialias:i keep_aspect_ratio_policy:s axes:I");
  if (n.text("coordinate_transformation_mode", "") == "tf_half_pixel_for_nn") {
    a["coordinate_transformation_mode"] = std::string("half_pixel");
    a["nearest_mode"] = std::string("round_prefer_ceil");
  }
  if (n.text("coordinate_transformation_mode", "") == "tf_crop_and_resize") {
    PITH_TRY(a["roi"], n.constant_reals(1, "roi"));
  }
  if (given(n, 3)) {
    PITH_TRY(a["sizes"], n.constant_integers(3, "sizes"));
  } else if (given(n, 2)) {
    PITH_TRY(a["scales"], n.constant_reals(2, "scales"));
  } else {
    return usage_error("it has neither scales nor sizes; export the model again");
  }
  return n.emit(Op::kResize, {x}, std::move(a));
}

}  // namespace

void add_resize_rules(Rules& r) {
  r["Resize"] = {resize};
  r["Upsample"] = {upsample};
  r["GridSample"] = {nullptr, Op::kGridSample, "mode:s padding_mode:s align_corners:i"};
}

}  // namespace pith::importers
