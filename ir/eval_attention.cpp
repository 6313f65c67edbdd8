// Scaled dot-product attention and rotary position embedding, as ONNX's operator texts state them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/eval.h"
#include "ir/float_math.h"
#include "ir/geometry.h"
#include "ir/loops.h"
#include "ir/products.h"

namespace pith::ir {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

// batch, heads, length, size of an operand that may be batch, length, heads * size
Tensor by_heads(const Tensor& x, int64_t heads) {
  const Shape& s = x.shape();
  return s.size() == 4 ? x : transposed(x.reshaped({s[0], s[1], heads, s[2] / heads}), {0, 2, 1, 3});
}

// past and present joined along the length
Tensor joined(const Tensor* past, const Tensor& present) {
  if (past == nullptr) return present;
  const Shape &p = past->shape(), &n = present.shape();
  Tensor y(DType::kF32, {n[0], n[1], p[2] + n[2], n[3]});
  float* to = y.mut<float>().data();
  for (int64_t i = 0; i < n[0] * n[1]; ++i) {
    to = std::copy_n(past->as<float>().data() + i * p[2] * p[3], p[2] * p[3], to);
    to = std::copy_n(present.as<float>().data() + i * n[2] * n[3], n[2] * n[3], to);
  }
  return y;
}

// What is added to the scores of one head: the mask, and -inf for keys after the query.
class Bias {
 public:
  Bias(const Evaluation& e, const Shape& scores, int64_t past) : queries_(scores[2]), keys_(scores[3]), past_(past) {
    causal_ = e.node.integer("is_causal", 0) != 0;
    if (!e.has(3)) return;
    mask_ = e.inputs[3];
    Shape wide = scores;
    wide[3] = mask_->shape().back() == 1 && keys_ != 1 ? 1 : mask_->shape().back();
    strides_ = broadcast_strides(mask_->shape(), wide);
    masked_keys_ = wide[3];
  }
  bool empty() const { return !causal_ && mask_ == nullptr; }
  void add(int64_t batch, int64_t head, float* scores) const {
    for (int64_t q = 0; q < queries_; ++q, scores += keys_) {
      if (mask_ != nullptr) add_mask(batch * strides_[0] + head * strides_[1] + q * strides_[2], scores);
      for (int64_t k = std::min(q + past_ + 1, keys_); causal_ && k < keys_; ++k) scores[k] = kMasked;
    }
  }

 private:
  void add_mask(int64_t at, float* scores) const {
    for (int64_t k = 0; k < keys_; ++k) {
      if (k >= masked_keys_) {
        scores[k] = kMasked;
      } else if (mask_->dtype() == DType::kBool) {
        if (mask_->as<uint8_t>()[static_cast<size_t>(at + k * strides_[3])] == 0) scores[k] = kMasked;
      } else {
        scores[k] += mask_->as<float>()[static_cast<size_t>(at + k * strides_[3])];
      }
    }
  }
  int64_t queries_, keys_, past_, masked_keys_ = 0;
  bool causal_ = false;
  const Tensor* mask_ = nullptr;
  Shape strides_;
};

// Rows become probabilities; a row that is masked out wholly becomes zero.
void softmax_rows(float* x, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows && n > 0; ++r, x += n) {
    const float highest = *std::max_element(x, x + n);
    if (highest == kMasked) {
      std::fill_n(x, n, 0.0f);
      continue;
    }
    for (int64_t i = 0; i < n; ++i) x[i] = fast_exp(x[i] - highest);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += x[i];
    const auto factor = static_cast<float>(1 / sum);
    for (int64_t i = 0; i < n; ++i) x[i] *= factor;
  }
}

}  // namespace

Result<void> eval_attention(Evaluation& e) {
  const bool four = e.shape(0).size() == 4;
  const int64_t q_heads = four ? e.shape(0)[1] : e.node.integer("q_num_heads", 1);
  const int64_t kv_heads = four ? e.shape(1)[1] : e.node.integer("kv_num_heads", 1);
  const Tensor q = by_heads(e.in(0), q_heads);
  const Tensor k = joined(e.has(4) ? e.inputs[4] : nullptr, by_heads(e.in(1), kv_heads));
  const Tensor v = joined(e.has(5) ? e.inputs[5] : nullptr, by_heads(e.in(2), kv_heads));
  const int64_t batch = q.shape()[0], queries = q.shape()[2], size = q.shape()[3], keys = k.shape()[2],
                out_size = v.shape()[3];
  const auto scale = static_cast<float>(e.node.real("scale", 1 / std::sqrt(static_cast<double>(size))));
  const auto softcap = static_cast<float>(e.node.real("softcap", 0));
  const int64_t mode = e.node.integer("qk_matmul_output_mode", 0);
  const Bias bias(e, {batch, q_heads, queries, keys}, keys - (four ? e.shape(1)[2] : e.shape(1)[1]));

  Tensor y(DType::kF32, {batch, q_heads, queries, out_size});
  Tensor told(DType::kF32, e.wants(3) ? Shape{batch, q_heads, queries, keys} : Shape{0});
  std::vector<float> scores(static_cast<size_t>(queries * keys));
  for (int64_t i = 0; i < batch * q_heads; ++i) {
    const int64_t b = i / q_heads, head = i % q_heads, kv = b * kv_heads + head / (q_heads / kv_heads);
    const auto tell = [&](int64_t stage) {
      if (e.wants(3) && mode == stage)
        std::copy(scores.begin(), scores.end(), told.mut<float>().data() + i * queries * keys);
    };
    gemm(false, true, queries, keys, size, q.as<float>().data() + i * queries * size, size,
         k.as<float>().data() + kv * keys * size, size, false, scores.data(), keys);
    for (float& s : scores) s *= scale;
    tell(0);
    if (softcap > 0) {
      for (float& s : scores) s = softcap * fast_tanh(s / softcap);
    }
    tell(1);
    if (!bias.empty()) bias.add(b, head, scores.data());
    tell(2);
    softmax_rows(scores.data(), queries, keys);
    tell(3);
    gemm(false, false, queries, out_size, keys, scores.data(), keys, v.as<float>().data() + kv * keys * out_size,
         out_size, false, y.mut<float>().data() + i * queries * out_size, out_size);
  }
  e.outputs[0] = (four ? y : transposed(y, {0, 2, 1, 3})).reshaped(e.outputs[0].shape());
  if (e.wants(1)) e.outputs[1] = k;
  if (e.wants(2)) e.outputs[2] = v;
  if (e.wants(3)) e.outputs[3] = told;
  return {};
}

Result<void> eval_rotary(Evaluation& e) {
  const bool four = e.shape(0).size() == 4, interleaved = e.node.integer("interleaved", 0) != 0;
  const Tensor x = four ? e.in(0) : by_heads(e.in(0), e.node.integer("num_heads", 1));
  const int64_t batch = x.shape()[0], heads = x.shape()[1], steps = x.shape()[2], size = x.shape()[3];
  int64_t rotated = e.node.integer("rotary_embedding_dim", 0);
  if (rotated == 0) rotated = size;
  const int64_t half = rotated / 2, positions = e.shape(1)[0], columns = e.shape(1).back();
  Tensor y = x;
  float* row = y.mut<float>().data();
  for (int64_t i = 0; i < batch * heads * steps; ++i, row += size) {
    const int64_t b = i / (heads * steps), t = i % steps;
    int64_t at = b * steps + t;
    if (e.has(3)) {
      at = static_cast<int64_t>(e.in(3).at(at));
      if (at < 0 || at >= positions)
        return e.fail(fmt::format("the position {} is out of range, {} are known", at, positions));
    }
    const float *cosine = e.f32(1) + at * columns, *sine = e.f32(2) + at * columns;
    for (int64_t k = 0; k < half; ++k) {
      float &a = row[interleaved ? 2 * k : k], &c = row[interleaved ? 2 * k + 1 : half + k];
      const float real = cosine[k] * a - sine[k] * c, imaginary = sine[k] * a + cosine[k] * c;
      a = real;
      c = imaginary;
    }
  }
  e.outputs[0] = (four ? y : transposed(y, {0, 2, 1, 3})).reshaped(e.outputs[0].shape());
  return {};
}

}  // namespace pith::ir
