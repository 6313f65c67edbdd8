// Normalisation, recurrent layers, attention, suppression, ONNX's quantised operators.
#include "ir/loops.h"
#include "ir/test_graph.h"

namespace pith::ir {
namespace {

Tensor only(Op op, const std::vector<Tensor>& inputs, const Attributes& attributes = {}) {
  return run_node(op, inputs, attributes)[0];
}

TEST(Norm, StandardisesItsRows) {
  Random random(test_seed() + 70);
  const Tensor x = random_f32(random, {2, 4, 3, 5}, -3, 7), one = Tensor::f32({4}, {1, 1, 1, 1}),
               none(DType::kF32, {4});
  const auto check = [](const Tensor& y, int64_t n) {
    for (int64_t row = 0; row < y.count() / n; ++row) {
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < n; ++i) sum += y.at(row * n + i), squares += y.at(row * n + i) * y.at(row * n + i);
      EXPECT_NEAR(sum / static_cast<double>(n), 0, 1e-5);
      EXPECT_NEAR(squares / static_cast<double>(n), 1, 1e-4);
    }
  };
  check(only(Op::kInstanceNormalization, {x, one, none}), 15);
  check(only(Op::kGroupNormalization, {x, one, none}, {{"num_groups", int64_t{2}}}), 30);
  check(only(Op::kLayerNormalization, {x, Tensor::f32({}, {1})}, {{"axis", int64_t{2}}}), 15);
}

TEST(Norm, BatchAndLayerAffine) {
  const Tensor x = Tensor::f32({1, 2, 2}, {1, 3, 10, 20});
  const auto v = [](float a, float b) { return Tensor::f32({2}, {a, b}); };
  expect_values(only(Op::kBatchNormalization, {x, v(2, 1), v(0, 5), v(1, 10), v(4, 25)}, {{"epsilon", 0.0}}),
                {0, 2, 5, 7});
  const auto layer = run_node(Op::kLayerNormalization, {x, v(1, 2), v(0, 1)}, {{"epsilon", 0.0}}, 3);
  expect_values(layer[0], {-1, 3, -1, 3});
  expect_values(layer[1], {2, 15});
  expect_values(layer[2], {1, 0.2});
  expect_values(only(Op::kRMSNormalization, {Tensor::f32({1, 2}, {3, 4}), v(1, 1)}, {{"epsilon", 0.0}}),
                {3 / std::sqrt(12.5), 4 / std::sqrt(12.5)});
}

TEST(Norm, LpAndLocalResponse) {
  expect_values(only(Op::kLpNormalization, {Tensor::f32({2, 2}, {3, 4, 0, 0})}), {0.6, 0.8, 0, 0});
  expect_values(
      only(Op::kLpNormalization, {Tensor::f32({2, 2}, {3, 1, 1, -1})}, {{"p", int64_t{1}}, {"axis", int64_t{0}}}),
      {0.75, 0.5, 0.25, -0.5});
  expect_values(
      only(Op::kLRN, {Tensor::f32({1, 3, 1}, {1, 2, 3})}, {{"size", int64_t{3}}, {"alpha", 3.0}, {"beta", 1.0}}),
      {1.0 / 6, 2.0 / 15, 3.0 / 14});
}

TEST(Softmax, SumsToOneAlongTheAxis) {
  Random random(test_seed() + 71);
  const Tensor x = random_f32(random, {2, 3, 4}, -50, 50);
  for (int64_t axis : {0, 1, -1}) {
    const Tensor y = only(Op::kSoftmax, {x}, {{"axis", axis}});
    const Tensor sums = only(Op::kReduceSum, {y}, {{"axes", Ints{axis}}});
    for (int64_t i = 0; i < sums.count(); ++i) EXPECT_NEAR(sums.at(i), 1, 1e-5);
    const Tensor logs = only(Op::kLogSoftmax, {x}, {{"axis", axis}});
    for (int64_t i = 0; i < y.count(); ++i) EXPECT_NEAR(std::exp(logs.at(i)), y.at(i), 1e-5);
  }
  expect_values(only(Op::kSoftmax, {Tensor::f32({2}, {1000, 1000})}), {0.5, 0.5});
  expect_values(only(Op::kHardmax, {Tensor::f32({3}, {1, 7, 7})}), {0, 1, 0});
}

struct RandomRecurrent {
  Tensor x, w, r, b, h;
  int64_t hidden;
};
RandomRecurrent random_recurrent(Random& random, int64_t gates, int64_t directions) {
  const int64_t hidden = 3, input = 2, steps = 4, batch = 2;
  return {random_f32(random, {steps, batch, input}),
          random_f32(random, {directions, gates * hidden, input}),
          random_f32(random, {directions, gates * hidden, hidden}),
          random_f32(random, {directions, 2 * gates * hidden}),
          random_f32(random, {directions, batch, hidden}),
          hidden};
}

TEST(Recurrent, GruAgainstItsEquations) {
  Random random(test_seed() + 72);
  for (int64_t linear : {0, 1}) {
    const RandomRecurrent p = random_recurrent(random, 3, 1);
    const Tensor lengths = Tensor::of<int32_t>(DType::kI32, {2}, {4, 4});
    const Tensor y = run_node(Op::kGRU, {p.x, p.w, p.r, p.b, lengths, p.h}, {{"linear_before_reset", linear}}, 2)[0];
    const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    for (int64_t b = 0; b < 2; ++b) {
      std::vector<double> h;
      for (int64_t k = 0; k < 3; ++k) h.push_back(p.h.at(b * 3 + k));
      for (int64_t t = 0; t < 4; ++t) {
        const auto from_x = [&](int64_t row) {
          return p.w.at(row * 2) * p.x.at((t * 2 + b) * 2) + p.w.at(row * 2 + 1) * p.x.at((t * 2 + b) * 2 + 1) +
                 p.b.at(row);
        };
        const auto from_h = [&](int64_t row, const std::vector<double>& s) {
          return p.r.at(row * 3) * s[0] + p.r.at(row * 3 + 1) * s[1] + p.r.at(row * 3 + 2) * s[2];
        };
        std::vector<double> r, next;
        for (int64_t k = 0; k < 3; ++k) r.push_back(sigmoid(from_x(3 + k) + from_h(3 + k, h) + p.b.at(9 + 3 + k)));
        const std::vector<double> rh{r[0] * h[0], r[1] * h[1], r[2] * h[2]};
        for (int64_t k = 0; k < 3; ++k) {
          const double z = sigmoid(from_x(k) + from_h(k, h) + p.b.at(9 + k)), bias = p.b.at(9 + 6 + k);
          const double inner =
              linear == 1 ? r[static_cast<size_t>(k)] * (from_h(6 + k, h) + bias) : from_h(6 + k, rh) + bias;
          next.push_back((1 - z) * std::tanh(from_x(6 + k) + inner) + z * h[static_cast<size_t>(k)]);
        }
        h = next;
        for (int64_t k = 0; k < 3; ++k) ASSERT_NEAR(y.at((t * 2 + b) * 3 + k), h[static_cast<size_t>(k)], 1e-5);
      }
    }
  }
}

// An LSTM step by hand: one input, one unit, no recurrence.
TEST(Recurrent, LstmGates) {
  const Tensor x = Tensor::f32({1, 1, 1}, {1}), w = Tensor::f32({1, 4, 1}, {0.1f, 0.2f, 0.3f, 0.4f}),
               r(DType::kF32, {1, 4, 1});
  const Tensor b(DType::kF32, {1, 8}), lengths = Tensor::of<int32_t>(DType::kI32, {1}, {1}), h(DType::kF32, {1, 1, 1}),
                                       c = Tensor::f32({1, 1, 1}, {2});
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const double cell = sigmoid(0.3) * 2 + sigmoid(0.1) * std::tanh(0.4);
  auto y = run_node(Op::kLSTM, {x, w, r, b, lengths, h, c}, {}, 3);
  expect_values(y[0], {sigmoid(0.2) * std::tanh(cell)});
  expect_values(y[2], {cell});
  y = run_node(Op::kLSTM, {x, w, r, b, lengths, h, c, Tensor::f32({1, 3}, {0.5f, 0.25f, -0.5f})}, {}, 3);
  const double peeped = sigmoid(0.3 - 1) * 2 + sigmoid(0.1 + 1) * std::tanh(0.4);
  expect_values(y[2], {peeped});
  expect_values(y[1], {sigmoid(0.2 + 0.25 * peeped) * std::tanh(peeped)});
}

TEST(Recurrent, ReverseIsForwardOfTheReversed) {
  Random random(test_seed() + 73);
  for (Op op : {Op::kLSTM, Op::kGRU, Op::kRNN}) {
    const int64_t gates = op == Op::kLSTM ? 4 : op == Op::kGRU ? 3 : 1;
    const RandomRecurrent p = random_recurrent(random, gates, 1);
    const Attributes flip{{"starts", Ints{-1}}, {"ends", Ints{INT64_MIN}}, {"axes", Ints{0}}, {"steps", Ints{-1}}};
    const Tensor flipped = only(Op::kSlice, {p.x}, flip);
    const Tensor forward = only(op, {flipped, p.w, p.r, p.b});
    const Tensor reverse = only(op, {p.x, p.w, p.r, p.b}, {{"direction", std::string("reverse")}});
    expect_near(only(Op::kSlice, {reverse}, flip), forward);
    const auto both_ways = [](const Tensor& t) { return only(Op::kConcat, {t, t}, {{"axis", int64_t{0}}}); };
    const Tensor both =
        only(op, {p.x, both_ways(p.w), both_ways(p.r), both_ways(p.b)}, {{"direction", std::string("bidirectional")}});
    const auto halves = run_node(Op::kSplit, {both}, {{"axis", int64_t{1}}}, 2);
    expect_near(halves[1], reverse);
    expect_near(halves[0], only(op, {p.x, p.w, p.r, p.b}));
    const Tensor batch_first = only(op, {transposed(p.x, {1, 0, 2}), p.w, p.r, p.b}, {{"layout", int64_t{1}}});
    expect_near(transposed(batch_first, {1, 2, 0, 3}), only(op, {p.x, p.w, p.r, p.b}));
  }
}

TEST(Recurrent, ShortSequencesKeepTheirState) {
  Random random(test_seed() + 74);
  const RandomRecurrent p = random_recurrent(random, 1, 1);
  const auto y = run_node(Op::kRNN, {p.x, p.w, p.r, p.b, Tensor::of<int32_t>(DType::kI32, {2}, {2, 4}), p.h}, {}, 2);
  for (int64_t k = 0; k < 3; ++k) {
    EXPECT_EQ(y[0].at((2 * 2 + 0) * 3 + k), 0);
    EXPECT_EQ(y[1].at(k), y[0].at((1 * 2 + 0) * 3 + k));
    EXPECT_EQ(y[1].at(3 + k), y[0].at((3 * 2 + 1) * 3 + k));
  }
}

TEST(Attention, IsSoftmaxOfScaledScores) {
  Random random(test_seed() + 75);
  const Tensor q = random_f32(random, {2, 4, 3, 6}), k = random_f32(random, {2, 4, 5, 6}),
               v = random_f32(random, {2, 4, 5, 2});
  const Tensor scores = only(Op::kMul, {only(Op::kMatMul, {q, only(Op::kTranspose, {k}, {{"perm", Ints{0, 1, 3, 2}}})}),
                                        Tensor::f32({}, {1 / std::sqrt(6.0f)})});
  const Tensor expected = only(Op::kMatMul, {only(Op::kSoftmax, {scores}), v});
  expect_near(only(Op::kAttention, {q, k, v}), expected);
  // the same with heads side by side
  const auto flat = [](const Tensor& t) {
    const Tensor moved = only(Op::kTranspose, {t}, {{"perm", Ints{0, 2, 1, 3}}});
    return moved.reshaped({t.shape()[0], t.shape()[2], t.shape()[1] * t.shape()[3]});
  };
  expect_near(
      only(Op::kAttention, {flat(q), flat(k), flat(v)}, {{"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{4}}}),
      flat(expected));
}

TEST(Attention, CausalMaskPastAndGroups) {
  Random random(test_seed() + 76);
  const Tensor q = random_f32(random, {1, 4, 3, 2}), k = random_f32(random, {1, 2, 3, 2}),
               v = random_f32(random, {1, 2, 3, 2});
  // grouped heads: each key head serves two query heads
  const auto twice = [](const Tensor& t) {
    return only(Op::kGather, {t, Tensor::i64({4}, {0, 0, 1, 1})}, {{"axis", int64_t{1}}});
  };
  const Attributes causal{{"is_causal", int64_t{1}}};
  const Tensor y = only(Op::kAttention, {q, k, v}, causal);
  expect_near(y, only(Op::kAttention, {q, twice(k), twice(v)}, causal));
  // causal is a lower triangular mask
  const Tensor mask = Tensor::of<uint8_t>(DType::kBool, {3, 3}, {1, 0, 0, 1, 1, 0, 1, 1, 1});
  expect_near(only(Op::kAttention, {q, k, v, mask}), y);
  // the last query with the first two keys as past
  const auto part = [](const Tensor& t, int64_t from, int64_t to) {
    return only(Op::kSlice, {t}, {{"starts", Ints{from}}, {"ends", Ints{to}}, {"axes", Ints{2}}});
  };
  const Tensor open = Tensor::of<uint8_t>(DType::kBool, {1, 3}, {1, 1, 1});
  const auto stepped = run_node(
      Op::kAttention, {part(q, 2, 3), part(k, 2, 3), part(v, 2, 3), open, part(k, 0, 2), part(v, 0, 2)}, causal, 3);
  expect_near(stepped[0], part(y, 2, 3));
  expect_same(stepped[1], k);
  expect_same(stepped[2], v);
  // a row that is masked out wholly is zero
  const Tensor shut = Tensor::of<uint8_t>(DType::kBool, {3, 1}, {1, 0, 1});
  const Tensor z = only(Op::kAttention, {q, k, v, only(Op::kExpand, {shut}, {{"shape", Ints{3, 3}}})});
  EXPECT_EQ(z.at(2), 0);
  EXPECT_EQ(z.at(3), 0);
}

TEST(Rotary, RotatesPairs) {
  const Tensor x = Tensor::f32({1, 1, 1, 4}, {1, 2, 3, 4}), c = Tensor::f32({1, 1, 2}, {0, 1}),
               s = Tensor::f32({1, 1, 2}, {1, 0});
  expect_values(only(Op::kRotaryEmbedding, {x, c, s}), {-3, 2, 1, 4});
  expect_values(only(Op::kRotaryEmbedding, {x, c, s}, {{"interleaved", int64_t{1}}}), {-2, 1, 3, 4});
  const Tensor table_c = Tensor::f32({2, 2}, {1, 1, 0, 1}), table_s = Tensor::f32({2, 2}, {0, 0, 1, 0});
  expect_values(only(Op::kRotaryEmbedding, {x, table_c, table_s, Tensor::i64({1, 1}, {1})}), {-3, 2, 1, 4});
  expect_values(
      only(Op::kRotaryEmbedding, {x.reshaped({1, 1, 4}), Tensor::f32({1, 1, 1}, {0}), Tensor::f32({1, 1, 1}, {1})},
           {{"num_heads", int64_t{1}}, {"rotary_embedding_dim", int64_t{2}}}),
      {-2, 1, 3, 4});
}

// Partial rotation with tables of whole heads uses their first columns.
TEST(Rotary, PartialTakesTheFirstColumns) {
  const Tensor x = Tensor::f32({1, 1, 1, 4}, {1, 2, 3, 4});
  const Attributes partial{{"rotary_embedding_dim", int64_t{2}}};
  const Tensor narrow =
      only(Op::kRotaryEmbedding, {x, Tensor::f32({1, 1, 1}, {0}), Tensor::f32({1, 1, 1}, {1})}, partial);
  const Tensor wide =
      only(Op::kRotaryEmbedding, {x, Tensor::f32({1, 1, 2}, {0, 7}), Tensor::f32({1, 1, 2}, {1, 9})}, partial);
  expect_values(narrow, {-2, 1, 3, 4});
  expect_same(wide, narrow);
}

TEST(Nms, KeepsTheBestOfOverlappingBoxes) {
  const Tensor boxes = Tensor::f32({1, 4, 4}, {0, 0, 1, 1, 0, 0.1f, 1, 1.1f, 0, 10, 1, 11, 1, 11, 0, 10});
  const Tensor scores = Tensor::f32({1, 1, 4}, {0.9f, 0.95f, 0.5f, 0.3f});
  const Attributes limits{{"max_output_boxes_per_class", int64_t{3}}, {"iou_threshold", 0.5}, {"score_threshold", 0.4}};
  expect_values(only(Op::kNonMaxSuppression, {boxes, scores}, limits), {0, 0, 1, 0, 0, 2, -1, -1, -1});
}

TEST(Quantize, LinearAndBack) {
  const Tensor x = Tensor::f32({4}, {-10, 0.5f, 1.5f, 1000}), scale = Tensor::f32({}, {1}),
               zero = Tensor::of<uint8_t>(DType::kU8, {}, {5});
  expect_values(only(Op::kQuantizeLinear, {x, scale, zero}), {0, 5, 7, 255});  // halves to even
  expect_values(only(Op::kDequantizeLinear, {Tensor::of<uint8_t>(DType::kU8, {2}, {5, 8}), scale, zero}), {0, 3});
  const Tensor per_row = Tensor::f32({2}, {1, 10});
  expect_values(only(Op::kDequantizeLinear, {Tensor::of<int8_t>(DType::kI8, {2, 2}, {1, 2, 3, 4}), per_row},
                     {{"axis", int64_t{0}}}),
                {1, 2, 30, 40});
  const Tensor blocks = Tensor::f32({1, 2}, {1, 10});
  expect_values(only(Op::kDequantizeLinear, {Tensor::of<int8_t>(DType::kI8, {1, 4}, {1, 2, 3, 4}), blocks},
                     {{"axis", int64_t{1}}, {"block_size", int64_t{2}}}),
                {1, 2, 30, 40});
  const auto dynamic = run_node(Op::kDynamicQuantizeLinear, {Tensor::f32({3}, {-1, 0, 1.55f})}, {}, 3);
  expect_values(dynamic[0], {0, 100, 255});
  expect_values(dynamic[1], {0.01}, 1e-7);
  expect_values(dynamic[2], {100});
}

TEST(Quantize, IntegerProducts) {
  const Tensor a = Tensor::of<uint8_t>(DType::kU8, {1, 2}, {11, 7}),
               b = Tensor::of<int8_t>(DType::kI8, {2, 1}, {1, -2});
  const Tensor a_zero = Tensor::of<uint8_t>(DType::kU8, {}, {10}), b_zero = Tensor::of<int8_t>(DType::kI8, {}, {1});
  expect_values(only(Op::kMatMulInteger, {a, b, a_zero, b_zero}), {9});
  const auto f = [](float v) { return Tensor::f32({}, {v}); };
  const Tensor y_zero = Tensor::of<uint8_t>(DType::kU8, {}, {3});
  expect_values(only(Op::kQLinearMatMul, {a, f(0.5f), a_zero, b, f(0.5f), b_zero, f(0.25f), y_zero}), {12});
  const Tensor x = Tensor::of<uint8_t>(DType::kU8, {1, 1, 2, 2}, {11, 12, 13, 14}),
               w = Tensor::of<int8_t>(DType::kI8, {1, 1, 2, 2}, {1, 1, 1, 1});
  expect_values(only(Op::kConvInteger, {x, w, a_zero}), {10});
  const Tensor w_zero = Tensor::of<int8_t>(DType::kI8, {}, {0}), bias = Tensor::of<int32_t>(DType::kI32, {1}, {10});
  expect_values(only(Op::kQLinearConv, {x, f(1), a_zero, w, f(1), w_zero, f(2), y_zero, bias}), {13});
}

}  // namespace
}  // namespace pith::ir
