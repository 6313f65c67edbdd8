// Which function of numerics/unary.inc a node of the family `unary` computes.
//
// Its parameters a and b are ONNX's attributes, with ONNX's defaults; Clip's are its bounds.
#include <limits>

#include "ir/graph.h"

namespace pith::ir {

std::optional<Activation> unary_function(const Node& node) {
  using numerics::Unary;
  const auto plain = [](Unary f) { return Activation{f, 0, 0, {}}; };
  const auto one = [&](Unary f, const char* key, double otherwise) {
    return Activation{f, node.real(key, otherwise), 0, {}};
  };
  const auto two = [&](Unary f, const char* a, double a0, const char* b, double b0) {
    return Activation{f, node.real(a, a0), node.real(b, b0), {}};
  };
  constexpr double kLargest = std::numeric_limits<float>::max();
  switch (node.op) {
    case Op::kClip:
      if (node.inputs.size() > 1) return std::nullopt;  // bounds that are known only when it runs
      return two(Unary::kClip, "min", -kLargest, "max", kLargest);
    case Op::kLeakyRelu:
      return one(Unary::kLeakyRelu, "alpha", 0.01);
    case Op::kSilu:
      return one(Unary::kSilu, "alpha", 1);
    case Op::kHardSigmoid:
      return two(Unary::kHardSigmoid, "alpha", 0.2, "beta", 0.5);
    case Op::kGelu:
      return plain(node.text("approximate", "none") == "tanh" ? Unary::kGeluTanh : Unary::kGelu);
    case Op::kElu:
      return one(Unary::kElu, "alpha", 1);
    case Op::kSelu:
      return two(Unary::kSelu, "alpha", 1.6732632423543772, "gamma", 1.0507009873554805);
    case Op::kCelu:
      return one(Unary::kCelu, "alpha", 1);
    case Op::kThresholdedRelu:
      return one(Unary::kThresholdedRelu, "alpha", 1);
    case Op::kShrink:
      return two(Unary::kShrink, "lambd", 0.5, "bias", 0);
    case Op::kRequantize:
      return plain(Unary::kIdentity);
#define PITH_SAME(name) \
  case Op::k##name:     \
    return plain(Unary::k##name);
      PITH_SAME(Identity)
      PITH_SAME(Relu) PITH_SAME(Sigmoid) PITH_SAME(Tanh) PITH_SAME(HardSwish) PITH_SAME(Softplus) PITH_SAME(Softsign)
          PITH_SAME(Mish) PITH_SAME(Exp) PITH_SAME(Log) PITH_SAME(Sqrt) PITH_SAME(Reciprocal) PITH_SAME(Abs)
              PITH_SAME(Neg) PITH_SAME(Floor) PITH_SAME(Ceil) PITH_SAME(Round) PITH_SAME(Sign) PITH_SAME(Sin)
                  PITH_SAME(Cos) PITH_SAME(Atan) PITH_SAME(Erf) PITH_SAME(IsNaN) PITH_SAME(Not)
#undef PITH_SAME
                      default : return std::nullopt;
  }
}

}  // namespace pith::ir
