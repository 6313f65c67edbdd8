// Nms: ONNX's NonMaxSuppression. For each batch and class: boxes by falling score, each kept unless it overlaps a kept
// one by more than the threshold. Rows of `selected` beyond the last kept box are -1.
#include "runtime/ops/ops.h"
#include "runtime/ops/sort.h"

namespace pith::runtime {
namespace {

struct Box {
  float top, left, bottom, right;
};

Box box_at(const float* b, bool center) {
  if (center) return {b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2, b[0] + b[2] / 2};
  const bool y = b[0] < b[2], x = b[1] < b[3];
  return {y ? b[0] : b[2], x ? b[1] : b[3], y ? b[2] : b[0], x ? b[3] : b[1]};
}

bool overlaps(const Box& a, const Box& b, float threshold) {
  const float top = a.top > b.top ? a.top : b.top, left = a.left > b.left ? a.left : b.left;
  const float bottom = a.bottom < b.bottom ? a.bottom : b.bottom, right = a.right < b.right ? a.right : b.right;
  if (bottom <= top || right <= left) return false;
  const float common = (bottom - top) * (right - left);
  const float all = (a.bottom - a.top) * (a.right - a.left) + (b.bottom - b.top) * (b.right - b.left) - common;
  return all > 0 && common / all > threshold;
}

}  // namespace

const char* prepare_Nms(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &boxes = *op.inputs[0], &scores = *op.inputs[1], &y = *op.outputs[0];
  if (boxes.dtype != PITH_F32 || scores.dtype != PITH_F32 || y.dtype != PITH_I32)
    return "its boxes and scores aren't float";
  if (boxes.rank != 3 || scores.rank != 3 || boxes.dims[2] != 4 || boxes.dims[0] != scores.dims[0] ||
      boxes.dims[1] != scores.dims[2])
    return "its dimensions don't fit";
  const int64_t most = op.ints[1] < boxes.dims[1] ? op.ints[1] : boxes.dims[1];
  if (op.ints[1] < 0 || y.count() != scores.count_of(0, 2) * most * 3)
    return "its output doesn't have room for all boxes";
  return op.activation != numerics::Unary::kIdentity ? "an activation on integers" : nullptr;
}

void run_Nms(const Op& op, const Run& run) {
  const Tensor &boxes = *op.inputs[0], &scores = *op.inputs[1], &y = *op.outputs[0];
  const int64_t count = boxes.dims[1], classes = scores.dims[1];
  const int64_t most = op.ints[1] < count ? op.ints[1] : count;
  const bool center = op.ints[0] != 0;
  int32_t* order = reinterpret_cast<int32_t*>(run.scratch(op, 0));
  int32_t* to = run.write<int32_t>(&y);
  int32_t* const end = to + y.count();
  for (int64_t n = 0; n < scores.dims[0]; ++n) {
    const float* b = run.read<float>(&boxes) + n * count * 4;
    for (int64_t c = 0; c < classes; ++c) {
      const float* s = run.read<float>(&scores) + (n * classes + c) * count;
      int64_t candidates = 0;
      for (int64_t i = 0; i < count; ++i) {
        if (s[i] > op.reals[1]) order[candidates++] = static_cast<int32_t>(i);
      }
      sort_indices(order, candidates, [&](int32_t l, int32_t r) { return s[l] != s[r] ? s[l] > s[r] : l < r; });
      int64_t kept = 0;
      for (int64_t i = 0; i < candidates && kept < most; ++i) {
        const Box box = box_at(b + order[i] * 4, center);
        bool keep = true;
        for (int64_t k = 0; k < kept && keep; ++k)
          keep = !overlaps(box, box_at(b + to[3 * (k - kept) + 2] * 4, center), op.reals[0]);
        if (!keep) continue;
        to[0] = static_cast<int32_t>(n), to[1] = static_cast<int32_t>(c), to[2] = order[i];
        to += 3;
        ++kept;
      }
    }
  }
  while (to < end) *to++ = -1;
}

}  // namespace pith::runtime
