// See operator_cases.h.
#include "tests/differential/operator_cases.h"

#include <stdexcept>

namespace pith::testing {
namespace {

using ir::Attribute;
using ir::DType;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using Ints = std::vector<int64_t>;
using Reals = std::vector<double>;
using Attributes = std::map<std::string, Attribute>;

// What an operand is drawn from: a normal distribution, or what lies from low to high.
struct Operand {
  DType dtype = DType::kF32;
  Shape shape;
  bool constant = false;
  double low = 0, high = 0;  // both zero: normal
};

Operand real(Shape shape) { return {DType::kF32, std::move(shape)}; }
Operand between(Shape shape, double low, double high) { return {DType::kF32, std::move(shape), false, low, high}; }
Operand weights(Shape shape) { return {DType::kF32, std::move(shape), true}; }
Operand indices(Shape shape, int64_t count, bool constant = false) {
  return {DType::kI64, std::move(shape), constant, 0, static_cast<double>(count - 1)};
}
Operand flags(Shape shape) { return {DType::kBool, std::move(shape), false, 0, 1}; }

Tensor drawn(Random& random, const Operand& o) {
  Tensor t(o.dtype, o.shape);
  for (int64_t i = 0; i < t.count(); ++i) {
    if (o.dtype != DType::kF32) t.set(i, static_cast<double>(random.integer(static_cast<int64_t>(o.low), static_cast<int64_t>(o.high))));
    else if (o.low != o.high) t.set(i, random.uniform(o.low, o.high));
    else t.set(i, random.normal() * (o.constant ? 0.5 : 1));
  }
  return t;
}

Attribute text(const char* t) { return std::string(t); }
Attribute number(int64_t i) { return i; }

class Cases {
 public:
  explicit Cases(Random& random) : random_(random) {}

  // A network of one node; a constant scalar stands for an operand that is left out.
  void add(const char* name, Op op, const std::vector<Operand>& operands, Attributes attributes = {}, int outputs = 1) {
    OperatorCase c;
    c.name = name;
    ir::Graph& g = c.graph;
    ir::Node node;
    node.op = op;
    node.name = name;
    node.attributes = std::move(attributes);
    std::vector<Operand> fed;
    for (size_t i = 0; i < operands.size(); ++i) {
      const std::string operand = "input" + std::to_string(i);
      if (operands[i].shape.empty() && operands[i].dtype == DType::kF32 && operands[i].constant) {
        node.inputs.push_back(ir::kNoValue);
      } else if (operands[i].constant) {
        node.inputs.push_back(g.add_constant(operand, drawn(random_, operands[i])));
      } else {
        ir::Value v;
        v.name = operand;
        v.dtype = operands[i].dtype;
        v.shape = operands[i].shape;
        node.inputs.push_back(g.add_value(v));
        g.inputs.push_back(node.inputs.back());
        fed.push_back(operands[i]);
      }
    }
    for (int i = 0; i < outputs; ++i) {
      ir::Value v;
      v.name = "output" + std::to_string(i);
      node.outputs.push_back(g.add_value(v));
      g.outputs.push_back(node.outputs.back());
    }
    g.nodes.push_back(node);
    if (const auto inferred = ir::infer_shapes(g); !inferred.ok()) throw std::logic_error(c.name + ": " + inferred.error().message);
    for (int s = 0; s < 3; ++s) {
      std::vector<Tensor>& sample = c.samples.emplace_back();
      for (const Operand& o : fed) sample.push_back(drawn(random_, o));
    }
    found_.push_back(std::move(c));
  }

  int64_t size(int64_t low, int64_t high) { return random_.integer(low, high); }
  Shape image() { return {size(1, 2), size(1, 3) * 4, size(5, 9), size(5, 9)}; }
  std::vector<OperatorCase> take() { return std::move(found_); }

 private:
  Random& random_;
  std::vector<OperatorCase> found_;
};

const Operand kAbsent = weights({});

void products(Cases& c) {
  const Shape x = c.image();
  const int64_t n = c.size(1, 9);
  c.add("conv", Op::kConv, {real(x), weights({n, x[1], 3, 2}), weights({n})}, {{"pads", Ints{1, 0, 1, 1}}, {"strides", Ints{2, 1}}});
  c.add("conv_groups", Op::kConv, {real(x), weights({8, x[1] / 4, 3, 3})}, {{"group", number(4)}, {"dilations", Ints{2, 1}}});
  c.add("conv_depthwise", Op::kConv, {real(x), weights({x[1], 1, 3, 3}), weights({x[1]})}, {{"group", number(x[1])}, {"pads", Ints{1, 1, 1, 1}}});
  c.add("conv_1d", Op::kConv, {real({1, 3, c.size(9, 20)}), weights({n, 3, 3})}, {{"dilations", Ints{2}}});
  c.add("conv_transpose", Op::kConvTranspose, {real(x), weights({x[1], n, 2, 3}), weights({n})}, {{"strides", Ints{2, 3}}, {"pads", Ints{0, 1, 0, 0}}});
  c.add("dense", Op::kGemm, {real({c.size(1, 3), 12}), weights({n, 12}), weights({n})}, {{"transB", number(1)}});
  c.add("matmul", Op::kMatMul, {real({2, 1, c.size(1, 6), 7}), real({3, 7, c.size(1, 6)})});
  c.add("attention", Op::kAttention, {real({2, 3, 8}), real({2, 5, 4}), real({2, 5, 6})}, {{"q_num_heads", number(4)}, {"kv_num_heads", number(2)}});
  c.add("attention_past", Op::kAttention, {real({1, 2, 3, 4}), real({1, 2, 3, 4}), real({1, 2, 3, 4}), real({3, 5}), real({1, 2, 2, 4}), real({1, 2, 2, 4})}, {}, 3);
  c.add("attention_far_mask", Op::kAttention, {real({1, 2, 3, 20}), real({1, 2, 9, 20}), real({1, 2, 9, 20}), between({3, 9}, -2e4, 0)});
  c.add("attention_causal", Op::kAttention, {real({1, 2, 4, 4}), real({1, 2, 4, 4}), real({1, 2, 4, 4})}, {{"is_causal", number(1)}, {"softcap", 2.0}});
  c.add("rotary", Op::kRotaryEmbedding, {real({2, 3, 8}), real({2, 3, 2}), real({2, 3, 2})}, {{"num_heads", number(2)}});
  for (const auto& [name, op, gates] : {std::tuple{"lstm", Op::kLSTM, 4}, {"gru", Op::kGRU, 3}, {"rnn", Op::kRNN, 1}}) {
    const int64_t hidden = c.size(2, 5), rows = gates * hidden;
    c.add(name, op, {real({4, 2, 3}), weights({2, rows, 3}), weights({2, rows, hidden}), weights({2, 2 * rows})}, {{"direction", text("bidirectional")}, {"hidden_size", number(hidden)}}, 2);
  }
  c.add("gru_reset", Op::kGRU, {real({3, 1, 4}), weights({1, 9, 4}), weights({1, 9, 3}), weights({1, 18}), kAbsent, real({1, 1, 3})}, {{"linear_before_reset", number(1)}, {"hidden_size", number(3)}}, 2);
}

void windows(Cases& c) {
  const Shape x = c.image();
  c.add("max_pool", Op::kMaxPool, {real(x)}, {{"kernel_shape", Ints{2, 3}}, {"strides", Ints{2, 1}}, {"pads", Ints{1, 1, 0, 1}}, {"ceil_mode", number(1)}});
  c.add("average_pool", Op::kAveragePool, {real(x)}, {{"kernel_shape", Ints{3, 2}}, {"pads", Ints{1, 1, 1, 0}}, {"count_include_pad", number(1)}});
  c.add("lp_pool", Op::kLpPool, {real(x)}, {{"kernel_shape", Ints{2, 2}}, {"p", number(3)}});
  c.add("global_average", Op::kGlobalAveragePool, {real(x)});
  c.add("global_max", Op::kGlobalMaxPool, {real(x)});
  c.add("lrn", Op::kLRN, {real(x)}, {{"size", number(3)}});
  c.add("resize_nearest", Op::kResize, {real(x)}, {{"scales", Reals{1, 1, 2, 2}}, {"mode", text("nearest")}, {"coordinate_transformation_mode", text("asymmetric")}, {"nearest_mode", text("floor")}});
  c.add("resize_linear", Op::kResize, {real(x)}, {{"sizes", Ints{c.size(3, 12), c.size(3, 12)}}, {"axes", Ints{2, 3}}, {"mode", text("linear")}});
  c.add("resize_cubic", Op::kResize, {real(x)}, {{"scales", Reals{1, 1, 1.5, 0.7}}, {"mode", text("cubic")}, {"antialias", number(1)}});
  c.add("grid_sample", Op::kGridSample, {real(x), between({x[0], 3, 4, 2}, -1.2, 1.2)}, {{"mode", text("linear")}, {"padding_mode", text("border")}});
}

void elementwise(Cases& c) {
  const Shape x = c.image(), row{1, x[1], 1, 1};
  using O = Op;
  const O unary[] = {O::kRelu, O::kSigmoid, O::kTanh, O::kSilu, O::kHardSwish, O::kGelu, O::kElu, O::kSoftplus, O::kMish, O::kExp, O::kAbs, O::kNeg, O::kFloor, O::kRound, O::kSign, O::kSin, O::kErf, O::kLeakyRelu, O::kHardSigmoid};
  for (const O op : unary) c.add(ir::op_name(op), op, {real(x)});
  c.add("log", O::kLog, {between(x, 0.1, 4)});
  c.add("sqrt", O::kSqrt, {between(x, 0, 4)});
  for (const O op : {O::kAdd, O::kSub, O::kMul, O::kMin, O::kMax}) {
    c.add(ir::op_name(op), op, {real(x), real(x)});
    c.add((std::string(ir::op_name(op)) + "_row").c_str(), op, {real(x), real(row)});
  }
  c.add("mul_constant", O::kMul, {real(x), weights(row)});
  c.add("prelu", O::kPRelu, {real(x), weights({x[1], 1, 1})});
  c.add("div", O::kDiv, {real(x), between(row, 0.5, 2)});
  c.add("pow", O::kPow, {between(x, 0.1, 2), between(row, 0.5, 2)});
  c.add("mod", O::kMod, {indices({3, 4}, 20), {DType::kI64, {4}, false, 1, 5}});
  for (const O op : {O::kEqual, O::kLess, O::kLessOrEqual, O::kGreater, O::kGreaterOrEqual}) c.add(ir::op_name(op), op, {real(x), real(row)});
  for (const O op : {O::kAnd, O::kOr, O::kXor}) c.add(ir::op_name(op), op, {flags({3, 4}), flags({4})});
  c.add("not", O::kNot, {flags({3, 4})});
  c.add("where", O::kWhere, {flags(x), real(x), real(row)});
  c.add("cast", O::kCast, {between({3, 4}, -9, 9)}, {{"to", text("i64")}});
  for (const O op : {O::kReduceMean, O::kReduceSum, O::kReduceMax, O::kReduceMin, O::kReduceL1, O::kReduceL2, O::kReduceSumSquare, O::kReduceLogSumExp})
    c.add(ir::op_name(op), op, {real(x)}, {{"axes", Ints{2, -1}}, {"keepdims", number(0)}});
  c.add("reduce_prod", O::kReduceProd, {between(x, 0.5, 1.5)}, {{"axes", Ints{1}}});
  c.add("reduce_log_sum", O::kReduceLogSum, {between(x, 0.1, 1)}, {{"axes", Ints{3}}});
}

void along_axis(Cases& c) {
  const Shape x = c.image();
  c.add("argmax", Op::kArgMax, {real(x)}, {{"axis", number(1)}});
  c.add("argmin", Op::kArgMin, {real({3, c.size(2, 9)})}, {{"axis", number(1)}, {"keepdims", number(0)}});
  c.add("softmax", Op::kSoftmax, {real(x)}, {{"axis", number(1)}});
  c.add("log_softmax", Op::kLogSoftmax, {real({2, c.size(2, 9)})}, {{"axis", number(-1)}});
  c.add("hardmax", Op::kHardmax, {real({2, 7})}, {{"axis", number(1)}});
  c.add("layer_norm", Op::kLayerNormalization, {real({3, 4, 5}), weights({5}), weights({5})}, {{"axis", number(-1)}});
  c.add("rms_norm", Op::kRMSNormalization, {real({3, 4, 5}), weights({5})}, {{"axis", number(-1)}});
  c.add("instance_norm", Op::kInstanceNormalization, {real(x), weights({x[1]}), weights({x[1]})});
  c.add("group_norm", Op::kGroupNormalization, {real(x), weights({x[1]}), weights({x[1]})}, {{"num_groups", number(2)}});
  c.add("lp_norm", Op::kLpNormalization, {real({3, 6})}, {{"axis", number(1)}, {"p", number(2)}});
  c.add("top_k", Op::kTopK, {real({3, 8})}, {{"axis", number(1)}, {"k", number(3)}}, 2);
  c.add("cum_sum", Op::kCumSum, {real({3, 4})}, {{"axis", number(1)}, {"reverse", number(1)}});
  c.add("one_hot", Op::kOneHot, {indices({2, 3}, 4)}, {{"depth", number(4)}, {"axis", number(-1)}});
  c.add("reverse_sequence", Op::kReverseSequence, {real({5, 3, 2}), {DType::kI64, {3}, false, 1, 5}}, {{"batch_axis", number(1)}, {"time_axis", number(0)}});
  c.add("nms", Op::kNonMaxSuppression, {between({1, 6, 4}, 0, 1), between({1, 2, 6}, 0, 1)}, {{"max_output_boxes_per_class", number(3)}, {"iou_threshold", 0.4}, {"score_threshold", 0.2}});
}

void movement(Cases& c) {
  const Shape x = c.image();
  c.add("transpose", Op::kTranspose, {real({2, 3, 5})}, {{"perm", Ints{2, 0, 1}}});
  c.add("concat", Op::kConcat, {real(x), real(x)}, {{"axis", number(2)}});
  c.add("slice", Op::kSlice, {real({5, 6})}, {{"starts", Ints{1, -1}}, {"ends", Ints{4, -7}}, {"axes", Ints{0, 1}}, {"steps", Ints{1, -2}}});
  c.add("pad", Op::kPad, {real({3, 4})}, {{"pads", Ints{1, 2, 0, 1}}});
  c.add("pad_reflect", Op::kPad, {real({3, 4})}, {{"pads", Ints{1, 2, 0, 1}}, {"mode", text("reflect")}});
  c.add("shuffle", Op::kChannelShuffle, {real({1, 6, 4, 3})}, {{"group", number(3)}});
  for (const int64_t row_bytes : {1, 4, 9, 16, 40}) c.add("recode", Op::kRecode, {real({1, 5, 6, 4})}, {{"row_bytes", number(row_bytes)}});
  for (const int64_t row_bytes : {9, 40}) c.add("recode through a lifting", Op::kRecode, {real({1, 5, 6, 4})}, {{"row_bytes", number(row_bytes)}, {"lifting", Ints{0, 1, 2, 0, 3, 8, 12, 4, 8, 16, 0, 4, 8, 0, 2}}});
  c.add("depth_to_space", Op::kDepthToSpace, {real({1, 8, 2, 3})}, {{"blocksize", number(2)}});
  c.add("tile", Op::kTile, {real({3, 2})}, {{"repeats", Ints{2, 3}}});
  c.add("gather", Op::kGather, {real({5, 4}), indices({2, 3}, 5)}, {{"axis", number(0)}});
  c.add("gather_table", Op::kGather, {weights({9, 6}), indices({1, 4}, 9)}, {{"axis", number(0)}});
  c.add("gather_elements", Op::kGatherElements, {real({3, 4}), indices({2, 3}, 3)}, {{"axis", number(0)}});
  c.add("gather_nd", Op::kGatherND, {real({2, 3, 4}), indices({2, 2}, 3)}, {{"batch_dims", number(1)}});
  c.add("scatter_nd", Op::kScatterND, {real({3, 4}), indices({2, 1}, 3), real({2, 4})}, {{"reduction", text("add")}});
  c.add("scatter_elements", Op::kScatterElements, {real({3, 4}), indices({3, 1}, 4), real({3, 1})}, {{"axis", number(1)}});
}

}  // namespace

std::vector<OperatorCase> operator_cases(Random& random) {
  Cases c(random);
  products(c);
  windows(c);
  elementwise(c);
  along_axis(c);
  movement(c);
  return c.take();
}

}  // namespace pith::testing
