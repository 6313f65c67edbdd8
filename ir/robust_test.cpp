// What shape inference accepts, evaluation must survive: random damage to the attributes and shapes of sound nodes.
//
// Each round takes a node that works, changes some attribute values and dimensions, and runs it when inference still
// accepts it and the result is small. Nothing is compared: the sanitizers are the judges.
#include <array>
#include <iterator>

#include "ir/infer.h"
#include "ir/test_graph.h"

namespace pith::ir {
namespace {

struct Sound {
  Op op;
  std::vector<std::pair<DType, Shape>> inputs;
  Attributes attributes;
  int outputs = 1;
};

constexpr DType F = DType::kF32, I = DType::kI64, B = DType::kBool, U = DType::kU8;
using Reals = std::vector<double>;

std::vector<Sound> sound_nodes() {
  const Shape image{2, 4, 6, 5};
  const auto text = [](const char* t) { return Attribute(std::string(t)); };
  const auto number = [](int64_t i) { return Attribute(i); };
  return {
      {Op::kConv,
       {{F, image}, {F, {6, 2, 3, 2}}, {F, {6}}},
       {{"group", number(2)}, {"pads", Ints{1, 0, 1, 1}}, {"strides", Ints{2, 1}}}},
      {Op::kConv, {{F, {1, 3, 9}}, {F, {2, 3, 3}}}, {{"dilations", Ints{2}}, {"auto_pad", text("SAME_UPPER")}}},
      {Op::kConvTranspose,
       {{F, image}, {F, {4, 3, 2, 2}}},
       {{"strides", Ints{2, 3}}, {"output_padding", Ints{1, 0}}, {"pads", Ints{0, 1, 0, 0}}}},
      {Op::kConvTranspose, {{F, {1, 2, 4}}, {F, {2, 1, 3}}}, {{"output_shape", Ints{9}}, {"strides", Ints{2}}}},
      {Op::kGemm, {{F, {3, 4}}, {F, {5, 4}}, {F, {5}}}, {{"transB", number(1)}, {"transA", number(0)}}},
      {Op::kMatMul, {{F, {2, 1, 3, 4}}, {F, {3, 4, 2}}}, {}},
      {Op::kEinsum, {{F, {2, 3}}, {F, {3, 4}}}, {{"equation", text("ij,jk->ki")}}},
      {Op::kMaxPool,
       {{F, image}},
       {{"kernel_shape", Ints{2, 3}},
        {"strides", Ints{2, 1}},
        {"pads", Ints{1, 1, 0, 1}},
        {"ceil_mode", number(1)},
        {"dilations", Ints{1, 2}}},
       2},
      {Op::kMaxPool, {{U, image}}, {{"kernel_shape", Ints{2, 3}}, {"channels_last", number(1)}}},
      {Op::kAveragePool,
       {{F, image}},
       {{"kernel_shape", Ints{3, 2}},
        {"pads", Ints{1, 1, 1, 0}},
        {"count_include_pad", number(1)},
        {"ceil_mode", number(1)}}},
      {Op::kLpPool, {{F, image}}, {{"kernel_shape", Ints{2, 2}}, {"p", number(3)}}},
      {Op::kLayerNormalization, {{F, {3, 4, 5}}, {F, {5}}, {F, {4, 5}}}, {{"axis", number(1)}}, 3},
      {Op::kGroupNormalization, {{F, image}, {F, {4}}, {F, {4}}}, {{"num_groups", number(2)}}},
      {Op::kLRN, {{F, image}}, {{"size", number(3)}}},
      {Op::kSoftmax, {{F, image}}, {{"axis", number(1)}}},
      {Op::kReduceMean, {{F, image}}, {{"axes", Ints{1, -1}}, {"keepdims", number(0)}}},
      {Op::kReduceMax, {{I, {3, 4}}}, {{"axes", Ints{0}}}},
      {Op::kReduceLogSumExp, {{F, image}}, {{"axes", Ints{2}}}},
      {Op::kArgMax, {{F, {3, 4}}}, {{"axis", number(1)}, {"keepdims", number(1)}}},
      {Op::kCumSum, {{F, {3, 4}}}, {{"axis", number(1)}, {"reverse", number(1)}}},
      {Op::kTopK, {{F, {3, 6}}}, {{"axis", number(1)}, {"k", number(2)}}, 2},
      {Op::kReshape, {{F, {2, 3, 4}}}, {{"shape", Ints{0, -1, 2}}}},
      {Op::kFlatten, {{F, {2, 3, 4}}}, {{"axis", number(2)}}},
      {Op::kSqueeze, {{F, {2, 1, 4}}}, {{"axes", Ints{1}}}},
      {Op::kUnsqueeze, {{F, {2, 4}}}, {{"axes", Ints{1, -1}}}},
      {Op::kTranspose, {{U, {2, 3, 4}}}, {{"perm", Ints{2, 0, 1}}}},
      {Op::kConcat, {{F, {2, 3}}, {F, {2, 1}}}, {{"axis", number(1)}}},
      {Op::kSplit, {{F, {2, 7}}}, {{"axis", number(1)}, {"split", Ints{3, 4}}}, 2},
      {Op::kSlice,
       {{F, {5, 6}}},
       {{"starts", Ints{1, -1}}, {"ends", Ints{4, 0}}, {"axes", Ints{0, 1}}, {"steps", Ints{1, -2}}}},
      {Op::kPad, {{F, {3, 4}}}, {{"pads", Ints{1, 2, 0, 1}}, {"mode", text("reflect")}}},
      {Op::kPad, {{F, {3, 4}}}, {{"pads", Ints{1, 2}}, {"axes", Ints{1}}, {"mode", text("wrap")}}},
      {Op::kExpand, {{F, {3, 1}}}, {{"shape", Ints{2, 1, 4}}}},
      {Op::kTile, {{F, {3, 2}}}, {{"repeats", Ints{2, 3}}}},
      {Op::kDepthToSpace, {{F, {1, 8, 2, 3}}}, {{"blocksize", number(2)}}},
      {Op::kSpaceToDepth, {{F, {1, 2, 4, 6}}}, {{"blocksize", number(2)}}},
      {Op::kChannelShuffle, {{F, {1, 6, 4}}}, {{"group", number(3)}}},
      {Op::kRecode, {{U, {1, 3, 4, 5}}}, {{"row_bytes", number(9)}, {"zero", number(7)}}},
      {Op::kRecode, {{U, {1, 3, 4, 5}}}, {{"row_bytes", number(9)}, {"lifting", Ints{0, 1, 2, 8, 11, 5, 0, 4, 8}}}},
      {Op::kResize,
       {{F, {1, 2, 4, 5}}},
       {{"scales", Reals{1, 1, 2, 0.6}},
        {"mode", text("cubic")},
        {"antialias", number(1)},
        {"exclude_outside", number(1)}}},
      {Op::kResize,
       {{F, {1, 2, 4, 5}}},
       {{"sizes", Ints{7, 3}},
        {"axes", Ints{2, 3}},
        {"mode", text("linear")},
        {"keep_aspect_ratio_policy", text("not_larger")}}},
      {Op::kResize,
       {{F, {4, 5}}},
       {{"sizes", Ints{7, 3}},
        {"roi", Reals{0.1, -0.2, 0.8, 1.5}},
        {"coordinate_transformation_mode", text("tf_crop_and_resize")}}},
      {Op::kResize,
       {{U, {4, 5}}},
       {{"sizes", Ints{7, 3}},
        {"nearest_mode", text("ceil")},
        {"coordinate_transformation_mode", text("half_pixel_symmetric")}}},
      {Op::kGridSample,
       {{F, {1, 2, 4, 5}}, {F, {1, 3, 3, 2}}},
       {{"mode", text("cubic")}, {"padding_mode", text("reflection")}, {"align_corners", number(1)}}},
      {Op::kGather, {{F, {3, 4}}, {I, {2}}}, {{"axis", number(1)}}},
      {Op::kGatherElements, {{F, {3, 4}}, {I, {2, 3}}}, {{"axis", number(0)}}},
      {Op::kGatherND, {{F, {2, 3, 4}}, {I, {2, 2}}}, {{"batch_dims", number(1)}}},
      {Op::kScatterND, {{F, {3, 4}}, {I, {2, 1}}, {F, {2, 4}}}, {{"reduction", text("add")}}},
      {Op::kScatterElements, {{F, {3, 4}}, {I, {2, 3}}, {F, {2, 3}}}, {{"axis", number(1)}}},
      {Op::kTrilu, {{F, {3, 4}}}, {{"k", number(1)}, {"upper", number(0)}}},
      {Op::kOneHot, {{I, {3}}}, {{"depth", number(4)}, {"axis", number(0)}}},
      {Op::kCompress, {{F, {3, 4}}}, {{"condition", Ints{1, 0, 1}}, {"axis", number(1)}}},
      {Op::kReverseSequence, {{F, {3, 4}}, {I, {4}}}, {{"batch_axis", number(1)}, {"time_axis", number(0)}}},
      {Op::kEyeLike, {{F, {3, 4}}}, {{"k", number(-1)}}},
      {Op::kShape, {{F, {3, 4, 5}}}, {{"start", number(1)}, {"end", number(-1)}}},
      {Op::kLSTM,
       {{F, {3, 2, 4}}, {F, {1, 12, 4}}, {F, {1, 12, 3}}},
       {{"hidden_size", number(3)}, {"layout", number(0)}, {"clip", 0.5}},
       3},
      {Op::kGRU,
       {{F, {3, 2, 4}}, {F, {1, 9, 4}}, {F, {1, 9, 3}}, {F, {1, 18}}},
       {{"linear_before_reset", number(1)}},
       2},
      {Op::kRNN,
       {{F, {3, 2, 4}}, {F, {1, 3, 4}}, {F, {1, 3, 3}}},
       {{"activations", text("affine")}, {"activation_alpha", Reals{0.5}}},
       2},
      {Op::kAttention,
       {{F, {2, 3, 8}}, {F, {2, 5, 4}}, {F, {2, 5, 6}}, {B, {3, 5}}},
       {{"q_num_heads", number(4)}, {"kv_num_heads", number(2)}, {"is_causal", number(1)}},
       4},
      {Op::kRotaryEmbedding, {{F, {2, 3, 8}}, {F, {2, 3, 2}}, {F, {2, 3, 2}}}, {{"num_heads", number(2)}}},
      {Op::kNonMaxSuppression,
       {{F, {1, 5, 4}}, {F, {1, 2, 5}}},
       {{"max_output_boxes_per_class", number(3)}, {"iou_threshold", 0.2}}},
      {Op::kDequantizeLinear, {{U, {3, 4}}, {F, {2, 4}}}, {{"axis", number(0)}, {"block_size", number(2)}}},
      {Op::kQuantizeLinear, {{F, {3, 4}}, {F, {4}}}, {{"axis", number(1)}, {"to", text("i8")}}},
  };
}

int64_t odd_number(Random& random, int64_t near) {
  switch (random.integer(0, 7)) {
    case 0:
      return INT64_MIN + random.integer(0, 2);
    case 1:
      return INT64_MAX - random.integer(0, 2);
    case 2:
      return random.integer(-3, 3);
    case 3:
      return (int64_t{1} << random.integer(0, 62)) + random.integer(-1, 1);
    default:
      return near + random.integer(-2, 2);
  }
}

void damage(Random& random, Attribute& a) {
  static constexpr const char* kWords[] = {"NOTSET",
                                           "VALID",
                                           "SAME_LOWER",
                                           "edge",
                                           "wrap",
                                           "constant",
                                           "nearest",
                                           "linear",
                                           "cubic",
                                           "floor",
                                           "align_corners",
                                           "asymmetric",
                                           "pytorch_half_pixel",
                                           "zeros",
                                           "border",
                                           "mul",
                                           "max",
                                           "bidirectional",
                                           "reverse",
                                           "CRD",
                                           "not_smaller",
                                           "ii,ij->j",
                                           "...j,jk->...k",
                                           "ij->",
                                           "bool"};
  if (auto* i = std::get_if<int64_t>(&a)) *i = odd_number(random, *i);
  if (auto* r = std::get_if<double>(&a)) *r = random.normal() * std::pow(10, random.integer(-12, 12));
  if (auto* t = std::get_if<std::string>(&a)) *t = kWords[random.integer(0, std::size(kWords) - 1)];
  if (auto* list = std::get_if<Ints>(&a)) {
    if (list->empty() || random.integer(0, 4) == 0) list->push_back(random.integer(-1, 3));
    if (list->size() > 1 && random.integer(0, 4) == 0) list->pop_back();
    auto& item = (*list)[static_cast<size_t>(random.integer(0, static_cast<int64_t>(list->size()) - 1))];
    item = odd_number(random, item);
  }
  if (auto* list = std::get_if<Reals>(&a)) {
    auto& item = (*list)[static_cast<size_t>(random.integer(0, static_cast<int64_t>(list->size()) - 1))];
    item = random.normal() * std::pow(10, random.integer(-9, 9));
  }
}

Tensor filled(Random& random, DType type, const Shape& shape) {
  Tensor t(type, shape);
  for (int64_t i = 0; i < t.count(); ++i) {
    double v = type == F ? random.normal() * 3 : static_cast<double>(random.integer(-2, 4));
    if (type == F && random.integer(0, 40) == 0)
      v = std::array{std::nan(""), HUGE_VAL, -HUGE_VAL, 1e30}[static_cast<size_t>(random.integer(0, 3))];
    t.set(i, v);
  }
  return t;
}

TEST(Robust, WhatInferenceAcceptsEvaluationSurvives) {
  Random random(test_seed() + 80);
  const auto nodes = sound_nodes();
  int ran = 0;
  for (int round = 0; round < 6000; ++round) {
    Sound s = nodes[static_cast<size_t>(round) % nodes.size()];
    const bool damaged = round >= static_cast<int>(nodes.size());
    for (int64_t n = damaged ? random.integer(0, 2) : 0; n > 0 && !s.attributes.empty(); --n) {
      auto it = s.attributes.begin();
      std::advance(it, random.integer(0, static_cast<int64_t>(s.attributes.size()) - 1));
      damage(random, it->second);
    }
    for (auto& [type, shape] : s.inputs) {
      for (int64_t& d : shape) {
        if (damaged && random.integer(0, 14) == 0) d = random.integer(0, 4);
      }
    }
    std::vector<Tensor> inputs;
    for (const auto& [type, shape] : s.inputs) inputs.push_back(filled(random, type, shape));
    Graph g = one_node(s.op, inputs, s.attributes, s.outputs);
    const auto types = infer_types(g, g.nodes[0]);
    if (!damaged) {
      ASSERT_TRUE(types.ok()) << types.error().message;
    }
    if (!types.ok()) {
      ASSERT_EQ(types.error().code, ErrorCode::kUsage);
      continue;
    }
    int64_t count = 0;
    for (const Type& t : *types) count += element_count(t.shape);
    if (count > 100000) continue;
    ASSERT_TRUE(infer_shapes(g).ok());
    const auto result = interpret(g, inputs);
    if (result.ok()) ++ran;
  }
  EXPECT_GT(ran, 1500);
}

}  // namespace
}  // namespace pith::ir
