// Lowering of operators that only move data: most become views and cost nothing; Concat, Pad and the rest copy.
#include <fmt/format.h>

#include <algorithm>

#include "compile/lowering.h"
#include "ir/geometry.h"

namespace pith {
namespace {

using ir::Op;

// x.dims[axis] replaced by `parts` (whose product it is), as a view.
View split_axis(const View& v, size_t axis, const std::vector<int64_t>& parts) {
  ir::Shape dims(v.dims.begin(), v.dims.begin() + static_cast<ptrdiff_t>(axis));
  dims.insert(dims.end(), parts.begin(), parts.end());
  dims.insert(dims.end(), v.dims.begin() + static_cast<ptrdiff_t>(axis) + 1, v.dims.end());
  View out{v.tensor, v.offset, dims, {}};
  for (size_t i = 0; i < v.dims.size(); ++i) {
    if (i != axis) {
      out.strides.push_back(v.strides[i]);
      continue;
    }
    int64_t step = v.strides[i];
    std::vector<int64_t> strides(parts.size());
    for (size_t k = parts.size(); k-- > 0;) {
      strides[k] = step;
      step *= parts[k];
    }
    out.strides.insert(out.strides.end(), strides.begin(), strides.end());
  }
  return out;
}

View permuted(const View& v, const std::vector<int64_t>& permutation) {
  View out{v.tensor, v.offset, {}, {}};
  for (int64_t p : permutation) {
    out.dims.push_back(v.dims[static_cast<size_t>(p)]);
    out.strides.push_back(v.strides[static_cast<size_t>(p)]);
  }
  return out;
}

// [start, start + count * step) of one axis.
View sliced(View v, size_t axis, int64_t start, int64_t count, int64_t step) {
  v.offset += start * v.strides[axis];
  v.dims[axis] = count;
  v.strides[axis] *= step;
  return v;
}

}  // namespace

Result<void> Lowering::lower_view(const ir::Node& n) {
  const bool same_codes = !is_u8(n.inputs[0]) || affine(n.inputs[0]) == affine(n.outputs[0]);
  const bool both = is_u8(n.inputs[0]) == is_u8(n.outputs[0]);
  View v = both ? view(n.inputs[0]) : real_view(n.inputs[0]);
  if (!same_codes && both) {  // other codes for the same values: one pass through a table
    const Order order = natural_order(v);
    const int32_t input = dense(v, order);
    const int32_t coded = new_tensor(PITH_U8, program.tensors[static_cast<size_t>(input)].dims, affine(n.outputs[0]), n.name);
    emit(PITH_OPCODE_Unary, {input}, {coded}, {static_cast<int32_t>(numerics::Unary::kIdentity)}, {0, 0});
    v.tensor = coded;
    v.offset = 0;
    int64_t step = 1;
    for (size_t i = order.size(); i-- > 0;) {
      v.strides[static_cast<size_t>(order[i])] = step;
      step *= v.dims[static_cast<size_t>(order[i])];
    }
  }
  const size_t rank = v.dims.size();
  // a result that must change its data type is computed and converted; all others stay views
  const auto finish = [&](size_t output, const View& result) {
    const ir::ValueId id = n.outputs[output];
    if (id == ir::kNoValue) return;
    if (both) {
      define_view(id, result);
      return;
    }
    const Order order = natural_order(result);
    define(n, output, dense(result, order), order);
  };
  const auto reshape = [&](const View& from, const ir::Shape& dims) {
    if (const auto direct = reshaped_view(from, dims)) return *direct;
    const int32_t t = dense(from, identity_order(from.dims.size()));
    View whole{t, 0, from.dims, std::vector<int64_t>(from.dims.size(), 1)};
    for (size_t i = from.dims.size(); i-- > 1;) whole.strides[i - 1] = whole.strides[i] * whole.dims[i];
    return *reshaped_view(whole, dims);
  };
  switch (n.op) {
    case Op::kReshape: case Op::kFlatten: case Op::kSqueeze: case Op::kUnsqueeze:
      finish(0, reshape(v, value(n.outputs[0]).shape));
      return {};
    case Op::kTranspose: {
      std::vector<int64_t> reversed;
      for (size_t i = rank; i-- > 0;) reversed.push_back(static_cast<int64_t>(i));
      finish(0, permuted(v, n.integers("perm", reversed)));
      return {};
    }
    case Op::kSlice: {
      PITH_TRY(const std::vector<ir::SliceAxis> axes, ir::slice_axes(n, v.dims));
      for (size_t i = 0; i < rank; ++i) v = sliced(v, i, axes[i].start, axes[i].count, axes[i].step);
      finish(0, v);
      return {};
    }
    case Op::kSplit: {
      const size_t axis = static_cast<size_t>(ir::wrap_axis(n.integer("axis", 0), rank));
      PITH_TRY(const std::vector<int64_t> sizes, ir::split_sizes(n, v.dims[axis]));
      int64_t start = 0;
      for (size_t i = 0; i < n.outputs.size(); ++i) {
        finish(i, sliced(v, axis, start, sizes[i], 1));
        start += sizes[i];
      }
      return {};
    }
    case Op::kExpand: {
      const ir::Shape& shape = value(n.outputs[0]).shape;
      View wide{v.tensor, v.offset, shape, std::vector<int64_t>(shape.size(), 0)};
      for (size_t i = 0; i < rank; ++i) {
        const size_t k = i + shape.size() - rank;
        wide.strides[k] = v.dims[i] == 1 ? 0 : v.strides[i];
      }
      finish(0, wide);
      return {};
    }
    case Op::kTile: {
      const auto repeats = n.integers("repeats");
      View tiled{v.tensor, v.offset, {}, {}};
      for (size_t i = 0; i < rank; ++i) {
        if (repeats[i] != 1) {
          tiled.dims.push_back(repeats[i]);
          tiled.strides.push_back(0);
        }
        tiled.dims.push_back(v.dims[i]);
        tiled.strides.push_back(v.strides[i]);
      }
      finish(0, reshape(tiled, value(n.outputs[0]).shape));
      return {};
    }
    case Op::kDepthToSpace: case Op::kSpaceToDepth: case Op::kChannelShuffle: {
      if (n.op == Op::kChannelShuffle) {
        const int64_t groups = n.integer("group", 1);
        std::vector<int64_t> swap = {0, 2, 1};
        for (size_t i = 2; i < rank; ++i) swap.push_back(static_cast<int64_t>(i) + 1);
        finish(0, reshape(permuted(split_axis(v, 1, {groups, v.dims[1] / groups}), swap), v.dims));
        return {};
      }
      const int64_t b = n.integer("blocksize", 1);
      if (n.op == Op::kDepthToSpace) {
        const int64_t c = v.dims[1] / (b * b);
        const bool crd = n.text("mode", "DCR") == "CRD";
        const View parts = split_axis(v, 1, crd ? std::vector<int64_t>{c, b, b} : std::vector<int64_t>{b, b, c});
        finish(0, reshape(permuted(parts, crd ? std::vector<int64_t>{0, 1, 4, 2, 5, 3} : std::vector<int64_t>{0, 3, 4, 1, 5, 2}), value(n.outputs[0]).shape));
      } else {
        const View rows = split_axis(v, 2, {v.dims[2] / b, b});
        const View parts = split_axis(rows, 4, {v.dims[3] / b, b});
        finish(0, reshape(permuted(parts, {0, 3, 5, 1, 2, 4}), value(n.outputs[0]).shape));
      }
      return {};
    }
    default:
      return unsupported(n, "no machine form");
  }
}

namespace {

View dense_of(const Lowering& l, int32_t tensor, const ir::Shape& dims, const Order& order) {
  (void)l;
  View v{tensor, 0, dims, std::vector<int64_t>(dims.size(), 1)};
  int64_t step = 1;
  for (size_t i = order.size(); i-- > 0;) {
    v.strides[static_cast<size_t>(order[i])] = step;
    step *= dims[static_cast<size_t>(order[i])];
  }
  return v;
}

}  // namespace

Result<void> Lowering::lower_concat(const ir::Node& n) {
  const ir::Value& y = value(n.outputs[0]);
  if (y.shape.size() > PITH_MAX_RANK) return unsupported(n, fmt::format("rank {} is above {}", y.shape.size(), PITH_MAX_RANK));
  const size_t axis = static_cast<size_t>(ir::wrap_axis(n.integer("axis", 0), y.shape.size()));
  const bool codes = is_u8(n.outputs[0]) && std::all_of(n.inputs.begin(), n.inputs.end(), [&](ir::ValueId id) { return is_u8(id); });
  Order order = identity_order(y.shape.size());
  for (ir::ValueId id : n.inputs) {
    if (!value(id).is_constant() && ir::element_count(value(id).shape) > 1) {
      order = natural_order(view(id));
      break;
    }
  }
  const int32_t output = result_tensor(n, 0, order, codes);
  const View target = dense_of(*this, output, y.shape, order);
  int64_t start = 0;
  for (ir::ValueId id : n.inputs) {
    const int64_t size = value(id).shape[axis];
    if (ir::element_count(value(id).shape) > 0) PITH_CHECK_OK(emit_copy(codes ? view(id) : real_view(id), sliced(target, axis, start, size, 1)));
    start += size;
  }
  define(n, 0, output, order);
  return {};
}

// Pads grow outwards from the copied middle, one axis after the other, reading what is already in place; cropping
// (negative pads) is a slice of the input.
Result<void> Lowering::lower_pad(const ir::Node& n) {
  const ir::Value& y = value(n.outputs[0]);
  const size_t rank = y.shape.size();
  if (rank > PITH_MAX_RANK) return unsupported(n, fmt::format("rank {} is above {}", rank, PITH_MAX_RANK));
  const std::string mode = n.text("mode", "constant");
  PITH_TRY(const std::vector<ir::PadAxis> axes, ir::pad_axes(n, value(n.inputs[0]).shape));
  std::vector<int64_t> low, high;
  for (const ir::PadAxis& a : axes) {
    low.push_back(a.before);
    high.push_back(a.after);
  }
  const bool codes = is_u8(n.inputs[0]) && is_u8(n.outputs[0]);
  View from = codes ? view(n.inputs[0]) : real_view(n.inputs[0]);
  const Order order = natural_order(from);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t cut_low = std::max<int64_t>(0, -low[i]), cut_high = std::max<int64_t>(0, -high[i]);
    from = sliced(from, i, cut_low, from.dims[i] - cut_low - cut_high, 1);
    low[i] = std::max<int64_t>(0, low[i]);
    high[i] = std::max<int64_t>(0, high[i]);
  }
  const int32_t output = result_tensor(n, 0, order, codes);
  if (mode == "constant") emit(PITH_OPCODE_Fill, {}, {output}, {}, {static_cast<float>(n.real("value", 0))});
  const View whole = dense_of(*this, output, y.shape, order);
  View middle = whole;
  for (size_t i = 0; i < rank; ++i) middle = sliced(middle, i, low[i], from.dims[i], 1);
  PITH_CHECK_OK(emit_copy(from, middle));
  if (mode != "constant") {
    View region = middle;  // what is filled so far
    for (size_t i = 0; i < rank; ++i) {
      const int64_t size = from.dims[i];
      for (const bool before : {true, false}) {
        int64_t missing = before ? low[i] : high[i];
        int64_t at = before ? low[i] : low[i] + size;  // the edge of what is filled along this axis, exclusive or inclusive
        while (missing > 0) {
          const int64_t run = mode == "edge" ? missing : std::min(missing, mode == "wrap" ? size : size - 1);
          if (run <= 0) return unsupported(n, "reflection of a single element");
          View source = region, target = region;
          const int64_t base = region.offset - low[i] * whole.strides[i];  // element 0 of this axis
          const auto window = [&](View v, int64_t start, int64_t step) {
            v.offset = base + start * whole.strides[i];
            v.dims[i] = run;
            v.strides[i] = step * whole.strides[i];
            return v;
          };
          const int64_t to = before ? at - run : at;
          if (mode == "edge") {
            source = window(region, before ? at : at - 1, 0);
          } else if (mode == "reflect") {
            source = before ? window(region, at + run, -1) : window(region, at - 2, -1);
          } else {  // wrap
            source = window(region, before ? to + size : to - size, 1);
          }
          target = window(region, to, 1);
          PITH_CHECK_OK(emit_copy(source, target));
          missing -= run;
          at = before ? at - run : at + run;
        }
      }
      region.offset -= low[i] * whole.strides[i];
      region.dims[i] = y.shape[i];
      region.strides[i] = whole.strides[i];
    }
  }
  define(n, 0, output, order);
  return {};
}

namespace {

// Is nearest resizing of this axis a repetition of every element `factor` times? Checked on the coordinates themselves.
bool repeats_each(const ir::Node& n, int64_t in, int64_t out, double scale) {
  if (out % in != 0) return false;
  const int64_t factor = out / in;
  const std::string mode = n.text("coordinate_transformation_mode", "half_pixel"), rounding = n.text("nearest_mode", "round_prefer_floor");
  for (int64_t o = 0; o < out; ++o) {
    double x;
    if (mode == "asymmetric") {
      x = static_cast<double>(o) / scale;
    } else if (mode == "half_pixel" || (mode == "pytorch_half_pixel" && out > 1)) {
      x = (static_cast<double>(o) + 0.5) / scale - 0.5;
    } else {
      return in == out;
    }
    double r = numerics::floor(x);
    if (rounding == "ceil") r = numerics::ceil(x);
    if (rounding == "round_prefer_floor") r = numerics::ceil(x - 0.5);
    if (rounding == "round_prefer_ceil") r = numerics::floor(x + 0.5);
    r = std::clamp(r, 0.0, static_cast<double>(in - 1));
    if (static_cast<int64_t>(r) != o / factor) return false;
  }
  return true;
}

}  // namespace

Result<void> Lowering::lower_resize(const ir::Node& n) {
  const ir::Value &x = value(n.inputs[0]), &y = value(n.outputs[0]);
  const size_t rank = x.shape.size();
  // scales per axis, from either form
  std::vector<double> scales(rank, 1.0);
  const auto given = n.reals("scales");
  auto axes = n.integers("axes");
  if (axes.empty()) {
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  for (size_t i = 0; i < rank; ++i) scales[i] = static_cast<double>(y.shape[i]) / static_cast<double>(x.shape[i]);
  for (size_t i = 0; i < given.size(); ++i) scales[static_cast<size_t>(ir::wrap_axis(axes[i], rank))] = given[i];
  const std::string mode = n.text("mode", "nearest"), coordinates = n.text("coordinate_transformation_mode", "half_pixel");
  const bool same_codes = is_u8(n.inputs[0]) && is_u8(n.outputs[0]) && affine(n.inputs[0]) == affine(n.outputs[0]);
  bool repeated = mode == "nearest";
  for (size_t i = 0; i < rank && repeated; ++i) repeated = repeats_each(n, x.shape[i], y.shape[i], scales[i]);
  if (repeated && (same_codes || !is_u8(n.outputs[0]))) {
    const View v = same_codes ? view(n.inputs[0]) : real_view(n.inputs[0]);
    const Order order = natural_order(v);
    const int32_t output = result_tensor(n, 0, order, same_codes);
    const View target = dense_of(*this, output, y.shape, order);
    View from{v.tensor, v.offset, {}, {}}, to{output, 0, {}, {}};
    for (size_t i = 0; i < rank; ++i) {
      const int64_t factor = y.shape[i] / x.shape[i];
      from.dims.insert(from.dims.end(), {x.shape[i], factor});
      from.strides.insert(from.strides.end(), {v.strides[i], 0});
      to.dims.insert(to.dims.end(), {x.shape[i], factor});
      to.strides.insert(to.strides.end(), {target.strides[i] * factor, target.strides[i]});
    }
    PITH_CHECK_OK(emit_copy(from, to));
    define(n, 0, output, order);
    return {};
  }
  if (rank < 3 || rank > 4 || x.shape[0] != y.shape[0] || x.shape[1] != y.shape[1]) return unsupported(n, "only one and two spatial dimensions can be resized");
  const bool integer = same_codes && rank == 4 && mode != "cubic" && n.integer("antialias", 0) == 0 && coordinates != "tf_crop_and_resize" && n.integer("exclude_outside", 0) == 0;
  const Order order = channels_last_order(rank);
  const auto image = [&](const ir::Shape& s) { return rank == 3 ? Dims{static_cast<int32_t>(s[0]), 1, static_cast<int32_t>(s[2]), static_cast<int32_t>(s[1])} : ordered_dims(s, order); };
  const int32_t input = dense_as(integer ? view(n.inputs[0]) : real_view(n.inputs[0]), order, image(x.shape));
  const int32_t output = new_tensor(integer ? PITH_U8 : PITH_F32, image(y.shape), affine(n.outputs[0]), y.name);
  static const std::map<std::string, int32_t> kCoordinates = {
      {"half_pixel", PITH_COORDINATES_HALF_PIXEL}, {"asymmetric", PITH_COORDINATES_ASYMMETRIC},
      {"align_corners", PITH_COORDINATES_ALIGN_CORNERS}, {"pytorch_half_pixel", PITH_COORDINATES_PYTORCH_HALF_PIXEL},
      {"half_pixel_symmetric", PITH_COORDINATES_HALF_PIXEL_SYMMETRIC}, {"tf_crop_and_resize", PITH_COORDINATES_TF_CROP_AND_RESIZE}};
  static const std::map<std::string, int32_t> kRounding = {{"round_prefer_floor", PITH_ROUND_PREFER_FLOOR}, {"round_prefer_ceil", PITH_ROUND_PREFER_CEIL},
                                                           {"floor", PITH_ROUND_FLOOR}, {"ceil", PITH_ROUND_CEIL}};
  const auto roi = n.reals("roi");
  const auto region = [&](size_t axis, bool end) {
    for (size_t i = 0; i < axes.size(); ++i) {
      if (ir::wrap_axis(axes[i], rank) == static_cast<int64_t>(axis) && roi.size() == 2 * axes.size()) return static_cast<float>(roi[i + (end ? axes.size() : 0)]);
    }
    return end ? 1.0f : 0.0f;
  };
  const auto coordinate = kCoordinates.find(coordinates);
  const auto rounding = kRounding.find(n.text("nearest_mode", "round_prefer_floor"));
  if (coordinate == kCoordinates.end() || rounding == kRounding.end()) return unsupported(n, "an unknown coordinate or rounding mode");
  const size_t h = rank == 3 ? 1 : 2, w = rank == 3 ? 2 : 3;
  const float scale_h = rank == 3 ? 1.0f : static_cast<float>(scales[h]);
  emit(PITH_OPCODE_Resize2d, {input}, {output},
       {mode == "nearest" ? PITH_RESIZE_NEAREST : mode == "linear" ? PITH_RESIZE_LINEAR : PITH_RESIZE_CUBIC, coordinate->second, rounding->second,
        static_cast<int32_t>(n.integer("exclude_outside", 0)), static_cast<int32_t>(n.integer("antialias", 0)), given.empty() ? 1 : 0},
       {scale_h, static_cast<float>(scales[w]), static_cast<float>(n.real("cubic_coeff_a", -0.75)), static_cast<float>(n.real("extrapolation_value", 0)),
        rank == 3 ? 0.0f : region(h, false), region(w, false), rank == 3 ? 1.0f : region(h, true), region(w, true)});
  define(n, 0, output, order);
  return {};
}

Result<void> Lowering::lower_gather(const ir::Node& n) {
  const ir::Value &x = value(n.inputs[0]), &indices = value(n.inputs[1]);
  const size_t rank = x.shape.size();
  const int64_t axis = ir::wrap_axis(n.integer("axis", 0), rank);
  if (n.op == Op::kGather && indices.is_constant() && !x.is_constant()) {
    // a constant arithmetic progression is a slice
    const int64_t count = indices.constant->count(), size = x.shape[static_cast<size_t>(axis)];
    const auto index = [&](int64_t i) {
      const int64_t k = static_cast<int64_t>(indices.constant->at(i));
      return k < 0 ? k + size : k;
    };
    const int64_t step = count > 1 ? index(1) - index(0) : 1;
    bool regular = count >= 1 && step != 0;
    for (int64_t i = 1; i < count && regular; ++i) regular = index(i) - index(i - 1) == step;
    const bool same = is_u8(n.inputs[0]) == is_u8(n.outputs[0]) && affine(n.inputs[0]) == affine(n.outputs[0]);
    if (regular && same) {
      const View part = sliced(view(n.inputs[0]), static_cast<size_t>(axis), index(0), count, step);
      ir::Shape wide = part.dims;
      wide.erase(wide.begin() + axis);
      wide.insert(wide.begin() + axis, indices.shape.begin(), indices.shape.end());
      define_view(n.outputs[0], *reshaped_view(part, wide));
      return {};
    }
  }
  const ir::Value& y = value(n.outputs[0]);
  if (rank > PITH_MAX_RANK || indices.shape.size() > PITH_MAX_RANK || y.shape.size() > PITH_MAX_RANK) return unsupported(n, fmt::format("a rank above {}", PITH_MAX_RANK));
  const bool codes = is_u8(n.outputs[0]) && is_u8(n.inputs[0]) && affine(n.inputs[0]) == affine(n.outputs[0]) && n.inputs.size() == 2;
  const auto operand = [&](size_t slot) {
    const ir::ValueId id = n.inputs[slot];
    const ir::Value& v = value(id);
    const Order order = identity_order(v.shape.size());
    if (!v.is_constant()) return dense(codes ? view(id) : real_view(id), order);
    const Dims dims(v.shape.begin(), v.shape.end());
    if (v.dtype == ir::DType::kF32 && v.shape.size() == 2 && slot == 0 && (!v.quant || v.quant->axis == 0 || v.quant->scale_codes.size() <= 1)) return weight_constant(id, {0, 1}, dims);
    if (v.dtype == ir::DType::kF32) return real_constant(real_values(id), dims, v.name);
    std::vector<int32_t> values;
    for (int64_t i = 0; i < v.constant->count(); ++i) values.push_back(static_cast<int32_t>(v.constant->at(i)));
    return integer_constant(values, dims, v.name);
  };
  const Order order = identity_order(y.shape.size());
  static const std::map<std::string, int32_t> kReductions = {{"none", 0}, {"add", 1}, {"mul", 2}, {"max", 3}, {"min", 4}};
  if (n.op == Op::kScatterND || n.op == Op::kScatterElements) {
    const int32_t from = operand(0), at = operand(1), updates = operand(2);
    const int32_t output = result_tensor(n, 0, order, codes);
    emit(PITH_OPCODE_Scatter, {from, at, updates}, {output}, {n.op == Op::kScatterND ? 2 : 1, static_cast<int32_t>(axis), kReductions.at(n.text("reduction", "none"))});
    define(n, 0, output, order);
    return {};
  }
  const int32_t from = operand(0), at = operand(1);
  // rows of coded weights become codes as they are decoded
  const bool coded = n.op == Op::kGather && is_u8(n.outputs[0]) && axis == 0 && is_constant(from) && program.constants[static_cast<size_t>(from - kConstantBase)].dtype == PITH_I8 &&
                     n.activation.function == numerics::Unary::kIdentity;
  const int32_t output = result_tensor(n, 0, order, codes || coded);
  const int32_t kind = n.op == Op::kGather ? 0 : n.op == Op::kGatherElements ? 1 : 2;
  emit(PITH_OPCODE_Gather, {from, at}, {output}, {kind, static_cast<int32_t>(axis), static_cast<int32_t>(n.integer("batch_dims", 0))});
  define(n, 0, output, order);
  return {};
}

// The triangle is a constant condition.
Result<void> Lowering::lower_trilu(const ir::Node& n) {
  const View v = real_view(n.inputs[0]);
  const size_t rank = v.dims.size();
  const int32_t input = dense(v, identity_order(rank));
  const int64_t rows = v.dims[rank - 2], columns = v.dims[rank - 1], k = n.integer("k", 0);
  const bool upper = n.integer("upper", 1) != 0;
  std::vector<int32_t> mask;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) mask.push_back(upper ? c - r >= k : c - r <= k);
  }
  Dims dims(rank, 1);
  dims[rank - 2] = static_cast<int32_t>(rows);
  dims[rank - 1] = static_cast<int32_t>(columns);
  const int32_t condition = integer_constant(mask, dims, n.name + ".mask");
  const bool whole = program.tensors[static_cast<size_t>(input)].dtype == PITH_I32;
  const int32_t zero = whole ? integer_constant({0}, Dims(rank, 1), "zero") : real_constant(ir::Tensor::f32({1}, {0}), Dims(rank, 1), "zero");
  const int32_t output = result_tensor(n, 0, identity_order(rank), false);
  emit(PITH_OPCODE_Where, {condition, input, zero}, {output});
  define(n, 0, output, identity_order(rank));
  return {};
}

}  // namespace pith
