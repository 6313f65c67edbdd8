// Moving and choosing data: hand-computed values, inverses, and what must be refused.
#include "ir/test_graph.h"

namespace pith::ir {
namespace {

Tensor counting(Shape shape) {
  Tensor t(DType::kF32, std::move(shape));
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<double>(i));
  return t;
}
Tensor only(Op op, const std::vector<Tensor>& inputs, const Attributes& attributes = {}) {
  return run_node(op, inputs, attributes)[0];
}

TEST(Reshape, ResolvesZerosAndMinusOne) {
  const Tensor x = counting({2, 3, 4});
  const auto shape = [&](Op op, const Attributes& a) { return only(op, {x}, a).shape(); };
  EXPECT_EQ(shape(Op::kReshape, {{"shape", Ints{0, -1}}}), (Shape{2, 12}));
  EXPECT_EQ(shape(Op::kFlatten, {{"axis", int64_t{2}}}), (Shape{6, 4}));
  EXPECT_EQ(shape(Op::kFlatten, {{"axis", int64_t{0}}}), (Shape{1, 24}));
  EXPECT_EQ(shape(Op::kUnsqueeze, {{"axes", Ints{-1, 0}}}), (Shape{1, 2, 3, 4, 1}));
  EXPECT_EQ(only(Op::kSqueeze, {counting({1, 3, 1})}).shape(), (Shape{3}));
  EXPECT_EQ(only(Op::kSqueeze, {counting({1, 3, 1})}, {{"axes", Ints{-1}}}).shape(), (Shape{1, 3}));
  EXPECT_EQ(
      only(Op::kReshape, {Tensor(DType::kF32, {0, 3})}, {{"shape", Ints{3, 0}}, {"allowzero", int64_t{1}}}).shape(),
      (Shape{3, 0}));
}

TEST(Transpose, PermutationsInvert) {
  Random random(test_seed() + 60);
  const Tensor x = counting({2, 3, 4, 5});
  for (int round = 0; round < 20; ++round) {
    Ints perm{0, 1, 2, 3};
    for (size_t i = 3; i > 0; --i)
      std::swap(perm[i], perm[static_cast<size_t>(random.integer(0, static_cast<int64_t>(i)))]);
    Ints inverse(4);
    for (size_t i = 0; i < 4; ++i) inverse[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
    expect_same(only(Op::kTranspose, {only(Op::kTranspose, {x}, {{"perm", perm}})}, {{"perm", inverse}}), x);
  }
  expect_values(only(Op::kTranspose, {counting({2, 3})}), {0, 3, 1, 4, 2, 5});
}

TEST(ConcatSplit, Invert) {
  const Tensor x = counting({2, 7, 3});
  for (int64_t axis : {-2, 1}) {
    const auto parts = run_node(Op::kSplit, {x}, {{"axis", axis}, {"split", Ints{2, 1, 4}}}, 3);
    expect_same(only(Op::kConcat, parts, {{"axis", axis}}), x);
  }
  const auto uneven = run_node(Op::kSplit, {counting({7})}, {{"num_outputs", int64_t{3}}}, 3);
  EXPECT_EQ(uneven[2].shape(), Shape{1});
}

TEST(Slice, AsPython) {
  const Tensor x = counting({2, 5});
  const auto sliced = [&](Ints starts, Ints ends, Ints axes, Ints steps) {
    return only(Op::kSlice, {x}, {{"starts", starts}, {"ends", ends}, {"axes", axes}, {"steps", steps}});
  };
  expect_values(sliced({1}, {4}, {1}, {1}), {1, 2, 3, 6, 7, 8});
  expect_values(sliced({-1}, {INT64_MIN}, {-1}, {-2}), {4, 2, 0, 9, 7, 5});
  expect_values(sliced({1, 0}, {INT64_MAX, 3}, {0, 1}, {1, 2}), {5, 7});
  EXPECT_EQ(sliced({3}, {1}, {1}, {1}).shape(), (Shape{2, 0}));
  EXPECT_EQ(sliced({100}, {200}, {1}, {1}).shape(), (Shape{2, 0}));
  expect_values(sliced({100}, {-100}, {0}, {-1}), {5, 6, 7, 8, 9, 0, 1, 2, 3, 4});
}

TEST(Pad, Modes) {
  const Tensor x = Tensor::f32({3}, {1, 2, 3});
  const auto padded = [&](const char* mode, Ints pads) {
    return only(Op::kPad, {x}, {{"mode", std::string(mode)}, {"pads", pads}, {"value", 9.0}});
  };
  expect_values(padded("constant", {2, 1}), {9, 9, 1, 2, 3, 9});
  expect_values(padded("reflect", {2, 1}), {3, 2, 1, 2, 3, 2});
  expect_values(padded("edge", {2, 1}), {1, 1, 1, 2, 3, 3});
  expect_values(padded("wrap", {2, 1}), {2, 3, 1, 2, 3, 1});
  expect_values(padded("constant", {-1, 1}), {2, 3, 9});
  expect_values(only(Op::kPad, {counting({2, 2})}, {{"pads", Ints{1, 0}}, {"axes", Ints{-1}}}), {0, 0, 1, 0, 2, 3});
}

TEST(ExpandTile, Repeat) {
  expect_values(only(Op::kExpand, {Tensor::f32({2, 1}, {1, 2})}, {{"shape", Ints{2, 1, 2}}}), {1, 1, 2, 2, 1, 1, 2, 2});
  expect_values(only(Op::kTile, {Tensor::f32({2}, {1, 2})}, {{"repeats", Ints{2}}}), {1, 2, 1, 2});
  expect_values(only(Op::kTile, {counting({2, 2})}, {{"repeats", Ints{1, 2}}}), {0, 1, 0, 1, 2, 3, 2, 3});
}

TEST(Trilu, KeepsATriangle) {
  const Tensor x = Tensor::f32({2, 3}, {1, 2, 3, 4, 5, 6});
  expect_values(only(Op::kTrilu, {x}), {1, 2, 3, 0, 5, 6});
  expect_values(only(Op::kTrilu, {x}, {{"upper", int64_t{0}}}), {1, 0, 0, 4, 5, 0});
  expect_values(only(Op::kTrilu, {x}, {{"k", int64_t{9}}}), {0, 0, 0, 0, 0, 0});
  expect_values(only(Op::kTrilu, {x}, {{"k", int64_t{-9}}}), {1, 2, 3, 4, 5, 6});
}

TEST(Gather, RowsElementsAndTuples) {
  const Tensor x = counting({3, 2});
  expect_values(only(Op::kGather, {x, Tensor::i64({2}, {2, -3})}), {4, 5, 0, 1});
  expect_values(only(Op::kGather, {x, Tensor::i64({}, {1})}, {{"axis", int64_t{1}}}), {1, 3, 5});
  expect_values(only(Op::kGatherElements, {x, Tensor::i64({2, 2}, {0, 2, 1, -1})}), {0, 5, 2, 5});
  expect_values(only(Op::kGatherND, {x, Tensor::i64({2, 2}, {0, 1, 2, 0})}), {1, 4});
  expect_values(only(Op::kGatherND, {x, Tensor::i64({1, 1}, {1})}), {2, 3});
  expect_values(only(Op::kGatherND, {counting({2, 2, 2}), Tensor::i64({2, 1}, {1, 0})}, {{"batch_dims", int64_t{1}}}),
                {2, 3, 4, 5});
}

TEST(Scatter, PlacesAndReduces) {
  const Tensor x = Tensor::f32({3}, {10, 20, 30}), at = Tensor::i64({2}, {1, -1}), u = Tensor::f32({2}, {1, 2});
  expect_values(only(Op::kScatterElements, {x, at, u}), {10, 1, 2});
  const auto reduced = [&](const char* r) {
    return only(Op::kScatterElements, {x, Tensor::i64({2}, {1, 1}), u}, {{"reduction", std::string(r)}});
  };
  expect_values(reduced("add"), {10, 23, 30});
  expect_values(reduced("mul"), {10, 40, 30});
  expect_values(reduced("max"), {10, 20, 30});
  expect_values(reduced("min"), {10, 1, 30});
  expect_values(only(Op::kScatterND, {counting({2, 2}), Tensor::i64({1, 1}, {1}), Tensor::f32({1, 2}, {7, 8})}),
                {0, 1, 7, 8});
}

TEST(Select, OneHotCompressReverse) {
  expect_values(only(Op::kOneHot, {Tensor::i64({3}, {1, -1, 5})}, {{"depth", int64_t{3}}}),
                {0, 1, 0, 0, 0, 1, 0, 0, 0});
  expect_values(
      only(Op::kOneHot, {Tensor::i64({2}, {0, 1})},
           {{"depth", int64_t{2}}, {"axis", int64_t{0}}, {"off", 2.0}, {"on", 5.0}, {"to", std::string("i32")}}),
      {5, 2, 2, 5});
  expect_values(only(Op::kCompress, {counting({2, 3})}, {{"condition", Ints{0, 1, 1}}, {"axis", int64_t{1}}}),
                {1, 2, 4, 5});
  expect_values(only(Op::kCompress, {counting({2, 3})}, {{"condition", Ints{0, 1, 0, 0, 1}}}), {1, 4});
  expect_values(only(Op::kReverseSequence, {counting({3, 2}), Tensor::i64({2}, {2, 3})}), {2, 5, 0, 3, 4, 1});
}

TEST(Reduce, AxesAndKinds) {
  const Tensor x = Tensor::f32({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto reduced = [&](Op op, Ints axes) { return only(op, {x}, {{"axes", axes}, {"keepdims", int64_t{0}}}); };
  expect_values(reduced(Op::kReduceSum, {1}), {6, 15});
  expect_values(reduced(Op::kReduceMean, {0}), {2.5, 3.5, 4.5});
  expect_values(reduced(Op::kReduceMax, {-1}), {3, 6});
  expect_values(reduced(Op::kReduceMin, {0, 1}), {1});
  expect_values(reduced(Op::kReduceProd, {}), {720});
  expect_values(reduced(Op::kReduceL1, {1}), {6, 15});
  expect_values(reduced(Op::kReduceL2, {1}), {std::sqrt(14.0), std::sqrt(77.0)});
  expect_values(reduced(Op::kReduceSumSquare, {1}), {14, 77});
  expect_values(reduced(Op::kReduceLogSum, {1}), {std::log(6.0), std::log(15.0)});
  expect_values(reduced(Op::kReduceLogSumExp, {0}),
                {std::log(std::exp(1.0) + std::exp(4.0)), std::log(std::exp(2.0) + std::exp(5.0)),
                 std::log(std::exp(3.0) + std::exp(6.0))});
  EXPECT_EQ(only(Op::kReduceSum, {x}, {{"axes", Ints{0}}}).shape(), (Shape{1, 3}));
  expect_values(only(Op::kReduceSumSquare, {x}, {{"noop_with_empty_axes", int64_t{1}}}), {1, 4, 9, 16, 25, 36});
  expect_values(only(Op::kReduceLogSumExp, {Tensor::f32({2}, {1000, 1000})}), {1000 + std::log(2.0)}, 1e-3);
}

TEST(Select, ArgumentsCumulationTopK) {
  const Tensor x = Tensor::f32({2, 3}, {3, 1, 3, 2, 5, 2});
  expect_values(only(Op::kArgMax, {x}, {{"axis", int64_t{1}}}), {0, 1});
  expect_values(only(Op::kArgMax, {x}, {{"axis", int64_t{1}}, {"select_last_index", int64_t{1}}}), {2, 1});
  expect_values(only(Op::kArgMin, {x}, {{"axis", int64_t{0}}, {"keepdims", int64_t{0}}}), {1, 0, 1});
  const Attributes along{{"axis", int64_t{1}}};
  expect_values(only(Op::kCumSum, {x}, along), {3, 4, 7, 2, 7, 9});
  expect_values(only(Op::kCumSum, {x}, {{"axis", int64_t{1}}, {"exclusive", int64_t{1}}, {"reverse", int64_t{1}}}),
                {4, 3, 0, 7, 2, 0});
  const auto top = run_node(Op::kTopK, {x}, {{"k", int64_t{2}}}, 2);
  expect_values(top[0], {3, 3, 5, 2});
  expect_values(top[1], {0, 2, 1, 0});
  expect_values(run_node(Op::kTopK, {x}, {{"k", int64_t{1}}, {"axis", int64_t{0}}, {"largest", int64_t{0}}}, 2)[0],
                {2, 1, 2});
}

TEST(Data, OutOfRangeIsRefusedWhenItRuns) {
  const auto refused = [](Op op, const std::vector<Tensor>& inputs, const Attributes& attributes, const char* part) {
    Graph g = one_node(op, inputs, attributes);
    ASSERT_TRUE(infer_shapes(g).ok());
    const auto result = interpret(g, inputs);
    ASSERT_FALSE(result.ok()) << part;
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  };
  const Tensor x = counting({3, 2});
  refused(Op::kGather, {x, Tensor::i64({1}, {3})}, {}, "the index 3 is out of range");
  refused(Op::kGather, {x, Tensor::i64({1}, {-4})}, {}, "the index -4 is out of range");
  refused(Op::kGatherElements, {x, Tensor::i64({1, 1}, {5})}, {}, "the index 5");
  refused(Op::kGatherND, {x, Tensor::i64({1, 2}, {0, 2})}, {}, "the index 2");
  refused(Op::kScatterND, {x, Tensor::i64({1, 2}, {9, 0}), Tensor::f32({1}, {0})}, {}, "the index 9");
  refused(Op::kReverseSequence, {x, Tensor::i64({2}, {4, 0})}, {}, "a sequence of length 4");
}

TEST(Data, MismatchesAreRefused) {
  const auto refused = [](Op op, const std::vector<Tensor>& inputs, const Attributes& attributes, const char* part) {
    Graph g = one_node(op, inputs, attributes);
    const auto result = infer_shapes(g);
    ASSERT_FALSE(result.ok()) << part;
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  };
  const Tensor x(DType::kF32, {2, 3}), i(DType::kI64, {2});
  refused(Op::kReshape, {x}, {{"shape", Ints{4, 2}}}, "can't take the shape");
  refused(Op::kReshape, {x}, {{"shape", Ints{-1, -1}}}, "impossible dimension");
  refused(Op::kReshape, {x}, {}, "attribute shape is missing");
  refused(Op::kSqueeze, {x}, {{"axes", Ints{0}}}, "isn't of size 1");
  refused(Op::kUnsqueeze, {x}, {{"axes", Ints{0, 0}}}, "named twice");
  refused(Op::kTranspose, {x}, {{"perm", Ints{0}}}, "must name every dimension");
  refused(Op::kConcat, {x, Tensor(DType::kF32, {3, 3})}, {{"axis", int64_t{1}}}, "differ beside axis 1");
  refused(Op::kSplit, {x}, {{"split", Ints{1, 1}}}, "there are 1 outputs");
  refused(Op::kSlice, {x}, {{"starts", Ints{0}}, {"ends", Ints{1}}, {"steps", Ints{0}}}, "steps has a 0");
  refused(Op::kPad, {x}, {{"pads", Ints{0, -9, 0, 0}}}, "removes more");
  refused(Op::kExpand, {x}, {{"shape", Ints{4, 3}}}, "don't broadcast");
  refused(Op::kTile, {x}, {{"repeats", Ints{2}}}, "one number for each dimension");
  refused(Op::kTile, {x}, {{"repeats", Ints{1 << 30, 1 << 30}}}, "the result would have the shape");
  refused(Op::kGather, {x, x}, {}, "it must be i64, i32");
  refused(Op::kScatterElements, {x, Tensor(DType::kI64, {1, 1}), Tensor(DType::kF32, {1, 2})}, {}, "differ in shape");
  refused(Op::kOneHot, {i}, {}, "attribute depth is 0");
  refused(Op::kTopK, {x}, {{"k", int64_t{4}}}, "attribute k is 4");
  refused(Op::kReduceSum, {x}, {{"axes", Ints{2}}}, "axis 2 doesn't exist");
}

}  // namespace
}  // namespace pith::ir
