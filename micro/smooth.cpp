// See smooth.h. Values that are added form a class; a class is smoothed when everything that makes or reads its members can
// take the factors in, and a normalisation reads one of them.
#include "micro/smooth.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ir/interpret.h"
#include "micro/calibrate.h"
#include "numerics/norm.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

int64_t width_of(const Graph& g, ValueId id) { return g.value(id).shape.empty() ? 0 : g.value(id).shape.back(); }
bool plain(const Node& n) { return n.activation.function == numerics::Unary::kIdentity && (n.outputs.size() == 1 || std::all_of(n.outputs.begin() + 1, n.outputs.end(), [](ValueId id) { return id == ir::kNoValue; })); }
bool normalises(const Graph& g, const Node& n) {
  const auto rank = static_cast<int64_t>(g.value(n.inputs[0]).shape.size()), axis = n.integer("axis", -1);
  return (n.op == Op::kLayerNormalization || n.op == Op::kRMSNormalization) && (axis == -1 || axis == rank - 1);
}
bool floats(const Graph& g, ValueId id) { return g.value(id).is_constant() && g.value(id).constant->dtype() == ir::DType::kF32 && !g.value(id).quant; }
bool product(const Graph& g, const Node& n) {
  const bool plain_gemm = n.op == Op::kGemm && n.real("alpha", 1) == 1 && n.real("beta", 1) == 1 && n.integer("transA", 0) == 0;
  return (n.op == Op::kMatMul || plain_gemm) && is_weighted(g, n) && floats(g, n.inputs[1]);
}
bool transposed(const Node& n) { return n.op == Op::kGemm && n.integer("transB", 0) != 0; }
bool table(const Graph& g, const Node& n) { return n.op == Op::kGather && n.integer("axis", 0) == 0 && floats(g, n.inputs[0]) && g.value(n.inputs[0]).shape.size() == 2; }

class Smoother {
 public:
  explicit Smoother(Graph& g) : g_(g), root_(g.values.size()), movable_(g.values.size(), true), normed_(g.values.size(), false) {
    std::iota(root_.begin(), root_.end(), ValueId{0});
    for (const Node& n : g.nodes) {
      if (!sums(n)) continue;
      for (ValueId id : n.inputs) {
        if (!g.value(id).is_constant()) root_[index(find(id))] = find(n.outputs[0]);
      }
    }
    for (const Node& n : g.nodes) look(n);
    for (const auto* ids : {&g.inputs, &g.outputs}) {
      for (ValueId id : *ids) movable_[index(find(id))] = false;
    }
  }
  bool smooths(ValueId id) { return movable_[index(find(id))] && normed_[index(find(id))] && width_of(g_, id) > 1; }
  bool any() {
    for (size_t v = 0; v < root_.size(); ++v) {
      if (smooths(static_cast<ValueId>(v))) return true;
    }
    return false;
  }
  ValueId find(ValueId id) {
    while (root_[index(id)] != id) id = root_[index(id)] = root_[index(root_[index(id)])];
    return id;
  }
  // Factors by class: exponents of two.
  void apply(const std::map<ValueId, std::vector<int64_t>>& exponents) {
    const auto of = [&](ValueId id) -> const std::vector<int64_t>* {
      const auto e = id == ir::kNoValue ? exponents.end() : exponents.find(find(id));
      return e == exponents.end() || g_.value(id).is_constant() ? nullptr : &e->second;
    };
    for (Node& n : g_.nodes) {  // constants that are added are divided like what they are added to
      const auto *made = of(n.outputs.empty() ? ir::kNoValue : n.outputs[0]), *read = of(n.inputs.empty() ? ir::kNoValue : n.inputs[0]);
      if (made && sums(n)) {
        for (size_t i = 0; i < 2; ++i) {
          if (g_.value(n.inputs[i]).is_constant()) scale(n, i, *made, -1, false);
        }
        continue;
      }
      if (made && product(g_, n)) scale(n, 1, *made, -1, transposed(n));
      if (made && table(g_, n)) scale(n, 0, *made, -1, false);
      if (made && normalises(g_, n)) scale(n, 1, *made, -1, false);
      if (made && n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue) scale(n, 2, *made, -1, false);
      if (read && product(g_, n)) scale(n, 1, *read, 1, !transposed(n));
      if (read && normalises(g_, n)) n.attributes["spread"] = *read;
    }
  }

 private:
  static size_t index(ValueId id) { return static_cast<size_t>(id); }
  // A sum whose operands have its channels, or are constants that can be divided.
  bool sums(const Node& n) const {
    if (n.op != Op::kAdd || !plain(n)) return false;
    return std::all_of(n.inputs.begin(), n.inputs.end(), [&](ValueId id) {
      return width_of(g_, id) == width_of(g_, n.outputs[0]) && (!g_.value(id).is_constant() || floats(g_, id));
    });
  }
  bool vector(ValueId id, int64_t width) const { return floats(g_, id) && g_.value(id).constant->count() == width && width_of(g_, id) == width; }
  void look(const Node& n) {
    if (sums(n)) return;
    for (ValueId id : n.outputs) {
      if (id == ir::kNoValue) continue;
      const int64_t width = width_of(g_, id);
      const bool bias = n.inputs.size() < 3 || n.inputs[2] == ir::kNoValue || vector(n.inputs[2], width);
      const bool divides = plain(n) && id == n.outputs[0] && ((product(g_, n) && bias) || table(g_, n) || (normalises(g_, n) && bias && vector(n.inputs[1], width) && !n.has("spread")));
      if (!divides) movable_[index(find(id))] = false;
    }
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const ValueId id = n.inputs[i];
      if (id == ir::kNoValue || g_.value(id).is_constant()) continue;
      const bool norm = i == 0 && normalises(g_, n) && !n.has("spread") && plain(n);
      if (!norm && !(i == 0 && product(g_, n))) movable_[index(find(id))] = false;
      if (norm) normed_[index(find(id))] = true;
    }
  }
  // Multiplies operand i by 2^(sign * exponent), along the first of two dimensions or along the last.
  void scale(Node& n, size_t i, const std::vector<int64_t>& exponents, int sign, bool first) {
    ir::Value v = g_.value(n.inputs[i]);
    const int64_t inner = first ? v.shape.back() : 1, count = static_cast<int64_t>(exponents.size());
    Tensor t = *v.constant;
    auto values = t.mut<float>();
    for (size_t k = 0; k < values.size(); ++k) values[k] = std::ldexp(values[k], sign * static_cast<int>(exponents[static_cast<size_t>(static_cast<int64_t>(k) / inner % count)]));
    v.constant = std::move(t);
    int readers = 0;
    for (const Node& other : g_.nodes) readers += static_cast<int>(std::count(other.inputs.begin(), other.inputs.end(), n.inputs[i]));
    if (readers > 1) v.name += ".spread";  // another node goes on with the original
    n.inputs[i] = g_.add_value(std::move(v));
  }

  Graph& g_;
  std::vector<ValueId> root_;
  std::vector<bool> movable_, normed_;  // by root
};

}  // namespace

Result<int64_t> smooth(Graph& g, const std::vector<std::vector<Tensor>>& samples) {
  Smoother smoother(g);
  if (!smoother.any()) return int64_t{0};
  std::map<ValueId, std::vector<double>> largest;  // of each member's channels
  ir::InterpretOptions options;
  options.observe = [&](ValueId id, const Tensor& t) {
    if (t.dtype() != ir::DType::kF32 || g.value(id).is_constant() || !smoother.smooths(id)) return;
    std::vector<double>& most = largest[id];
    most.resize(static_cast<size_t>(t.shape().back()), 0.0);
    const auto x = t.as<float>();
    for (size_t i = 0; i < x.size(); ++i) most[i % most.size()] = std::max<double>(most[i % most.size()], std::abs(x[i]));
  };
  for (size_t i = 0; i < std::min(samples.size(), kSmoothingSamples); ++i) PITH_CHECK_OK(ir::interpret(g, samples[i], options));
  std::map<ValueId, std::vector<int64_t>> exponents;
  for (const Node& n : g.nodes) {  // what normalisations read decides
    const auto found = n.inputs.empty() ? largest.end() : largest.find(n.inputs[0]);
    if (found == largest.end() || !normalises(g, n)) continue;
    std::vector<double> sorted = found->second;
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2), sorted.end());
    const double usual = kUsual * sorted[sorted.size() / 2];
    std::vector<int64_t>& e = exponents[smoother.find(n.inputs[0])];
    e.resize(sorted.size(), 0);
    for (size_t c = 0; c < sorted.size() && usual > 0; ++c) {
      const double above = std::log2(std::max(found->second[c] / usual, 1e-9));
      e[c] = std::max(e[c], std::clamp<int64_t>(static_cast<int64_t>(std::ceil(above)), 0, numerics::kSpreadMost));
    }
  }
  int64_t divided = 0;
  for (auto it = exponents.begin(); it != exponents.end();) {
    const int64_t here = std::count_if(it->second.begin(), it->second.end(), [](int64_t e) { return e > 0; });
    divided += here;
    it = here == 0 ? exponents.erase(it) : std::next(it);
  }
  smoother.apply(exponents);
  if (divided > 0) PITH_CHECK_OK(ir::verify(g));
  return divided;
}

}  // namespace pith
