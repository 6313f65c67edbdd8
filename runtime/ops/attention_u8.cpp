// Attention on 8-bit codes, exact (numerics/attention.h): one query at a time, so that no matrix of scores exists.
#include <string.h>

#include "numerics/attention.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

struct Plan {
  numerics::WideMultiplier units;
  numerics::Multiplier mixture;
  numerics::ExponentTable table{1};
  U8Finish finish;
};

// Where the parts of an operator's scratch lie (program/scratch.h).
struct Scratch {
  int32_t* scores;
  int16_t *weights, *query;
  int32_t* sums;

  Scratch(uint8_t* memory, const AttentionSize& s) {
    const auto round = [](int64_t n) { return (n + 63) / 64 * 64; };
    scores = reinterpret_cast<int32_t*>(memory);
    memory += round(4 * s.keys);
    weights = reinterpret_cast<int16_t*>(memory);
    memory += round(2 * s.keys + 64);
    query = reinterpret_cast<int16_t*>(memory);
    memory += round(2 * s.depth + 64);
    sums = reinterpret_cast<int32_t*>(memory);
  }
};

// Products to units, with what the mask adds, which mostly is nothing; the largest.
int32_t finish_scores(const Op& op, const Run& run, const AttentionSize& s, const Plan& p, int64_t n, int64_t head, int64_t query, int32_t* scores) {
  for (int64_t t = 0; t < s.keys; ++t) scores[t] = numerics::score_units(scores[t], p.units);
  if (const Tensor* mask = op.inputs[kAttentionMask]; mask != nullptr) {
    const int64_t first = attention_mask_index(*mask, {n, head, query, 0}), step = mask->rank > 0 && mask->dims[mask->rank - 1] > 1 ? 1 : 0;
    for (int64_t t = 0; t < s.keys; ++t) {
      const int64_t at = first + t * step;
      const float x = mask->dtype == PITH_F32 ? run.read<float>(mask)[at] : static_cast<float>(numerics::dequantize(run.read<uint8_t>(mask)[at], mask->affine));
      if (x != 0) scores[t] += numerics::score_addend(static_cast<double>(x));
    }
  }
  for (int64_t t = query + 1; op.ints[0] != 0 && t < s.keys; ++t) scores[t] = numerics::kHiddenScore;
  int32_t most = scores[0];
  for (int64_t t = 1; t < s.keys; ++t) most = scores[t] > most ? scores[t] : most;
  return most;
}

}  // namespace

const char* prepare_attention_u8(Builder& builder, Op& op) {
  const Tensor &q = *op.inputs[0], &k = *op.inputs[1], &v = *op.inputs[2], *mask = op.inputs[kAttentionMask], &y = *op.outputs[0];
  const AttentionSize s(op);
  if (k.dtype != PITH_U8 || v.dtype != PITH_U8 || y.dtype != PITH_U8) return "its operands aren't all 8-bit";
  if (s.past > 0 || op.outputs[1] != nullptr || op.outputs[2] != nullptr || op.reals[1] != 0) return "its 8-bit form keeps no past and caps nothing";
  if (mask != nullptr && mask->dtype == PITH_I32) return "its mask has the wrong type";
  if (s.keys > numerics::kAttentionKeys || s.depth > numerics::kAttentionDepth) return "its sums can leave 32 bits";
  Plan plan{numerics::score_multiplier(q.affine, k.affine, op.reals[0]), {}, numerics::ExponentTable(s.keys), computed_finish(builder, op, y)};
  plan.mixture = numerics::multiplier(v.affine.scale_code - plan.finish.raw.scale_code);
  bool fresh;
  uint32_t scale;
  memcpy(&scale, &op.reals[0], 4);
  // heads of one layer are alike
  const uint64_t key = uint64_t{3} << 56 | key_of(q.affine) << 24 | key_of(k.affine), other = static_cast<uint64_t>(scale) << 32 | static_cast<uint64_t>(s.keys);
  Plan* shared = builder.share<Plan>(key, other ^ key_of(v.affine) << 8, key_of(plan.finish.raw) << 24 ^ key_of(y.affine) ^ static_cast<uint64_t>(op.activation) << 56, &fresh);
  if (shared != nullptr && fresh) *shared = plan;
  op.plan = shared;
  return nullptr;
}

void run_attention_u8(const Op& op, const Run& run) {
  const AttentionSize s(op);
  const Plan& p = *static_cast<const Plan*>(op.plan);
  const Epilogue& e = p.finish.epilogue;
  const int32_t zq = op.inputs[0]->affine.zero_point, zk = op.inputs[1]->affine.zero_point, zv = op.inputs[2]->affine.zero_point;
  parallel(run.threads, s.batch * s.heads * s.queries, 1, [&](int64_t begin, int64_t end, int32_t task) {
    const Scratch scratch(run.scratch(op, task), s);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t query = i % s.queries, head = i / s.queries % s.heads, n = i / s.queries / s.heads, shared = n * s.key_heads + head / (s.heads / s.key_heads);
      const uint8_t* q = run.read<uint8_t>(op.inputs[0]) + i * s.depth;
      for (int64_t d = 0; d < s.depth; ++d) scratch.query[d] = static_cast<int16_t>(q[d] - zq);
      for (int64_t d = s.depth; d < s.depth + 32; ++d) scratch.query[d] = 0;
      run.kernels.dots_u8({scratch.query, run.read<uint8_t>(op.inputs[1]) + shared * s.keys * s.depth, static_cast<int32_t>(s.depth), static_cast<int32_t>(s.keys), zk, scratch.scores});
      const int32_t most = finish_scores(op, run, s, p, n, head, query, scratch.scores);
      int64_t weights = 0;
      for (int64_t t = 0; t < s.keys; ++t) {
        const int32_t w = p.table.at(most - scratch.scores[t]);
        scratch.weights[t] = static_cast<int16_t>(w);
        weights += w;
      }
      run.kernels.mixture_u8({scratch.weights, run.read<uint8_t>(op.inputs[2]) + shared * s.keys * s.value_depth, static_cast<int32_t>(s.value_depth), static_cast<int32_t>(s.keys), zv, scratch.sums});
      uint8_t* y = run.write<uint8_t>(op.outputs[0]) + i * s.value_depth;
      const int64_t inverse = numerics::weight_inverse(weights);
      for (int64_t d = 0; d < s.value_depth; ++d) {
        const int32_t code = numerics::clamp(numerics::mixture_code(scratch.sums[d], inverse, p.mixture, e.zero_point), e.low, e.high);
        y[d] = e.table != nullptr ? e.table[code] : static_cast<uint8_t>(code);
      }
    }
  });
}

}  // namespace pith::runtime
