// Cross-layer equalisation: relu(s x) = s relu(x) for s > 0, so channel c of one layer may be divided by s_c when the
// next layer's input channel c is multiplied by it. s_c = sqrt(r1_c / r2_c) gives both layers' channels the same range,
// so that one activation scale serves all of them (Nagel et al. 2019, equation 11).
#include <algorithm>
#include <cmath>

#include "micro/quantize.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Tensor;

bool homogeneous(const Node& n) {
  const auto f = n.activation.function;
  return f == numerics::Unary::kIdentity || f == numerics::Unary::kRelu || f == numerics::Unary::kLeakyRelu;
}

// Largest magnitude of a weight tensor for every index of `axis`.
std::vector<double> ranges(const Tensor& w, size_t axis) {
  std::vector<double> r(static_cast<size_t>(w.shape()[axis]), 0.0);
  int64_t inner = 1;
  for (size_t d = axis + 1; d < w.shape().size(); ++d) inner *= w.shape()[d];
  const auto values = w.as<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    double& m = r[(i / static_cast<size_t>(inner)) % r.size()];
    m = std::max<double>(m, std::abs(values[i]));
  }
  return r;
}

void multiply(Tensor& w, size_t axis, const std::vector<double>& factors) {
  int64_t inner = 1;
  for (size_t d = axis + 1; d < w.shape().size(); ++d) inner *= w.shape()[d];
  auto values = w.mut<float>();
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(values[i] * factors[(i / static_cast<size_t>(inner)) % factors.size()]);
}

bool depthwise(const Graph& g, const Node& n) {
  return n.op == Op::kConv && n.integer("group", 1) == g.value(n.inputs[0]).shape[1] && g.value(n.inputs[1]).shape[1] == 1;
}

}  // namespace

void equalize(Graph& g) {
  for (int round = 0; round < 3; ++round) {
    const auto readers = ir::consumers(g);
    for (Node& first : g.nodes) {
      if (first.op != Op::kConv || !is_weighted(g, first) || !homogeneous(first)) continue;
      const auto& next = readers[static_cast<size_t>(first.outputs[0])];
      const bool leaves = std::find(g.outputs.begin(), g.outputs.end(), first.outputs[0]) != g.outputs.end();
      if (next.size() != 1 || leaves) continue;
      Node& second = g.nodes[static_cast<size_t>(next[0])];
      if (second.op != Op::kConv || !is_weighted(g, second) || second.inputs[0] != first.outputs[0]) continue;
      const bool per_channel = depthwise(g, second);
      if (!per_channel && second.integer("group", 1) != 1) continue;
      // weights may be shared between nodes: never change a constant that others read
      bool shared = false;
      for (const Node* n : {&first, &second}) {
        for (size_t i = 1; i < n->inputs.size(); ++i) shared = shared || (n->inputs[i] != ir::kNoValue && readers[static_cast<size_t>(n->inputs[i])].size() != 1);
      }
      if (shared) continue;
      Tensor& w1 = *g.value(first.inputs[1]).constant;
      Tensor& w2 = *g.value(second.inputs[1]).constant;
      const size_t axis2 = per_channel ? 0 : 1;
      const std::vector<double> r1 = ranges(w1, 0), r2 = ranges(w2, axis2);
      std::vector<double> down(r1.size(), 1.0), up(r1.size(), 1.0);
      for (size_t c = 0; c < r1.size(); ++c) {
        if (r1[c] <= 1e-8 || r2[c] <= 1e-8) continue;
        up[c] = std::clamp(std::sqrt(r1[c] / r2[c]), 1e-2, 1e2);
        down[c] = 1 / up[c];
      }
      multiply(w1, 0, down);
      if (first.inputs.size() > 2 && first.inputs[2] != ir::kNoValue) multiply(*g.value(first.inputs[2]).constant, 0, down);
      multiply(w2, axis2, up);
    }
  }
}

}  // namespace pith
