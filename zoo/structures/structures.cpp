// The networks. Sources: YOLOv5 v6.0 (Ultralytics' yolov5s.yaml: depth 1/3, width 1/2), ResNet (He et al. 2015; the stride
// in the 3x3 convolution, "v1.5"), YOLOv3 (Redmon and Farhadi 2018), MobileNetV2 (Sandler et al. 2018), DS-CNN (Zhang et
// al. 2017; MLPerf Tiny), RoBERTa-base (Liu et al. 2019). Layers are facts; the tests hold MACs and weights to the
// published ones.
#include "zoo/structures/structures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "zoo/structures/builder.h"

namespace pith::zoo {
namespace {

using ir::Op;
using ir::ValueId;
using numerics::Unary;

// ---- YOLOv5-S ----

ValueId silu(Builder& b, ValueId x, int64_t outputs, int64_t kernel, int64_t stride = 1) { return b.conv(x, outputs, kernel, stride, Unary::kSilu, 1); }

ValueId c3(Builder& b, ValueId x, int64_t outputs, int count, bool shortcut) {
  const int64_t half = outputs / 2;
  ValueId left = silu(b, x, half, 1);
  const ValueId right = silu(b, x, half, 1);
  for (int i = 0; i < count; ++i) {
    const ValueId y = silu(b, silu(b, left, half, 1), half, 3);
    left = shortcut ? b.add(left, y) : y;
  }
  return silu(b, b.concat({left, right}), outputs, 1);
}

void yolov5s(Builder& b) {
  ValueId x = b.conv(b.input({1, 3, 640, 640}), 32, 6, 2, Unary::kSilu, 1, 1, 2);
  x = c3(b, silu(b, x, 64, 3, 2), 64, 1, true);
  const ValueId p3 = c3(b, silu(b, x, 128, 3, 2), 128, 2, true);
  const ValueId p4 = c3(b, silu(b, p3, 256, 3, 2), 256, 3, true);
  x = c3(b, silu(b, p4, 512, 3, 2), 512, 1, true);
  x = silu(b, x, 256, 1);
  const ValueId m1 = b.max_pool(x, 5, 1), m2 = b.max_pool(m1, 5, 1), m3 = b.max_pool(m2, 5, 1);
  x = silu(b, b.concat({x, m1, m2, m3}), 512, 1);
  const ValueId n5 = silu(b, x, 256, 1);
  x = c3(b, b.concat({b.upsample(n5), p4}), 256, 1, false);
  const ValueId n4 = silu(b, x, 128, 1);
  const ValueId small = c3(b, b.concat({b.upsample(n4), p3}), 128, 1, false);
  const ValueId middle = c3(b, b.concat({silu(b, small, 128, 3, 2), n4}), 256, 1, false);
  const ValueId large = c3(b, b.concat({silu(b, middle, 256, 3, 2), n5}), 512, 1, false);
  for (ValueId level : {small, middle, large}) b.graph.outputs.push_back(b.conv(level, 255, 1));
}

// ---- ResNet-50 ----

void resnet50(Builder& b) {
  ValueId x = b.max_pool(b.conv(b.input({1, 3, 224, 224}), 64, 7, 2, Unary::kRelu), 3, 2);
  const int blocks[] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t width = 64 << stage;
    for (int i = 0; i < blocks[stage]; ++i) {
      const int64_t stride = stage > 0 && i == 0 ? 2 : 1;
      const ValueId y = b.conv(b.conv(b.conv(x, width, 1, 1, Unary::kRelu), width, 3, stride, Unary::kRelu), 4 * width, 1);
      const ValueId skip = i == 0 ? b.conv(x, 4 * width, 1, stride) : x;
      x = b.add(y, skip, Unary::kRelu);
    }
  }
  x = b.node(Op::kReshape, {b.node(Op::kGlobalAveragePool, {x})}, {{"shape", std::vector<int64_t>{1, 2048}}});
  b.graph.outputs = {b.dense(x, 1000)};
}

// ---- YOLOv3 ----

ValueId leaky(Builder& b, ValueId x, int64_t outputs, int64_t kernel, int64_t stride = 1) { return b.conv(x, outputs, kernel, stride, Unary::kLeakyRelu, 0.1); }

ValueId five(Builder& b, ValueId x, int64_t width) {
  for (int i = 0; i < 2; ++i) x = leaky(b, leaky(b, x, width, 1), 2 * width, 3);
  return leaky(b, x, width, 1);
}

void yolov3(Builder& b) {
  ValueId x = leaky(b, b.input({1, 3, 416, 416}), 32, 3), p3 = x, p4 = x;
  const int blocks[] = {1, 2, 8, 8, 4};
  for (int stage = 0; stage < 5; ++stage) {
    const int64_t width = 64 << stage;
    x = leaky(b, x, width, 3, 2);
    for (int i = 0; i < blocks[stage]; ++i) x = b.add(x, leaky(b, leaky(b, x, width / 2, 1), width, 3));
    if (stage == 2) p3 = x;
    if (stage == 3) p4 = x;
  }
  const auto head = [&](ValueId y, int64_t width) { b.graph.outputs.push_back(b.conv(leaky(b, y, 2 * width, 3), 255, 1)); };
  x = five(b, x, 512);
  head(x, 512);
  x = five(b, b.concat({b.upsample(leaky(b, x, 256, 1)), p4}), 256);
  head(x, 256);
  x = five(b, b.concat({b.upsample(leaky(b, x, 128, 1)), p3}), 128);
  head(x, 128);
}

// ---- small ones ----

void mobilenetv2(Builder& b) {
  ValueId x = b.conv(b.input({1, 3, 224, 224}), 32, 3, 2, Unary::kClip);
  const int64_t rows[][4] = {{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  for (const auto& [expand, outputs, count, first_stride] : rows) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t inputs = b.shape(x)[1], wide = inputs * expand, stride = i == 0 ? first_stride : 1;
      ValueId y = expand == 1 ? x : b.conv(x, wide, 1, 1, Unary::kClip);
      y = b.conv(b.conv(y, wide, 3, stride, Unary::kClip, 0, wide), outputs, 1);
      x = stride == 1 && inputs == outputs ? b.add(x, y) : y;
    }
  }
  x = b.conv(x, 1280, 1, 1, Unary::kClip);
  x = b.node(Op::kReshape, {b.node(Op::kGlobalAveragePool, {x})}, {{"shape", std::vector<int64_t>{1, 1280}}});
  b.graph.outputs = {b.dense(x, 1000)};
}

void kws(Builder& b) {
  // the original's first kernel is 10 x 4; 7 x 7 has about as many weights and keeps squares
  ValueId x = b.conv(b.input({1, 1, 49, 10}), 64, 7, 2, Unary::kRelu);
  for (int i = 0; i < 4; ++i) x = b.conv(b.conv(x, 64, 3, 1, Unary::kRelu, 0, 64), 64, 1, 1, Unary::kRelu);
  x = b.node(Op::kReshape, {b.node(Op::kGlobalAveragePool, {x})}, {{"shape", std::vector<int64_t>{1, 64}}});
  b.graph.outputs = {b.dense(x, 12)};
}

// ---- RoBERTa-base ----

// Tokens with what they gather from all others, normalised.
ValueId attend(Builder& b, ValueId x, ValueId mask = ir::kNoValue) {
  const auto batch = [&](ValueId v) { return b.node(Op::kReshape, {v}, {{"shape", std::vector<int64_t>{1, 128, 768}}}); };
  const ValueId q = batch(b.dense(x, 768)), k = batch(b.dense(x, 768)), v = batch(b.dense(x, 768));
  const ValueId mixed = b.node(Op::kAttention, mask == ir::kNoValue ? std::vector<ValueId>{q, k, v} : std::vector<ValueId>{q, k, v, mask}, {{"q_num_heads", int64_t{12}}, {"kv_num_heads", int64_t{12}}});
  const ValueId y = b.dense(b.node(Op::kReshape, {mixed}, {{"shape", std::vector<int64_t>{128, 768}}}), 768);
  return b.add(x, y);
}

void roberta(Builder& b) {
  ValueId x = b.input({128, 768});
  for (int layer = 0; layer < 12; ++layer) {
    x = b.layer_norm(attend(b, x));
    x = b.layer_norm(b.add(x, b.dense(b.dense(x, 3072, Unary::kGelu), 768)));
  }
  b.graph.outputs = {x};
}

void roberta_mlm(Builder& b) {
  constexpr int64_t kTokens = 128, kWidth = 768, kWords = 50265;
  const ValueId ids = b.whole_input("input_ids", {1, kTokens}), given = b.whole_input("attention_mask", {1, kTokens}), position = b.whole_input("mask_position", {1});
  const auto reshape = [&](ValueId x, std::vector<int64_t> shape) { return b.node(Op::kReshape, {x}, {{"shape", std::move(shape)}}); };
  const auto norm = [&](ValueId x) { return b.node(Op::kLayerNormalization, {x, b.parameters(kWidth, 90, -104), b.parameters(kWidth, 0, -104)}, {{"axis", int64_t{-1}}, {"epsilon", 1e-5}}); };
  // what is added to scores: 0 for tokens that are there, -10000 for others
  const ValueId there = b.real_node(Op::kReshape, {b.real_node(Op::kCast, {given}, {{"to", std::string("f32")}})}, {{"shape", std::vector<int64_t>{1, 1, 1, kTokens}}});
  const ValueId missing = b.real_node(Op::kSub, {there, b.graph.add_constant("one", ir::Tensor::f32({1}, {1}))});
  const ValueId mask = b.real_node(Op::kMul, {missing, b.graph.add_constant("large", ir::Tensor::f32({1}, {1e4f}))});
  const ValueId words = b.sparse_table({kWords, kWidth}, 16);
  ValueId x = b.node(Op::kAdd, {b.node(Op::kGather, {words, ids}, {{"axis", int64_t{0}}}), b.sparse_table({1, kTokens, kWidth}, 0)});
  x = reshape(norm(x), {kTokens, kWidth});
  for (int layer = 0; layer < 12; ++layer) {
    x = norm(attend(b, x, mask));
    x = norm(b.add(x, b.dense(b.dense(x, 3072, Unary::kGelu), kWidth)));
  }
  x = b.node(Op::kGather, {x, position}, {{"axis", int64_t{0}}});
  x = norm(b.dense(x, kWidth, Unary::kGelu));
  b.graph.outputs = {b.real_node(Op::kGemm, {x, words}, {{"transB", int64_t{1}}})};
  b.graph.value(b.graph.outputs[0]).name = "logits";
  b.graph.metadata["head"] = "fill-mask";
}

struct Entry {
  const char* name;
  void (*build)(Builder&);
};
constexpr Entry kEntries[] = {{"yolov5s", yolov5s}, {"resnet50", resnet50}, {"yolov3", yolov3}, {"mobilenetv2", mobilenetv2}, {"kws", kws}, {"roberta", roberta}, {"roberta-mlm", roberta_mlm}};

}  // namespace

std::vector<std::string> structure_names() {
  std::vector<std::string> names;
  for (const Entry& e : kEntries) names.emplace_back(e.name);
  return names;
}

Result<ir::Graph> build_structure(const std::string& name, const StructureOptions& options) {
  if (!(options.density > 0 && options.density <= 1)) return usage_error(fmt::format("a density of {} isn't within 0..1", options.density));
  if (options.weight_bits < 2 || options.weight_bits > 8) return usage_error(fmt::format("weights of {} bits aren't supported; choose 2 to 8", options.weight_bits));
  for (const Entry& e : kEntries) {
    if (name != e.name) continue;
    Builder b(name, options);
    e.build(b);
    PITH_CHECK_OK(b.failure);
    PITH_CHECK_OK(ir::verify(b.graph));
    return std::move(b.graph);
  }
  return usage_error(fmt::format("there is no structure '{}'; there are {}", name, fmt::join(structure_names(), ", ")));
}

}  // namespace pith::zoo
