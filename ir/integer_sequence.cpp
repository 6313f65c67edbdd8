// Normalisation of rows and attention between 8-bit activations: numerics/norm.h and numerics/attention.h on whole tensors.
#include <algorithm>

#include "ir/interpret.h"
#include "ir/integer_kernels.h"
#include "numerics/attention.h"
#include "numerics/norm.h"

namespace pith::ir {
namespace {

uint8_t limited(int32_t code) { return static_cast<uint8_t>(std::clamp(code, 0, 255)); }

// Operands of an attention as batch, heads, length, size; places within batch, length, heads * size where rank is 3.
struct HeadsView {
  const uint8_t* codes;
  int64_t heads, length, size;
  bool tokens_first;

  HeadsView(const Tensor& t, int64_t given_heads) : codes(t.as<uint8_t>().data()), tokens_first(t.shape().size() == 3) {
    const Shape& s = t.shape();
    heads = tokens_first ? given_heads : s[1];
    length = tokens_first ? s[1] : s[2];
    size = tokens_first ? s[2] / heads : s[3];
  }
  int64_t place(int64_t batch, int64_t head, int64_t at) const { return tokens_first ? ((batch * length + at) * heads + head) * size : ((batch * heads + head) * length + at) * size; }
};

// What the mask adds to the score of key t, in units.
class Addends {
 public:
  explicit Addends(const IntegerNode& n) : causal_(n.node.integer("is_causal", 0) != 0) {
    if (!n.has(3)) return;
    real_ = dequantized(n.value(3), *n.inputs[3]);
  }
  int32_t of(int64_t batch, int64_t head, int64_t query, int64_t key) const {
    if (real_.count() == 0 || real_.dtype() != DType::kF32) return 0;
    const Shape& s = real_.shape();
    const int64_t at[4] = {batch, head, query, key};
    int64_t place = 0;
    for (size_t i = 0; i < s.size(); ++i) place = place * s[i] + (s[i] == 1 ? 0 : at[4 - s.size() + i]);
    return numerics::score_addend(static_cast<double>(real_.as<float>()[static_cast<size_t>(place)]));
  }
  bool hides(int64_t query, int64_t key) const { return causal_ && key > query; }

 private:
  Tensor real_;
  bool causal_ = false;
};

}  // namespace

Tensor integer_norm(const IntegerNode& n) {
  const Shape& shape = n.shape(0);
  const int64_t rank = static_cast<int64_t>(shape.size()), axis = n.node.integer("axis", -1);
  int64_t row = 1;
  for (int64_t d = axis < 0 ? axis + rank : axis; d < rank; ++d) row *= shape[static_cast<size_t>(d)];
  const auto parameter = [&](size_t i) { return n.has(i) ? dequantized(n.value(i), *n.inputs[i]) : Tensor(DType::kF32, {0}); };
  const Tensor scale = parameter(1), bias = parameter(2);
  const auto value = [&](const Tensor& t, int64_t i, double absent) { return t.count() == 0 ? absent : static_cast<double>(t.as<float>()[static_cast<size_t>(i % t.count())]); };
  std::vector<numerics::NormParameter> parameters;
  for (int64_t i = 0; i < row; ++i) parameters.push_back(numerics::norm_parameter(value(scale, i, 1), value(bias, i, 0), n.stage));
  const uint64_t epsilon = numerics::norm_epsilon(static_cast<double>(static_cast<float>(n.node.real("epsilon", 1e-5))), n.affine(0), row);
  const bool rms = n.node.op == Op::kRMSNormalization;
  const int32_t zero = n.affine(0).zero_point;
  const std::vector<int64_t> spread = n.node.integers("spread");
  // what a row's sums are of
  const auto element = [&](const uint8_t* q, int64_t i) { return spread.empty() ? q[i] - (rms ? zero : 0) : numerics::spread_code(q[i], zero, spread[static_cast<size_t>(i)]); };
  Tensor y(DType::kU8, n.y_shape);
  const uint8_t* x = n.inputs[0]->as<uint8_t>().data();
  uint8_t* to = y.mut<uint8_t>().data();
  for (int64_t r = 0; r < n.inputs[0]->count() / row; ++r, x += row, to += row) {
    int64_t sum = 0, squares = 0;
    for (int64_t i = 0; i < row; ++i) {
      const int64_t q = element(x, i);
      sum += q;
      squares += q * q;
    }
    const numerics::NormRow f = rms ? numerics::NormRow::rms(row, squares, 0, epsilon) : numerics::NormRow::layer(row, sum, squares, epsilon);
    for (int64_t i = 0; i < row; ++i) to[i] = limited(numerics::norm_code(f.quotient(element(x, i)), parameters[static_cast<size_t>(i)], n.stage.zero_point));
  }
  return y;
}

Tensor integer_attention(const IntegerNode& n) {
  const HeadsView q(*n.inputs[0], n.node.integer("q_num_heads", 1)), k(*n.inputs[1], n.node.integer("kv_num_heads", 1)), v(*n.inputs[2], n.node.integer("kv_num_heads", 1));
  const double scale = static_cast<double>(static_cast<float>(n.node.has("scale") ? n.node.real("scale", 0) : 1.0 / numerics::sqrt(static_cast<double>(q.size))));
  const numerics::WideMultiplier units = numerics::score_multiplier(n.affine(0), n.affine(1), scale);
  const numerics::Multiplier finish = numerics::multiplier(n.affine(2).scale_code - n.stage.scale_code);
  const numerics::ExponentTable table(k.length);
  const int32_t zq = n.affine(0).zero_point, zk = n.affine(1).zero_point, zv = n.affine(2).zero_point;
  const Addends addends(n);
  Tensor y(DType::kU8, n.y_shape);
  uint8_t* to = y.mut<uint8_t>().data();
  const bool tokens_first = n.y_shape.size() == 3;
  std::vector<int32_t> score(static_cast<size_t>(k.length));
  for (int64_t i = 0; i < n.shape(0)[0] * q.heads * q.length; ++i) {
    const int64_t query = i % q.length, head = i / q.length % q.heads, batch = i / q.length / q.heads, shared = head / (q.heads / k.heads);
    const uint8_t* a = q.codes + q.place(batch, head, query);
    int32_t most = INT32_MIN;
    for (int64_t t = 0; t < k.length; ++t) {
      const uint8_t* b = k.codes + k.place(batch, shared, t);
      int32_t products = 0;
      for (int64_t d = 0; d < q.size; ++d) products += (a[d] - zq) * (b[d] - zk);
      score[static_cast<size_t>(t)] = numerics::score_units(products, units) + addends.of(batch, head, query, t);
      if (addends.hides(query, t)) score[static_cast<size_t>(t)] = numerics::kHiddenScore;
      most = std::max(most, score[static_cast<size_t>(t)]);
    }
    std::vector<int32_t> sums(static_cast<size_t>(v.size), 0);
    int64_t weights = 0;
    for (int64_t t = 0; t < k.length; ++t) {
      const int32_t w = table.at(most - score[static_cast<size_t>(t)]);
      weights += w;
      const uint8_t* b = v.codes + v.place(batch, shared, t);
      for (int64_t d = 0; d < v.size; ++d) sums[static_cast<size_t>(d)] += w * (b[d] - zv);
    }
    uint8_t* out = to + (tokens_first ? ((batch * q.length + query) * q.heads + head) * v.size : i * v.size);
    for (int64_t d = 0; d < v.size; ++d) out[d] = limited(numerics::mixture_code(sums[static_cast<size_t>(d)], numerics::weight_inverse(weights), finish, n.stage.zero_point));
  }
  return y;
}

}  // namespace pith::ir
