// Resize2d: ONNX's Resize over height and width, channels last.
//
// 8-bit pictures: nearest neighbours move codes, linear interpolation is numerics::interpolate_u8. Float pictures:
// a separable filter (linear or cubic, widened for antialiasing), weights normalised over the taps.
#include <string.h>

#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

enum Ints { kMode, kCoordinates, kRounding, kExcludeOutside, kAntialias, kKeepSize };
enum Reals { kScaleH, kScaleW, kCubicA, kExtrapolation, kRoi };

struct Axis {
  int64_t in, out;
  double scale, roi_begin, roi_end;
  int32_t coordinates;
};

Axis axis_of(const Op& op, int which) {
  const int dim = 1 + which;
  Axis a{op.inputs[0]->dims[dim], op.outputs[0]->dims[dim],   op.reals[which],
         op.reals[kRoi + which],  op.reals[kRoi + 2 + which], op.ints[kCoordinates]};
  const double quotient = static_cast<double>(a.out) / static_cast<double>(a.in);
  if (op.ints[kKeepSize] || static_cast<float>(quotient) == op.reals[which]) a.scale = quotient;
  return a;
}

// The input coordinate of output position o.
double coordinate(const Axis& a, int64_t o) {
  const double x = static_cast<double>(o), in = static_cast<double>(a.in), out = static_cast<double>(a.out);
  const auto unscaled = [&](double y) { return a.scale == out / in ? y * in / out : y / a.scale; };
  const double width = a.scale * in;
  switch (a.coordinates) {
    case PITH_COORDINATES_ALIGN_CORNERS:
      return width == 1 ? 0 : x * (in - 1) / (width - 1);
    case PITH_COORDINATES_ASYMMETRIC:
      return unscaled(x);
    case PITH_COORDINATES_PYTORCH_HALF_PIXEL:
      return out > 1 ? unscaled(x + 0.5) - 0.5 : 0;
    case PITH_COORDINATES_HALF_PIXEL_SYMMETRIC:
      return in / 2 * (1 - out / width) + unscaled(x + 0.5) - 0.5;
    case PITH_COORDINATES_TF_CROP_AND_RESIZE: {
      const double span = (a.roi_end - a.roi_begin) * (in - 1);
      return a.roi_begin * (in - 1) + (width == 1 ? span / 2 : x * span / (width - 1));
    }
    default:
      return unscaled(x + 0.5) - 0.5;
  }
}

int64_t clamp_index(double x, int64_t size) {
  return !(x > 0) ? 0 : x > static_cast<double>(size - 1) ? size - 1 : static_cast<int64_t>(x);
}

int64_t nearest(const Axis& a, int32_t rounding, int64_t o) {
  const double x = coordinate(a, o);
  switch (rounding) {
    case PITH_ROUND_FLOOR:
      return clamp_index(numerics::floor(x), a.in);
    case PITH_ROUND_CEIL:
      return clamp_index(numerics::ceil(x), a.in);
    case PITH_ROUND_PREFER_CEIL:
      return clamp_index(numerics::floor(x + 0.5), a.in);
    default:
      return clamp_index(numerics::ceil(x - 0.5), a.in);
  }
}

// Two neighbours and the weight of the second.
struct Pair {
  int64_t first, second;
  double fraction;
};
Pair neighbours(const Axis& a, int64_t o) {
  double x = coordinate(a, o);
  const double most = static_cast<double>(a.in - 1);
  x = x < 0 ? 0 : x > most ? most : x;
  const int64_t first = static_cast<int64_t>(x);
  return {first, first + 1 < a.in ? first + 1 : first, x - static_cast<double>(first)};
}

// The filter around x along one axis; weight(k) is not yet normalised.
struct Filter {
  double x, stretch, cubic_a;
  int64_t begin, end, size;
  bool cubic, exclude_outside;
  double weight(int64_t k) const {
    if (exclude_outside && (k < 0 || k >= size)) return 0;
    const double d = numerics::abs((static_cast<double>(k) - x) * stretch);
    if (!cubic) return d < 1 ? 1 - d : 0;
    if (d < 1) return ((cubic_a + 2) * d - (cubic_a + 3)) * d * d + 1;
    return d < 2 ? ((d - 5) * d + 8) * d * cubic_a - 4 * cubic_a : 0;
  }
  double sum() const {
    double s = 0;
    for (int64_t k = begin; k < end; ++k) s += weight(k);
    return s;
  }
  int64_t index(int64_t k) const { return k < 0 ? 0 : k >= size ? size - 1 : k; }
};
Filter filter_at(const Op& op, const Axis& a, int64_t o) {
  Filter f{};
  f.cubic = op.ints[kMode] == PITH_RESIZE_CUBIC;
  f.x = coordinate(a, o);
  if (!f.cubic && !op.ints[kAntialias]) {  // linear: as the edge beyond the edge
    const double most = static_cast<double>(a.in - 1);
    f.x = f.x < 0 ? 0 : f.x > most ? most : f.x;
  }
  f.stretch = op.ints[kAntialias] && a.scale < 1 ? a.scale : 1;
  f.cubic_a = op.reals[kCubicA];
  f.size = a.in;
  f.exclude_outside = op.ints[kExcludeOutside] != 0;
  const double support = (f.cubic ? 2 : 1) / f.stretch;
  f.begin = static_cast<int64_t>(numerics::ceil(f.x - support));
  f.end = static_cast<int64_t>(numerics::floor(f.x + support)) + 1;
  return f;
}

void linear_row_u8(const uint8_t* image, uint8_t* y, const Axis& w, const Pair& row, int64_t in_w, int64_t channels,
                   const uint8_t* table, const Run& run) {
  const int32_t weight_y = numerics::interpolation_weight(row.fraction);
  const uint8_t *top = image + row.first * in_w * channels, *bottom = image + row.second * in_w * channels;
  for (int64_t ox = 0; ox < w.out; ++ox, y += channels) {
    const Pair column = neighbours(w, ox);
    const int32_t weight_x = numerics::interpolation_weight(column.fraction);
    const int64_t l = column.first * channels, r = column.second * channels;
    for (int64_t c = 0; c < channels; ++c) {
      y[c] = numerics::interpolate_u8(top[l + c], top[r + c], bottom[l + c], bottom[r + c], weight_x, weight_y);
    }
    if (table != nullptr) run.kernels.table_u8(y, y, channels, table);
  }
}

void filter_row(const Op& op, const float* image, float* y, const Axis& h, const Axis& w, int64_t oy,
                int64_t channels) {
  const Filter rows = filter_at(op, h, oy);
  const double row_sum = rows.sum();
  const bool crop = op.ints[kCoordinates] == PITH_COORDINATES_TF_CROP_AND_RESIZE;
  for (int64_t ox = 0; ox < w.out; ++ox, y += channels) {
    const double x = coordinate(w, ox), yy = coordinate(h, oy);
    if (crop && (x < 0 || x > static_cast<double>(w.in - 1) || yy < 0 || yy > static_cast<double>(h.in - 1))) {
      for (int64_t c = 0; c < channels; ++c) y[c] = op.reals[kExtrapolation];
      continue;
    }
    const Filter columns = filter_at(op, w, ox);
    const double norm = 1 / (row_sum * columns.sum());
    memset(y, 0, static_cast<size_t>(channels) * sizeof(float));
    for (int64_t ky = rows.begin; ky < rows.end; ++ky) {
      const double weight_y = rows.weight(ky) * norm;
      if (weight_y == 0) continue;
      for (int64_t kx = columns.begin; kx < columns.end; ++kx) {
        const float weight = static_cast<float>(weight_y * columns.weight(kx));
        const float* from = image + (rows.index(ky) * w.in + columns.index(kx)) * channels;
        for (int64_t c = 0; c < channels; ++c) y[c] += weight * from[c];
      }
    }
  }
}

void nearest_row(const Op& op, const uint8_t* image, uint8_t* y, const Axis& h, const Axis& w, int64_t oy,
                 int64_t channels, int64_t element, const uint8_t* table, const Run& run) {
  const int32_t rounding = op.ints[kRounding];
  const bool crop = op.ints[kCoordinates] == PITH_COORDINATES_TF_CROP_AND_RESIZE;
  const uint8_t* row = image + nearest(h, rounding, oy) * w.in * channels * element;
  const double yy = coordinate(h, oy);
  for (int64_t ox = 0; ox < w.out; ++ox, y += channels * element) {
    const double x = crop ? coordinate(w, ox) : 0;
    if (crop && (x < 0 || x > static_cast<double>(w.in - 1) || yy < 0 || yy > static_cast<double>(h.in - 1))) {
      for (int64_t c = 0; c < channels; ++c) memcpy(y + c * 4, &op.reals[kExtrapolation], 4);
      continue;
    }
    const uint8_t* from = row + nearest(w, rounding, ox) * channels * element;
    if (table != nullptr) {
      run.kernels.table_u8(from, y, channels, table);
    } else {
      memcpy(y, from, static_cast<size_t>(channels * element));
    }
  }
}

}  // namespace

const char* prepare_Resize2d(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  if (x.dtype != y.dtype || (x.dtype != PITH_U8 && x.dtype != PITH_F32))
    return "its input and output aren't both 8-bit or both float";
  if (x.rank != 4 || y.rank != 4 || x.dims[0] != y.dims[0] || x.dims[3] != y.dims[3] || x.count() == 0)
    return "its dimensions don't fit";
  if (op.ints[kMode] < 0 || op.ints[kMode] > PITH_RESIZE_CUBIC || op.ints[kCoordinates] < 0 ||
      op.ints[kCoordinates] > PITH_COORDINATES_TF_CROP_AND_RESIZE || op.ints[kRounding] < 0 ||
      op.ints[kRounding] > PITH_ROUND_CEIL) {
    return "its mode is unknown";
  }
  for (int i = 0; i < 2; ++i) {
    const double scale = op.reals[kScaleH + i], size = scale * x.dims[1 + i], out = y.dims[1 + i];
    if (!(scale > 0) || (!op.ints[kKeepSize] && !(size > out - 1.01 && size < out + 1.01)))
      return "its scales don't fit its sizes";
    if (!(numerics::abs(op.reals[kRoi + i]) < 1e6) || !(numerics::abs(op.reals[kRoi + 2 + i]) < 1e6))
      return "its region is out of range";
  }
  if (x.dtype == PITH_F32) return nullptr;
  const bool exact = op.ints[kMode] != PITH_RESIZE_CUBIC && !op.ints[kAntialias] &&
                     op.ints[kCoordinates] != PITH_COORDINATES_TF_CROP_AND_RESIZE;
  if (!exact) return "this mode has no 8-bit form; the compiler should convert its input to float";
  op.plan = moved_table(builder, op, x.affine, y);
  return nullptr;
}

void run_Resize2d(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const Axis h = axis_of(op, 0), w = axis_of(op, 1);
  const int64_t channels = x.dims[3], element = x.element_bytes();
  const uint8_t* table = static_cast<const uint8_t*>(op.plan);
  parallel(run.threads, y.dims[0] * h.out, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t oy = line % h.out, image = line / h.out * h.in * w.in * channels, to = line * w.out * channels;
      if (op.ints[kMode] == PITH_RESIZE_NEAREST) {
        nearest_row(op, run.read<uint8_t>(&x) + image * element, run.write<uint8_t>(&y) + to * element, h, w, oy,
                    channels, element, table, run);
      } else if (x.dtype == PITH_U8) {
        linear_row_u8(run.read<uint8_t>(&x) + image, run.write<uint8_t>(&y) + to, w, neighbours(h, oy), w.in, channels,
                      table, run);
      } else {
        filter_row(op, run.read<float>(&x) + image, run.write<float>(&y) + to, h, w, oy, channels);
      }
      if (y.dtype == PITH_F32) activate_f32(op, run, run.write<float>(&y) + to, w.out * channels);
    }
  });
}

}  // namespace pith::runtime
