// Types of element-wise operators, and of those that make their result from shapes alone.
#include <algorithm>
#include <cmath>

#include "ir/geometry.h"
#include "ir/infer.h"

namespace pith::ir {
namespace {

bool any_type(Op op) {
  return op == Op::kIdentity || op == Op::kRelu || op == Op::kClip || op == Op::kAbs || op == Op::kNeg ||
         op == Op::kSign;
}

bool is_comparison(Op op) {
  return op == Op::kEqual || op == Op::kLess || op == Op::kLessOrEqual || op == Op::kGreater ||
         op == Op::kGreaterOrEqual;
}

Result<DType> named_type(const Inference& node, DType otherwise) {
  const std::string name = node.node.text("to", dtype_name(otherwise));
  const auto type = dtype_from_name(name);
  if (!type) return node.fail("attribute to is \"" + name + "\"; it may be f32, u8, i8, i32, i64 or bool");
  return *type;
}

Result<Shape> broadcast_all(const Inference& node) {
  Shape y = node.shape(0);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    const auto wider = broadcast(y, node.shape(i));
    if (!wider.ok()) return node.fail(wider.error().message);
    y = wider.value();
  }
  return y;
}

}  // namespace

Result<void> infer_unary(Inference& node) {
  const Op op = node.node.op;
  if (op == Op::kNot) {
    PITH_CHECK_OK(node.need_dtype(0, {DType::kBool}));
  } else if (any_type(op)) {
    if (op != Op::kIdentity && node.dtype(0) == DType::kBool) return node.fail("bool has no arithmetic");
  } else {
    PITH_CHECK_OK(node.need_float(0));
  }
  if (op == Op::kGelu) PITH_CHECK_OK(node.choice("approximate", {"none", "tanh"}));
  for (size_t i = 1; i < node.inputs.size(); ++i) {  // Clip's bounds
    if (!node.has(i)) continue;
    PITH_CHECK_OK(node.need_same_dtype(0, i));
    if (element_count(node.shape(i)) != 1) return node.fail("a bound must be a single number");
  }
  node.output(op == Op::kIsNaN ? DType::kBool : node.dtype(0), node.shape(0));
  return {};
}

Result<void> infer_cast(Inference& node) {
  if (!node.node.has("to")) return node.fail("attribute to is missing");
  PITH_TRY(const DType to, named_type(node, DType::kF32));
  node.output(to, node.shape(0));
  return {};
}

Result<void> infer_binary(Inference& node) {
  const Op op = node.node.op;
  if (op != Op::kPow) PITH_CHECK_OK(node.need_same_dtype(0, 1));
  PITH_TRY(Shape y, broadcast_all(node));
  if (op == Op::kAnd || op == Op::kOr || op == Op::kXor) {
    PITH_CHECK_OK(node.need_dtype(0, {DType::kBool}));
  } else if (op != Op::kEqual && node.dtype(0) == DType::kBool) {
    return node.fail("bool has no arithmetic");
  }
  if (op == Op::kPRelu) {
    PITH_CHECK_OK(node.need_float(0));
    if (y != node.shape(0)) return node.fail("the slope must broadcast to the input");
  }
  if (op == Op::kMod) PITH_CHECK_OK(node.ranged("fmod", 0, 0, 1));
  if (op == Op::kMod && node.dtype(0) == DType::kF32 && node.node.integer("fmod", 0) == 0) {
    return node.fail("floats need fmod = 1");
  }
  const bool truth = is_comparison(op) || node.dtype(0) == DType::kBool;
  node.output(truth ? DType::kBool : node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_variadic(Inference& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.has(i)) return node.fail(fmt::format("input {} is missing", i));
    PITH_CHECK_OK(node.need_same_dtype(0, i));
  }
  if (node.dtype(0) == DType::kBool) return node.fail("bool has no arithmetic");
  const Op op = node.node.op;
  if (op == Op::kSum || op == Op::kMean) PITH_CHECK_OK(node.need_float(0));
  PITH_TRY(Shape y, broadcast_all(node));
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_where(Inference& node) {
  PITH_CHECK_OK(node.need_dtype(0, {DType::kBool}));
  PITH_CHECK_OK(node.need_same_dtype(1, 2));
  PITH_TRY(Shape y, broadcast_all(node));
  node.output(node.dtype(1), std::move(y));
  return {};
}

Result<void> infer_constant_like(Inference& node) {
  switch (node.node.op) {
    case Op::kShape: {
      const auto rank = node.rank(0);
      const auto place = [&](int64_t p) { return std::clamp<int64_t>(p < 0 ? p + rank : p, 0, rank); };
      const int64_t begin = place(node.node.integer("start", 0)), end = place(node.node.integer("end", rank));
      node.output(DType::kI64, {std::max<int64_t>(end - begin, 0)});
      return {};
    }
    case Op::kSize:
      node.output(DType::kI64, {});
      return {};
    case Op::kEyeLike: {
      PITH_CHECK_OK(node.need_rank(0, 2, 2));
      PITH_CHECK_OK(node.ranged("k", 0, -kLargestCount, kLargestCount));
      PITH_TRY(const DType type, named_type(node, node.dtype(0)));
      node.output(type, node.shape(0));
      return {};
    }
    default:
      break;  // ConstantOfShape
  }
  PITH_CHECK_OK(node.need_dtype(0, {DType::kI64}));
  PITH_CHECK_OK(node.need_rank(0, 1, 1));
  PITH_TRY(const DType type, named_type(node, DType::kF32));
  const Tensor* shape = node.constant(0);
  if (shape == nullptr) return node.fail("the shape must be a constant");
  const auto dims = shape->as<int64_t>();
  for (int64_t d : dims) {
    if (d < 0) return node.fail(fmt::format("the shape has the dimension {}", d));
  }
  node.output(type, Shape(dims.begin(), dims.end()));
  return {};
}

Result<void> infer_range(Inference& node) {
  for (size_t i = 0; i < 3; ++i) {
    PITH_CHECK_OK(node.need_same_dtype(0, i));
    if (node.constant(i) == nullptr || node.constant(i)->count() != 1) {
      return node.fail("start, limit and delta must be single constant numbers");
    }
  }
  if (node.dtype(0) == DType::kBool) return node.fail("bool has no arithmetic");
  const double start = node.constant(0)->at(0), limit = node.constant(1)->at(0), delta = node.constant(2)->at(0);
  if (delta == 0) return node.fail("delta is 0");
  const double count = std::ceil((limit - start) / delta);
  if (!(count <= static_cast<double>(kLargestCount))) return node.fail("the range is too long");
  node.output(node.dtype(0), {count > 0 ? static_cast<int64_t>(count) : 0});
  return {};
}

Result<void> infer_nonzero(Inference& node) {
  const Tensor* x = node.constant(0);
  if (x == nullptr) return node.fail("the input must be a constant: the result's shape depends on it");
  int64_t count = 0;
  for (int64_t i = 0; i < x->count(); ++i) count += x->at(i) != 0;
  node.output(DType::kI64, {std::max<int64_t>(node.rank(0), 1), count});
  return {};
}

Result<void> infer_quantize(Inference& node) {
  const Op op = node.node.op;
  if (op == Op::kDynamicQuantizeLinear) {
    PITH_CHECK_OK(node.need_float(0));
    node.output(DType::kU8, node.shape(0));
    node.output(DType::kF32, {});
    node.output(DType::kU8, {});
    return {};
  }
  const bool from_float = op == Op::kQuantizeLinear;
  if (from_float) {
    PITH_CHECK_OK(node.need_float(0));
  } else {
    PITH_CHECK_OK(node.need_dtype(0, {DType::kU8, DType::kI8, DType::kI32}));
  }
  PITH_CHECK_OK(node.need_float(1));
  PITH_TRY(DType type, named_type(node, DType::kU8));
  if (node.has(2)) {
    if (node.shape(2) != node.shape(1)) return node.fail("scale and zero point differ in shape");
    if (from_float) {
      type = node.dtype(2);
    } else {
      PITH_CHECK_OK(node.need_same_dtype(0, 2));
    }
  }
  if (type != DType::kU8 && type != DType::kI8) return node.fail("only u8 and i8 can be quantised to");

  const Shape &x = node.shape(0), &scale = node.shape(1);
  PITH_TRY(const int64_t block, node.ranged("block_size", 0, 0, kLargestCount));
  if (element_count(scale) != 1 || block > 0) {
    PITH_TRY(const int64_t axis, node.axis_of(node.node.integer("axis", 1), node.rank(0)));
    Shape expected{x[static_cast<size_t>(axis)]};
    if (block > 0) {
      expected = x;
      int64_t& d = expected[static_cast<size_t>(axis)];
      d = (d + block - 1) / block;
    }
    if (scale != expected) return node.fail("the scale must have the shape " + to_string(expected));
  }
  node.output(from_float ? type : DType::kF32, x);
  return {};
}

}  // namespace pith::ir
