// Rearrangements back to whole operators: pixel shuffle and channel shuffle from Reshape, Transpose, Reshape (Shi et al. 2016;
// Zhang et al. 2018); Einsum of two operands to MatMul between the transposes it needs; zero padding into the convolution
// or pooling that follows.
#include <algorithm>
#include <cmath>
#include <limits>

#include "importers/onnx/rewriter.h"

namespace pith::importers {
namespace {

using ir::Node;
using ir::Op;
using ir::Shape;
using ir::ValueId;
using Integers = std::vector<int64_t>;

// Node i = Reshape(Transpose(Reshape(x)))
bool fuse_rearrangement(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  const Node* transpose = r.maker(n.inputs[0], Op::kTranspose);
  const Node* split = transpose ? r.maker(transpose->inputs[0], Op::kReshape) : nullptr;
  if (!split) return false;
  const ValueId x = split->inputs[0];
  const Shape in = r.shape(x), parts = r.shape(split->outputs[0]), out = r.shape(n.outputs[0]);
  const Integers perm = transpose->integers("perm");
  if (in.size() < 3 || in.size() > 4 || in.size() != out.size() || in[0] != out[0]) return false;

  Integers shuffle_perm{0, 2, 1};
  Shape shuffle{in[0], 0, 0};
  if (parts.size() >= 4 && parts.size() <= in.size() + 1) {  // the spatial dimensions may be one
    for (size_t d = 3; d < parts.size(); ++d) shuffle_perm.push_back(static_cast<int64_t>(d));
    if (perm == shuffle_perm && in == out && parts[0] == in[0] && parts[1] * parts[2] == in[1])
      return r.replace(i, Op::kChannelShuffle, {x}, {{"group", parts[1]}});
  }
  if (in.size() != 4 || parts.size() != 6 || parts[0] != in[0]) return false;
  const auto is = [&](const Integers& wanted_perm, const Shape& wanted_parts) { return perm == wanted_perm && parts == wanted_parts; };
  const int64_t up = in[2] > 0 ? out[2] / in[2] : 0, down = out[2] > 0 ? in[2] / out[2] : 0;
  if (up > 1 && out == Shape{in[0], in[1] / (up * up), in[2] * up, in[3] * up} && in[1] % (up * up) == 0) {
    if (is({0, 1, 4, 2, 5, 3}, {in[0], out[1], up, up, in[2], in[3]}))
      return r.replace(i, Op::kDepthToSpace, {x}, {{"blocksize", up}, {"mode", std::string("CRD")}});
    if (is({0, 3, 4, 1, 5, 2}, {in[0], up, up, out[1], in[2], in[3]})) return r.replace(i, Op::kDepthToSpace, {x}, {{"blocksize", up}});
  }
  if (down > 1 && in == Shape{out[0], out[1] / (down * down), out[2] * down, out[3] * down} && out[1] % (down * down) == 0)
    if (is({0, 3, 5, 1, 2, 4}, {in[0], in[1], out[2], down, out[3], down})) return r.replace(i, Op::kSpaceToDepth, {x}, {{"blocksize", down}});
  return false;
}

// ---- Einsum ----

struct Terms {
  std::string a, b, out;
};

std::optional<Terms> two_terms(const std::string& equation) {
  std::string e;
  for (const char c : equation)
    if (c != ' ') e += c;
  const size_t arrow = e.find("->"), comma = e.find(',');
  if (arrow == std::string::npos || comma == std::string::npos || comma > arrow || e.find('.') != std::string::npos) return std::nullopt;
  Terms t{e.substr(0, comma), e.substr(comma + 1, arrow - comma - 1), e.substr(arrow + 2)};
  for (const std::string& s : {t.a, t.b, t.out})
    for (const char c : s)
      if (std::count(s.begin(), s.end(), c) != 1 || !std::isalpha(static_cast<unsigned char>(c))) return std::nullopt;
  return t;
}

Integers perm_to(const std::string& from, const std::string& to) {
  Integers perm;
  for (const char c : to) perm.push_back(static_cast<int64_t>(from.find(c)));
  return perm;
}

ValueId transposed(Rewriter& r, size_t i, ValueId x, const Integers& perm) {
  return std::is_sorted(perm.begin(), perm.end()) ? x : r.insert(i, Op::kTranspose, {x}, {{"perm", perm}});
}

ValueId reshaped(Rewriter& r, size_t i, ValueId x, const Shape& shape) {
  return x == ir::kNoValue || r.shape(x) == shape ? x : r.insert(i, Op::kReshape, {x}, {{"shape", shape}});
}

bool fuse_einsum_node(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  const auto t = n.inputs.size() == 2 ? two_terms(n.text("equation", "")) : std::nullopt;
  if (!t || r.rank(n.inputs[0]) != static_cast<int64_t>(t->a.size()) || r.rank(n.inputs[1]) != static_cast<int64_t>(t->b.size())) return false;
  std::string batch, left, right, summed;
  for (const char c : t->out) {
    const bool in_a = t->a.find(c) != std::string::npos, in_b = t->b.find(c) != std::string::npos;
    (in_a && in_b ? batch : in_a ? left : right) += c;
    if (!in_a && !in_b) return false;
  }
  for (const char c : t->a)
    if (t->out.find(c) == std::string::npos) summed += c;
  for (const char c : t->b)
    if (t->out.find(c) == std::string::npos && summed.find(c) == std::string::npos) return false;
  if (summed.empty()) return false;
  std::map<char, int64_t> size;
  for (size_t d = 0; d < t->a.size(); ++d) size[t->a[d]] = r.shape(n.inputs[0])[d];
  for (size_t d = 0; d < t->b.size(); ++d) {
    const auto [known, fresh] = size.emplace(t->b[d], r.shape(n.inputs[1])[d]);
    if (!fresh && known->second != r.shape(n.inputs[1])[d]) return false;  // broadcasting of ones
  }
  for (const char c : summed)
    if (t->b.find(c) == std::string::npos) return false;  // summed in one operand alone
  const auto sizes = [&](const std::string& letters) {
    Shape s;
    for (const char c : letters) s.push_back(size[c]);
    return s;
  };
  Shape a_shape = sizes(batch), b_shape = a_shape, y_shape = sizes(batch + left + right);
  if (ir::element_count(y_shape) == 0 || ir::element_count(sizes(summed)) == 0) return false;
  a_shape.insert(a_shape.end(), {ir::element_count(sizes(left)), ir::element_count(sizes(summed))});
  b_shape.insert(b_shape.end(), {ir::element_count(sizes(summed)), ir::element_count(sizes(right))});
  const ValueId a = reshaped(r, i, transposed(r, i, n.inputs[0], perm_to(t->a, batch + left + summed)), a_shape);
  const ValueId b = reshaped(r, i, transposed(r, i, n.inputs[1], perm_to(t->b, batch + summed + right)), b_shape);
  const ValueId product = r.insert(i, Op::kMatMul, {a, b});
  const ValueId y = reshaped(r, i, product, y_shape);
  return y != ir::kNoValue && r.replace(i, Op::kTranspose, {y}, {{"perm", perm_to(batch + left + right, t->out)}});
}

// ---- Pad ----

// Constant padding of the spatial dimensions: begins then ends.
std::optional<Integers> spatial_pads(const Rewriter& r, const Node& pad) {
  if (pad.text("mode", "constant") != "constant") return std::nullopt;
  const int64_t rank = r.rank(pad.inputs[0]);
  Integers axes = pad.integers("axes"), pads = pad.integers("pads"), all(static_cast<size_t>(2 * rank), 0);
  if (axes.empty())
    for (int64_t d = 0; d < rank; ++d) axes.push_back(d);
  if (pads.size() != 2 * axes.size()) return std::nullopt;
  for (size_t k = 0; k < axes.size(); ++k) {
    const int64_t d = axes[k] < 0 ? axes[k] + rank : axes[k];
    all[static_cast<size_t>(d)] = pads[k];
    all[static_cast<size_t>(d + rank)] = pads[k + axes.size()];
  }
  Integers spatial;
  for (int64_t d = 0; d < 2 * rank; ++d) {
    const int64_t p = all[static_cast<size_t>(d)];
    if (p < 0 || (d % rank < 2 && p != 0)) return std::nullopt;
    if (d % rank >= 2) spatial.push_back(p);
  }
  return spatial;
}

bool never_negative(const Rewriter& r, ValueId id) {
  const Node* n = r.maker(id);
  if (!n) return false;
  if (n->activation != ir::Activation())
    return n->activation.function == numerics::Unary::kRelu || n->activation.function == numerics::Unary::kSigmoid;
  if (n->op == Op::kClip) return n->inputs.size() == 1 && n->real("min", -1) >= 0;
  if (n->op == Op::kMaxPool || n->op == Op::kAveragePool) return never_negative(r, n->inputs[0]);
  return n->op == Op::kRelu || n->op == Op::kSigmoid || n->op == Op::kHardSigmoid;
}

bool may_take_padding(const Rewriter& r, const Node& n, const Node& pad, bool padded_before) {
  const double value = pad.real("value", 0);
  switch (n.op) {
    case Op::kConv: return value == 0;
    case Op::kMaxPool:
      return (value == -std::numeric_limits<double>::infinity() || value <= -3.4e38 || (value == 0 && never_negative(r, pad.inputs[0]))) &&
             n.outputs.size() == 1 && n.integer("ceil_mode", 0) == 0;
    case Op::kAveragePool:
      return value == 0 && n.integer("ceil_mode", 0) == 0 && (!padded_before || n.integer("count_include_pad", 0) == 1);
    default: return false;
  }
}

bool fuse_pad(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  const Node* pad = n.inputs.empty() || n.inputs[0] == ir::kNoValue ? nullptr : r.maker(n.inputs[0], Op::kPad);
  if (!pad || n.text("auto_pad", "NOTSET") == "SAME_UPPER" || n.text("auto_pad", "NOTSET") == "SAME_LOWER") return false;
  const auto extra = spatial_pads(r, *pad);
  if (!extra) return false;
  Integers pads = n.integers("pads", Integers(extra->size(), 0));
  if (pads.size() != extra->size()) return false;
  const bool padded_before = std::any_of(pads.begin(), pads.end(), [](int64_t p) { return p != 0; });
  if (!may_take_padding(r, n, *pad, padded_before)) return false;
  for (size_t d = 0; d < pads.size(); ++d) pads[d] += (*extra)[d];
  if (n.op != Op::kConv) {
    // A pooling window must touch data, or the padded form would pool nothing at all.
    const Integers kernel = n.integers("kernel_shape");
    for (size_t d = 0; d < pads.size(); ++d)
      if (kernel.size() * 2 != pads.size() || pads[d] >= kernel[d % kernel.size()]) return false;
  }
  std::vector<ValueId> inputs = n.inputs;
  inputs[0] = pad->inputs[0];
  Attributes attributes = n.attributes;
  attributes.erase("auto_pad");
  attributes["pads"] = pads;
  if (n.op == Op::kAveragePool) attributes["count_include_pad"] = int64_t{1};
  return r.replace(i, n.op, std::move(inputs), std::move(attributes), n.activation);
}

}  // namespace

int fuse_shuffle(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i)
    if (!r.is_dead(i) && r.node(i).op == Op::kReshape) fuse_rearrangement(r, i);
  return r.finish();
}

int fuse_einsum(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i)
    if (!r.is_dead(i) && r.node(i).op == Op::kEinsum) fuse_einsum_node(r, i);
  return r.finish();
}

int fuse_padding(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i)
    if (!r.is_dead(i)) fuse_pad(r, i);
  return r.finish();
}

}  // namespace pith::importers
