// See side_by_side.h.
#include "ir/side_by_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ir/geometry.h"
#include "ir/products.h"

namespace pith::ir {
namespace {

using Live = std::vector<std::vector<Tensor>>;  // by value id, by sample

// Where nothing that a node reads differs, its results don't either.
bool reads_the_same(const Graph& a, const Graph& b, const Node& node, const Live& first, const Live& second) {
  for (ValueId id : node.inputs) {
    if (id == kNoValue) continue;
    const auto &x = a.value(id), &y = b.value(id);
    if (x.is_constant() && (!y.is_constant() || x.constant->bytes() != y.constant->bytes())) return false;
    if (!x.is_constant() && !first[static_cast<size_t>(id)].empty() && first[static_cast<size_t>(id)][0].bytes() != second[static_cast<size_t>(id)][0].bytes()) return false;
  }
  return true;
}

Result<void> run_all(const Graph& g, const Node& node, size_t samples, Live& live) {
  std::vector<std::vector<Tensor>> results(samples);
  for (size_t s = 0; s < samples; ++s) {
    std::vector<const Tensor*> operands;
    for (ValueId id : node.inputs) {
      const bool none = id == kNoValue;
      operands.push_back(none ? nullptr : g.value(id).constant ? &*g.value(id).constant : &live[static_cast<size_t>(id)][s]);
    }
    PITH_TRY(results[s], interpret_node(g, node, operands));
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    std::vector<Tensor>& out = live[static_cast<size_t>(node.outputs[i])];
    for (size_t s = 0; s < samples; ++s) out.push_back(std::move(results[s][i]));
  }
  return {};
}

std::vector<int> last_readers(const Graph& g) {
  std::vector<int> last(g.values.size(), -1);
  for (size_t k = 0; k < g.nodes.size(); ++k) {
    for (ValueId id : g.nodes[k].inputs) {
      if (id != kNoValue) last[static_cast<size_t>(id)] = static_cast<int>(k);
    }
  }
  return last;
}

}  // namespace

Result<void> walk_side_by_side(const Graph& original, Graph& student, const std::vector<std::vector<Tensor>>& samples, const Visitor& visit) {
  if (!original.state.empty()) return error(ErrorCode::kUnsupported, fmt::format("'{}' carries state from run to run; layers can't be looked at one by one", original.name));
  if (original.nodes.size() != student.nodes.size()) return internal_error("original and student differ in their nodes");
  const size_t count = samples.size();
  Live first(original.values.size()), second(original.values.size());
  for (const std::vector<Tensor>& sample : samples) {
    for (size_t i = 0; i < original.inputs.size(); ++i) {
      first[static_cast<size_t>(original.inputs[i])].push_back(sample[i]);
      second[static_cast<size_t>(student.inputs[i])].push_back(sample[i]);
    }
  }
  const std::vector<int> last = last_readers(original);
  for (size_t k = 0; k < original.nodes.size(); ++k) {
    const Node& node = original.nodes[k];
    const ValueId in = node.inputs.empty() ? kNoValue : node.inputs[0];
    if (in != kNoValue && !original.value(in).is_constant()) {
      const SideBySide inputs{first[static_cast<size_t>(in)], second[static_cast<size_t>(in)]};  // tensors share their bytes
      PITH_CHECK_OK(visit(k, inputs));
      PITH_CHECK_OK(infer_shapes(student, student.nodes[k]));
    }
    if (second.size() < student.values.size()) second.resize(student.values.size());
    PITH_CHECK_OK(run_all(original, node, count, first));
    if (node.inputs == student.nodes[k].inputs && reads_the_same(original, student, node, first, second)) {
      for (ValueId id : node.outputs) {
        if (id != kNoValue) second[static_cast<size_t>(id)] = first[static_cast<size_t>(id)];
      }
    } else {
      PITH_CHECK_OK(run_all(student, student.nodes[k], count, second));
    }
    for (const auto* ids : {&node.inputs, &node.outputs}) {
      for (ValueId id : *ids) {
        if (id == kNoValue || last[static_cast<size_t>(id)] > static_cast<int>(k)) continue;
        first[static_cast<size_t>(id)].clear();
        second[static_cast<size_t>(id)].clear();
      }
    }
  }
  return {};
}

std::optional<ProductRows> product_rows(const Graph& g, const Node& n) {
  if (n.inputs.size() < 2 || n.inputs[1] == kNoValue || !g.value(n.inputs[1]).is_constant() || g.value(n.inputs[0]).is_constant() || is_channels_last(n)) return std::nullopt;
  const Shape& w = g.value(n.inputs[1]).shape;
  const bool dense = (n.op == Op::kGemm && n.integer("transA", 0) == 0) || n.op == Op::kMatMul;
  if (n.op != Op::kConv && (!dense || w.size() != 2)) return std::nullopt;
  ProductRows r;
  r.contiguous = n.op == Op::kConv || (n.op == Op::kGemm && n.integer("transB", 0) != 0);
  r.axis = r.contiguous ? 0 : 1;
  r.outputs = w[static_cast<size_t>(r.axis)];
  r.width = element_count(w) / std::max<int64_t>(1, r.outputs);
  r.depth = n.op == Op::kConv ? w[1] : r.width;
  r.groups = n.op == Op::kConv ? n.integer("group", 1) : 1;
  r.columns = w.size() == 4 ? w[3] : w.size() == 3 ? w[2] : 1;
  if (r.outputs < 1 || r.width < 1) return std::nullopt;
  return r;
}

namespace {

// Patches of one sample as rows of a matrix, group by group.
class Patches {
 public:
  static Result<Patches> of(const Graph& g, const Node& n) {
    Patches p;
    p.rows_ = *product_rows(g, n);
    p.convolution_ = n.op == Op::kConv;
    if (!p.convolution_) return p;
    const Shape &x = g.value(n.inputs[0]).shape, &kernel = g.value(n.inputs[1]).shape;
    PITH_TRY(const std::vector<Window> w, windows(n, spatial(x), spatial(kernel)));
    p.window_ = as_2d(w);
    return p;
  }
  const ProductRows& rows() const { return rows_; }
  int64_t positions(const Tensor& x) const { return convolution_ ? x.shape()[0] * window_[0].output * window_[1].output : x.count() / rows_.width; }
  int64_t columns() const { return convolution_ ? window_[1].output : 1; }

  void read(const Tensor& x, int64_t group, int64_t position, float* to) const {
    const auto values = x.as<float>();
    if (!convolution_) {
      std::copy_n(values.data() + position * rows_.width, rows_.width, to);
      return;
    }
    const Window &down = window_[0], &across = window_[1];
    const int64_t plane = down.input * across.input, image = position / (down.output * across.output), at = position % (down.output * across.output);
    const float* from = values.data() + (image * rows_.depth * rows_.groups + group * rows_.depth) * plane;
    for (int64_t kh = 0; kh < down.kernel; ++kh) {
      const int64_t ih = at / across.output * down.stride - down.pad_begin + kh * down.dilation;
      for (int64_t kw = 0; kw < across.kernel; ++kw, to += rows_.depth) {
        const int64_t iw = at % across.output * across.stride - across.pad_begin + kw * across.dilation;
        const bool inside = ih >= 0 && ih < down.input && iw >= 0 && iw < across.input;
        for (int64_t c = 0; c < rows_.depth; ++c) to[c] = inside ? from[c * plane + ih * across.input + iw] : 0;
      }
    }
  }

 private:
  ProductRows rows_;
  bool convolution_ = false;
  std::array<Window, 2> window_;
};

// a' b of two matrices of `count` rows, added to `sum`.
void add_products(const std::vector<float>& a, int64_t m, const std::vector<float>& b, int64_t n, int64_t count, double* sum) {
  static thread_local std::vector<float> product;
  product.resize(static_cast<size_t>(m * n));
  gemm(true, false, m, n, count, a.data(), m, b.data(), n, false, product.data(), n);
  for (size_t i = 0; i < product.size(); ++i) sum[i] += product[i];
}

void add_sums(const std::vector<float>& a, int64_t m, double* sum) {
  for (size_t i = 0; i < a.size(); ++i) sum[static_cast<int64_t>(i) % m] += a[i];
}

}  // namespace

Result<ReadMoments> read_moments(const Graph& original, const Graph& student, const Node& original_node, const Node& student_node, const SideBySide& inputs, int64_t limit, bool with_cross) {
  PITH_TRY(const Patches before, Patches::of(original, original_node));
  PITH_TRY(const Patches after, Patches::of(student, student_node));
  ReadMoments m;
  m.groups = after.rows().groups, m.width = after.rows().width, m.original_width = before.rows().width;
  if (before.rows().groups != m.groups) return internal_error("original and student differ in their groups");
  const int64_t g = m.groups, w = m.width, o = m.original_width;
  m.mean.assign(static_cast<size_t>(g * w), 0), m.original_mean.assign(static_cast<size_t>(g * o), 0);
  m.covariance.assign(static_cast<size_t>(g * w * w), 0), m.cross.assign(with_cross ? static_cast<size_t>(g * o * w) : 0, 0);
  std::vector<float> x, y;
  for (size_t s = 0; s < inputs.student.size(); ++s) {
    const int64_t positions = after.positions(inputs.student[s]);
    int64_t step = std::max<int64_t>(1, positions / limit);
    while (step > 1 && std::gcd(step, after.columns()) != 1) --step;
    const int64_t first = static_cast<int64_t>(s) % step, count = (positions - first + step - 1) / step;
    x.resize(static_cast<size_t>(count * w)), y.resize(static_cast<size_t>(count * o));
    for (int64_t group = 0; group < g; ++group) {
      for (int64_t i = 0; i < count; ++i) {
        after.read(inputs.student[s], group, first + i * step, x.data() + i * w);
        if (with_cross) before.read(inputs.original[s], group, first + i * step, y.data() + i * o);
      }
      add_sums(x, w, m.mean.data() + group * w);
      add_products(x, w, x, w, count, m.covariance.data() + group * w * w);
      if (!with_cross) continue;
      add_sums(y, o, m.original_mean.data() + group * o);
      add_products(y, o, x, w, count, m.cross.data() + group * o * w);
    }
    m.count += static_cast<double>(count);
  }
  for (auto* numbers : {&m.mean, &m.original_mean, &m.covariance, &m.cross}) {
    for (double& v : *numbers) v /= std::max(m.count, 1.0);
  }
  for (int64_t group = 0; group < g; ++group) {
    const double *mean = m.mean.data() + group * w, *first = m.original_mean.data() + group * o;
    for (int64_t i = 0; i < w; ++i) {
      for (int64_t j = 0; j < w; ++j) m.covariance[static_cast<size_t>((group * w + i) * w + j)] -= mean[i] * mean[j];
    }
    for (int64_t i = 0; with_cross && i < o; ++i) {
      for (int64_t j = 0; j < w; ++j) m.cross[static_cast<size_t>((group * o + i) * w + j)] -= first[i] * mean[j];
    }
  }
  return m;
}

}  // namespace pith::ir
