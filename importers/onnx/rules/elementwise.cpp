// Element-wise operators: most mean the same in ONNX and in pith; the rest differ by opset (legacy broadcasting before
// opset 7, Clip's bounds as attributes before 11) or are written with others (trigonometry by its identities).
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "importers/onnx/element_types.h"
#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;

// Before opset 7, `broadcast` = 1 aligned the second operand's dimensions with the first's from `axis` on.
Result<ValueId> legacy_aligned(NodeContext& n, ValueId a, ValueId b) {
  const int64_t rank = n.builder.rank(a);
  const int64_t axis = n.integer("axis", -1);
  if (n.opset >= 7 || n.integer("broadcast", 0) == 0 || axis < 0) return b;
  Shape shape = n.builder.shape(b);
  while (static_cast<int64_t>(shape.size()) + axis < rank) shape.push_back(1);
  return n.builder.reshape(b, shape);
}

template <Op op>
Result<void> binary(NodeContext& n) {
  PITH_TRY(const ValueId a, n.input(0));
  PITH_TRY(const ValueId right, n.input(1));
  PITH_TRY(const ValueId b, legacy_aligned(n, a, right));
  return n.emit(op, {a, b});
}

// Floats without fmod (opset 28): the remainder takes the divisor's sign, so one of the other sign moves by the divisor.
Result<void> mod(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId y, n.input(1));
  if (n.integer("fmod", 0) != 0 || n.builder.dtype(x) != DType::kF32) return n.emit(Op::kMod, {x, y}, n.copy("fmod:i"));
  Builder& b = n.builder;
  PITH_TRY(const ValueId remainder, b.add(Op::kMod, {x, y}, {{"fmod", int64_t{1}}}));
  PITH_TRY(const ValueId sign, b.add(Op::kSign, {remainder}));
  PITH_TRY(const ValueId wanted, b.add(Op::kSign, {y}));
  PITH_TRY(const ValueId product, b.add(Op::kMul, {sign, wanted}));
  PITH_TRY(const ValueId differs, b.add(Op::kLess, {product, b.scalar(0)}));
  PITH_TRY(const ValueId moved, b.add(Op::kAdd, {remainder, y}));
  return n.emit(Op::kWhere, {differs, moved, remainder});
}

template <Op op>
Result<void> variadic(NodeContext& n) {
  PITH_TRY(std::vector<ValueId> ids, n.all_inputs());
  if (ids.empty()) return usage_error("it has no inputs; export the model again");
  if (ids.size() == 1) {
    n.set(0, ids[0]);
    return {};
  }
  return n.emit(op == Op::kSum && ids.size() == 2 ? Op::kAdd : op, std::move(ids));
}

Result<void> identity(NodeContext& n) {
  if (!n.has_input(0)) return usage_error("input 0 is missing; export the model again");
  n.set(0, n.inputs[0]);
  return {};
}

Result<void> prelu(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(ValueId slope, n.input(1));
  const Shape shape = n.builder.shape(slope);
  if (n.opset < 7 && shape.size() == 1 && shape[0] != 1 && n.builder.rank(x) > 1) {
    Shape per_channel(static_cast<size_t>(n.builder.rank(x) - 1), 1);
    per_channel[0] = shape[0];
    PITH_TRY(slope, n.builder.reshape(slope, per_channel));
  }
  return n.emit(Op::kPRelu, {x, slope});
}

// Constant bounds become attributes.
Result<void> clip(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  if (n.opset < 11) return n.emit(Op::kClip, {x}, n.copy("min:f max:f"));
  PITH_TRY(const ValueId low, n.optional(1));
  PITH_TRY(const ValueId high, n.optional(2));
  if ((low != ir::kNoValue && !n.content(1)) || (high != ir::kNoValue && !n.content(2)))
    return n.emit(Op::kClip, {x, low, high});
  Attributes bounds;
  if (low != ir::kNoValue) {
    PITH_TRY(bounds["min"], n.constant_real(1, "min"));
  }
  if (high != ir::kNoValue) {
    PITH_TRY(bounds["max"], n.constant_real(2, "max"));
  }
  return n.emit(Op::kClip, {x}, bounds);
}

Result<void> cast_to(NodeContext& n, int32_t type) {
  PITH_TRY(const ValueId x, n.input(0));
  n.ignore({"saturate", "round_mode"});
  const auto dtype = widened(type);
  const bool narrow_float = type >= kFloat8E4M3FN && type != kUint4 && type != kInt4;
  if (!dtype || narrow_float || element_bits(type) < 8)
    return unsupported(fmt::format("casting to {} isn't supported; cast to float, int8 or uint8", element_type_name(type)));
  PITH_TRY(const ValueId y, n.builder.cast(x, *dtype));
  n.set(0, y, type);
  return {};
}

Result<void> cast(NodeContext& n) {
  if (n.opset >= 6) return cast_to(n, static_cast<int32_t>(n.integer("to", 0)));
  const std::string name = n.text("to", "");
  for (int32_t type = 1; type <= kBfloat16; ++type) {
    std::string upper = element_type_name(type);
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (upper == name) return cast_to(n, type);
  }
  return usage_error(fmt::format("it casts to '{}', which isn't a type; export the model again", name));
}

Result<void> cast_like(NodeContext& n) {
  PITH_TRY(const ValueId like, n.input(1));
  if (n.element_type(1) != kUndefined) return cast_to(n, n.element_type(1));
  PITH_TRY(const ValueId x, n.input(0));
  n.ignore({"saturate", "round_mode"});
  PITH_TRY(const ValueId y, n.builder.cast(x, n.builder.dtype(like)));
  n.set(0, y);
  return {};
}

// Inference: the data passes; the mask says that nothing was dropped.
Result<void> dropout(NodeContext& n) {
  n.ignore({"ratio", "is_test", "seed"});
  PITH_TRY(const ValueId x, n.input(0));
  if (n.has_input(2)) {
    PITH_TRY(const int64_t training, n.constant_integer(2, "training_mode"));
    if (training != 0) {
      const double ratio = n.content(1) && n.content(1)->count() == 1 ? n.content(1)->at(0) : 0.5;
      if (ratio != 0) return unsupported("it is in training mode; export the model in inference mode (model.eval())");
    }
  }
  n.set(0, x);
  if (!n.wants_output(1)) return {};
  const DType type = n.opset < 10 ? n.builder.dtype(x) : DType::kBool;
  PITH_TRY(const ValueId mask, n.builder.add(Op::kExpand, {n.builder.constant(Tensor::of<uint8_t>(DType::kBool, {}, {1}).cast(type))},
                                             {{"shape", n.builder.shape(x)}}));
  n.set(1, mask);
  return {};
}

// ---- written with other operators ----

// Helpers that read like the formulas below.
struct Formula {
  Builder& b;
  Result<ValueId> operator()(Op op, ValueId x) const { return b.add(op, {x}); }
  Result<ValueId> operator()(Op op, ValueId x, ValueId y) const { return b.add(op, {x, y}); }
  Result<ValueId> operator()(Op op, ValueId x, float y) const { return b.add(op, {x, b.scalar(y)}); }
  Result<ValueId> operator()(Op op, float x, ValueId y) const { return b.add(op, {b.scalar(x), y}); }
};

Result<void> tan(NodeContext& n) {
  const Formula f{n.builder};
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId sine, f(Op::kSin, x));
  PITH_TRY(const ValueId cosine, f(Op::kCos, x));
  return n.emit(Op::kDiv, {sine, cosine});
}

// sinh and cosh: (e^x -+ e^-x) / 2
template <Op op>
Result<void> hyperbolic(NodeContext& n) {
  const Formula f{n.builder};
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId up, f(Op::kExp, x));
  PITH_TRY(const ValueId minus, f(Op::kNeg, x));
  PITH_TRY(const ValueId down, f(Op::kExp, minus));
  PITH_TRY(const ValueId both, f(op, up, down));
  return n.emit(Op::kMul, {both, n.builder.scalar(0.5f)});
}

// asin x = atan(x / sqrt(1 - x^2)); acos x = pi/2 - asin x
Result<ValueId> arcsine(const Formula& f, ValueId x) {
  PITH_TRY(const ValueId square, f(Op::kMul, x, x));
  PITH_TRY(const ValueId rest, f(Op::kSub, 1.0f, square));
  PITH_TRY(const ValueId cosine, f(Op::kSqrt, rest));
  PITH_TRY(const ValueId ratio, f(Op::kDiv, x, cosine));
  return f(Op::kAtan, ratio);
}

Result<void> asin(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId y, arcsine(Formula{n.builder}, x));
  n.set(0, y);
  return {};
}

Result<void> acos(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId y, arcsine(Formula{n.builder}, x));
  return n.emit(Op::kSub, {n.builder.scalar(1.57079632679489662f), y});
}

// asinh x = log(x + sqrt(x^2 + 1)); acosh with - 1
template <Op op>
Result<void> area_hyperbolic(NodeContext& n) {
  const Formula f{n.builder};
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId square, f(Op::kMul, x, x));
  PITH_TRY(const ValueId shifted, f(op, square, 1.0f));
  PITH_TRY(const ValueId root, f(Op::kSqrt, shifted));
  PITH_TRY(const ValueId sum, f(Op::kAdd, x, root));
  return n.emit(Op::kLog, {sum});
}

// atanh x = log((1 + x) / (1 - x)) / 2
Result<void> atanh(NodeContext& n) {
  const Formula f{n.builder};
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId above, f(Op::kAdd, x, 1.0f));
  PITH_TRY(const ValueId below, f(Op::kSub, 1.0f, x));
  PITH_TRY(const ValueId ratio, f(Op::kDiv, above, below));
  PITH_TRY(const ValueId log, f(Op::kLog, ratio));
  return n.emit(Op::kMul, {log, n.builder.scalar(0.5f)});
}

Result<void> is_inf(NodeContext& n) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Formula f{n.builder};
  const bool negative = n.integer("detect_negative", 1) != 0, positive = n.integer("detect_positive", 1) != 0;
  PITH_TRY(ValueId x, n.input(0));
  if (negative && positive) {
    PITH_TRY(x, f(Op::kAbs, x));
  }
  if (!negative && !positive) return n.emit(Op::kLess, {x, n.builder.scalar(-kInfinity)});  // never
  return n.emit(Op::kEqual, {x, n.builder.scalar(positive ? kInfinity : -kInfinity)});
}

void add_plain(Rules& r) {
  for (const Op op : {Op::kRelu, Op::kSigmoid, Op::kTanh, Op::kHardSwish, Op::kSoftplus, Op::kSoftsign, Op::kMish, Op::kExp,
                      Op::kLog, Op::kSqrt, Op::kReciprocal, Op::kAbs, Op::kNeg, Op::kFloor, Op::kCeil, Op::kRound, Op::kSign,
                      Op::kSin, Op::kCos, Op::kAtan, Op::kErf, Op::kIsNaN, Op::kNot, Op::kWhere})
    r[ir::op_name(op)] = {nullptr, op, ""};
  for (const Op op : {Op::kLeakyRelu, Op::kElu, Op::kCelu, Op::kThresholdedRelu}) r[ir::op_name(op)] = {nullptr, op, "alpha:f"};
  r["Swish"] = {nullptr, Op::kSilu, "alpha:f"};
  r["Selu"] = {nullptr, Op::kSelu, "alpha:f gamma:f"};
  r["HardSigmoid"] = {nullptr, Op::kHardSigmoid, "alpha:f beta:f"};
  r["Gelu"] = {nullptr, Op::kGelu, "approximate:s"};
  r["Shrink"] = {nullptr, Op::kShrink, "lambd:f bias:f"};
}

}  // namespace

void add_elementwise_rules(Rules& r) {
  add_plain(r);
  r["Identity"] = {identity};
  r["Add"] = {binary<Op::kAdd>};
  r["Sub"] = {binary<Op::kSub>};
  r["Mul"] = {binary<Op::kMul>};
  r["Div"] = {binary<Op::kDiv>};
  r["Pow"] = {binary<Op::kPow>};
  r["Mod"] = {mod};
  r["Equal"] = {binary<Op::kEqual>};
  r["Less"] = {binary<Op::kLess>};
  r["LessOrEqual"] = {binary<Op::kLessOrEqual>};
  r["Greater"] = {binary<Op::kGreater>};
  r["GreaterOrEqual"] = {binary<Op::kGreaterOrEqual>};
  r["And"] = {binary<Op::kAnd>};
  r["Or"] = {binary<Op::kOr>};
  r["Xor"] = {binary<Op::kXor>};
  r["Min"] = {variadic<Op::kMin>};
  r["Max"] = {variadic<Op::kMax>};
  r["Sum"] = {variadic<Op::kSum>};
  r["Mean"] = {variadic<Op::kMean>};
  r["PRelu"] = {prelu};
  r["Clip"] = {clip};
  r["Cast"] = {cast};
  r["CastLike"] = {cast_like};
  r["Dropout"] = {dropout};
  r["Tan"] = {tan};
  r["Sinh"] = {hyperbolic<Op::kSub>};
  r["Cosh"] = {hyperbolic<Op::kAdd>};
  r["Asin"] = {asin};
  r["Acos"] = {acos};
  r["Asinh"] = {area_hyperbolic<Op::kAdd>};
  r["Acosh"] = {area_hyperbolic<Op::kSub>};
  r["Atanh"] = {atanh};
  r["IsInf"] = {is_inf};
}

}  // namespace pith::importers
