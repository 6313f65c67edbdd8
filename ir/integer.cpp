// Execution in integers: which nodes have it, and the frame around the kernels.
//
// Every kernel leaves codes of 8 bits under a meaning called the stage. For no activation, Relu and Clip the stage is
// the output's meaning, and the activation clamps; for any other activation it is `pre`, and a table of 256 entries
// leads from there to the output's.
#include "ir/integer.h"

#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/integer_kernels.h"
#include "ir/loops.h"
#include "ir/resize.h"
#include "numerics/attention.h"
#include "numerics/norm.h"

namespace pith::ir {
namespace {

using numerics::Affine;
using numerics::Unary;

const Value* operand(const Graph& graph, const Node& node, size_t i) {
  return i < node.inputs.size() && node.inputs[i] != kNoValue ? &graph.value(node.inputs[i]) : nullptr;
}
const Value& result(const Graph& graph, const Node& node, size_t i = 0) { return graph.value(node.outputs[i]); }

bool single_scale(const Value& v) { return is_activation(v) || (is_weights(v) && v.quant->scale_codes.size() == 1); }

bool clamps(const Activation& a) {
  return a.function == Unary::kIdentity || a.function == Unary::kRelu || a.function == Unary::kClip;
}
Affine stage_meaning(const Graph& graph, const Node& node) {
  return clamps(node.activation) ? result(graph, node).quant->affine : *node.activation.pre;
}

bool product_form(const Graph& graph, const Node& node) {
  const Value &x = *operand(graph, node, 0), &w = *operand(graph, node, 1);
  const Value* bias = operand(graph, node, 2);
  if (!is_activation(x)) return false;
  if (node.op == Op::kGemm && (node.real("alpha", 1) != 1 || (bias != nullptr && node.real("beta", 1) != 1)))
    return false;
  if (bias != nullptr &&
      (!is_bias(*bias) || bias->shape.size() != 1 || bias->shape != Shape{product_channels(node, w.shape)}))
    return false;
  if (node.op == Op::kMatMul && is_activation(w)) return true;
  return is_weights(w) && (single_scale(w) || w.quant->axis == product_axis(node, w.shape));
}

bool resize_form(const Graph& graph, const Node& node) {
  const Value& x = *operand(graph, node, 0);
  const bool crops = node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize";
  const std::string mode = node.text("mode", "nearest");
  if (mode == "nearest") return !crops && single_scale(x);
  if (mode != "linear" || crops || node.integer("antialias", 0) != 0 || node.integer("exclude_outside", 0) != 0)
    return false;
  if (!is_activation(x) || x.shape.size() != 4) return false;
  const Shape first = is_channels_last(node) ? channels_first(x.shape) : x.shape;
  const auto axes = resize_axes(node, first);
  if (!axes.ok()) return false;
  for (size_t i : {0, 1}) {
    if (axes.value()[i].input != axes.value()[i].output || axes.value()[i].scale != 1) return false;
  }
  if (!clamps(node.activation) && !node.activation.pre) return true;  // the verifier will ask for `pre`
  return x.quant->affine == stage_meaning(graph, node);
}

// Every real-valued operand and result is quantised.
bool move_form(const Graph& graph, const Node& node) {
  if (node.text("reduction", "none") != "none") return false;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value* v = operand(graph, node, i);
    if (v == nullptr || v->dtype != DType::kF32) continue;
    if (!(is_activation(*v) || (is_weights(*v) && node.op != Op::kSplit))) return false;
  }
  for (ValueId id : node.outputs) {
    if (id != kNoValue && !is_activation(graph.value(id))) return false;
  }
  return true;
}

bool pool_form(const Graph& graph, const Node& node) {
  const Value& x = *operand(graph, node, 0);
  const bool indices = node.outputs.size() > 1 && node.outputs[1] != kNoValue;
  return is_activation(x) && !indices && element_count(x.shape) > 0;
}

bool no_other_results(const Node& node) {
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i] != kNoValue) return false;
  }
  return true;
}

// Rows of 8-bit codes under constant parameters.
bool norm_form(const Graph& graph, const Node& node) {
  const Value& x = *operand(graph, node, 0);
  if (!is_activation(x) || x.shape.empty() || !no_other_results(node)) return false;
  const auto rank = static_cast<int64_t>(x.shape.size()), axis = node.integer("axis", -1);
  const int64_t first = axis < 0 ? axis + rank : axis;
  int64_t row = 1;
  for (int64_t d = std::max<int64_t>(first, 0); d < rank; ++d) row *= x.shape[static_cast<size_t>(d)];
  if (first < 0 || row < 1 || row > (node.has("spread") ? numerics::kSpreadNormMost : numerics::kNormMost)) return false;
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    const Value* p = operand(graph, node, i);
    if (p != nullptr && (!p->is_constant() || is_activation(*p) || is_bias(*p) || (p->constant->count() != row && p->constant->count() != 1))) return false;
  }
  return true;
}

// 8-bit queries, keys and values; a mask is added in real numbers.
bool attention_form(const Graph& graph, const Node& node) {
  for (size_t i = 0; i < 3; ++i) {
    if (!is_activation(*operand(graph, node, i))) return false;
  }
  const Value& k = *operand(graph, node, 1);
  const Value* mask = operand(graph, node, 3);
  const size_t rank = operand(graph, node, 0)->shape.size();
  if (operand(graph, node, 4) != nullptr || operand(graph, node, 5) != nullptr || !no_other_results(node)) return false;
  if (rank != k.shape.size() || (rank != 3 && rank != 4) || node.real("softcap", 0) != 0 || k.shape[rank - 2] < 1) return false;
  if (mask != nullptr && (mask->dtype != DType::kF32 || is_bias(*mask) || (mask->shape.back() != k.shape[rank - 2] && mask->shape.back() != 1))) return false;
  const int64_t depth = k.shape.back() / (rank == 3 ? std::max<int64_t>(node.integer("kv_num_heads", 1), 1) : 1);
  return k.shape[rank - 2] <= numerics::kAttentionKeys && depth <= numerics::kAttentionDepth;
}

// The codes of a move: operands are brought to the stage's meaning first, then moved.
Result<Tensor> run_move(IntegerNode& n, const std::vector<Type>& types) {
  std::vector<Tensor> brought(n.inputs.size());
  std::vector<const Tensor*> operands = n.inputs;
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    if (!n.has(i) || n.value(i).dtype != DType::kF32) continue;
    brought[i] = brought_to(n.value(i), *n.inputs[i], n.stage);
    operands[i] = &brought[i];
  }
  Node node = n.node;
  if (node.op == Op::kPad) node.attributes["value"] = int64_t{numerics::quantize_u8(n.node.real("value", 0), n.stage)};
  if (node.op == Op::kRecode) node.attributes["zero"] = int64_t{n.stage.zero_point};
  std::vector<Type> stored = types;
  stored[0].dtype = DType::kU8;
  PITH_TRY(std::vector<Tensor> moved, evaluate(node, operands, stored));
  return std::move(moved[0]);
}

// Split moves first, since each part has its own meaning.
Result<std::vector<Tensor>> run_split(const IntegerNode& n, const std::vector<Type>& types) {
  std::vector<Type> stored = types;
  for (Type& t : stored) t.dtype = DType::kU8;
  PITH_TRY(std::vector<Tensor> parts, evaluate(n.node, n.inputs, stored));
  for (size_t i = 0; i < parts.size(); ++i) {
    if (n.node.outputs[i] == kNoValue) continue;
    const Affine to = i == 0 ? n.stage : result(n.graph, n.node, i).quant->affine;
    parts[i] = translated(parts[i], n.affine(0), to);
  }
  return parts;
}

Tensor run_table(const IntegerNode& n) {
  const Activation f = *unary_function(n.node);
  uint8_t table[256];
  numerics::build_table(f.function, f.a, f.b, n.affine(0), n.stage, table);
  Tensor y(DType::kU8, n.y_shape);
  const auto in = n.inputs[0]->as<uint8_t>();
  auto out = y.mut<uint8_t>();
  for (size_t i = 0; i < in.size(); ++i) out[i] = table[in[i]];
  return y;
}

// Clamps the codes, or leads them through the activation's table.
void apply_activation(const Activation& a, Affine stage, Affine out, Tensor& codes) {
  if (a.function == Unary::kIdentity) return;
  uint8_t table[256];
  if (clamps(a)) {
    const int low = a.function == Unary::kRelu ? out.zero_point : numerics::quantize_u8(a.a, out);
    const int high = a.function == Unary::kRelu ? 255 : std::max<int>(low, numerics::quantize_u8(a.b, out));
    for (int q = 0; q < 256; ++q) table[q] = static_cast<uint8_t>(numerics::clamp(q, low, high));
  } else {
    numerics::build_table(a.function, a.a, a.b, stage, out, table);
  }
  for (uint8_t& q : codes.mut<uint8_t>()) q = table[q];
}

bool is_move(const Node& node) {
  return op_traits(node.op).integer_form == IntegerForm::kMove ||
         (node.op == Op::kResize && node.text("mode", "nearest") == "nearest");
}

}  // namespace

bool has_integer_operands(const Graph& graph, const Node& node) {
  if (node.outputs.empty() || node.outputs[0] == kNoValue || !is_activation(result(graph, node))) return false;
  switch (node.op) {
    case Op::kConv:
    case Op::kConvTranspose:
    case Op::kGemm:
    case Op::kMatMul:
      return product_form(graph, node);
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kPRelu:
      return single_scale(*operand(graph, node, 0)) && single_scale(*operand(graph, node, 1));
    case Op::kMaxPool:
    case Op::kAveragePool:
    case Op::kGlobalAveragePool:
    case Op::kGlobalMaxPool:
    case Op::kReduceMean:
    case Op::kReduceMax:
    case Op::kReduceMin:
      return pool_form(graph, node);
    case Op::kResize:
      return resize_form(graph, node);
    case Op::kLayerNormalization:
    case Op::kRMSNormalization:
      return norm_form(graph, node);
    case Op::kAttention:
      return attention_form(graph, node);
    default:
      break;
  }
  switch (op_traits(node.op).integer_form) {
    case IntegerForm::kTable:
      return is_activation(*operand(graph, node, 0)) && unary_function(node).has_value();
    case IntegerForm::kMove:
      return move_form(graph, node);
    default:
      return false;
  }
}

bool has_integer_form(const Graph& graph, const Node& node) {
  return has_integer_operands(graph, node) && (clamps(node.activation) || node.activation.pre);
}

Result<std::vector<Tensor>> run_integer(const Graph& graph, const Node& node, const std::vector<const Tensor*>& inputs,
                                        const std::vector<Type>& types) {
  IntegerNode n{graph, node, inputs, stage_meaning(graph, node), types[0].shape};
  std::vector<Tensor> outputs(node.outputs.size());
  const Affine out = result(graph, node).quant->affine;
  if (node.op == Op::kSplit) {
    PITH_TRY(outputs, run_split(n, types));
  } else if (is_move(node)) {
    PITH_TRY(outputs[0], run_move(n, types));
  } else {
    const bool last = is_channels_last(node) && inputs[0]->shape().size() > 2;
    Tensor first_input;
    if (last) {
      first_input = to_channels_first(*inputs[0]);
      n.inputs[0] = &first_input;
      n.y_shape = channels_first(n.y_shape);
    }
    switch (node.op) {
      case Op::kConv:
      case Op::kConvTranspose:
      case Op::kGemm:
      case Op::kMatMul:
        outputs[0] = integer_product(n);
        break;
      case Op::kAdd:
      case Op::kSub:
      case Op::kMul:
      case Op::kPRelu:
        outputs[0] = integer_binary(n);
        break;
      case Op::kMaxPool:
      case Op::kAveragePool:
        outputs[0] = integer_pool(n);
        break;
      case Op::kGlobalAveragePool:
      case Op::kGlobalMaxPool:
      case Op::kReduceMean:
      case Op::kReduceMax:
      case Op::kReduceMin:
        outputs[0] = integer_reduce(n);
        break;
      case Op::kResize:
        outputs[0] = integer_interpolation(n);
        break;
      case Op::kLayerNormalization:
      case Op::kRMSNormalization:
        outputs[0] = integer_norm(n);
        break;
      case Op::kAttention:
        outputs[0] = integer_attention(n);
        break;
      default:
        outputs[0] = run_table(n);
        break;
    }
    if (last) outputs[0] = to_channels_last(outputs[0]);
  }
  apply_activation(node.activation, n.stage, out, outputs[0]);
  return outputs;
}

}  // namespace pith::ir
