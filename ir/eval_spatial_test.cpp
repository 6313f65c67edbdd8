// Pooling, resizing, sampling, depth and space: hand-computed values and invariants.
#include "ir/loops.h"
#include "ir/test_graph.h"

namespace pith::ir {
namespace {

Tensor counting(Shape shape) {
  Tensor t(DType::kF32, std::move(shape));
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<double>(i));
  return t;
}

TEST(Pool, HandComputed) {
  const Tensor x = counting({1, 1, 4, 4});
  const Attributes two{{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}};
  expect_values(run_node(Op::kMaxPool, {x}, two)[0], {5, 7, 13, 15});
  expect_values(run_node(Op::kAveragePool, {x}, two)[0], {2.5, 4.5, 10.5, 12.5});
  expect_values(run_node(Op::kLpPool, {Tensor::f32({1, 1, 2}, {3, -4})}, {{"kernel_shape", Ints{2}}})[0], {5});
  expect_values(run_node(Op::kGlobalAveragePool, {x})[0], {7.5});
  expect_values(run_node(Op::kGlobalMaxPool, {x})[0], {15});
}

TEST(Pool, IndicesAndStorageOrder) {
  const Tensor x = counting({1, 2, 2, 3});
  const Attributes all{{"kernel_shape", Ints{2, 3}}};
  expect_values(run_node(Op::kMaxPool, {x}, all, 2)[1], {5, 11});
  Attributes columns = all;
  columns["storage_order"] = int64_t{1};
  expect_values(run_node(Op::kMaxPool, {counting({1, 1, 2, 3})}, columns, 2)[1], {5});
  const auto with_indices = run_node(Op::kMaxPool, {x}, {{"kernel_shape", Ints{2, 2}}}, 2);
  for (int64_t i = 0; i < with_indices[0].count(); ++i)
    EXPECT_EQ(x.at(static_cast<int64_t>(with_indices[1].at(i))), with_indices[0].at(i));
}

TEST(Pool, CeilModeDropsWindowsInThePadding) {
  const Tensor x = counting({1, 1, 1, 5});
  const Attributes attributes{{"kernel_shape", Ints{1, 2}}, {"strides", Ints{1, 2}}, {"ceil_mode", int64_t{1}}};
  expect_values(run_node(Op::kMaxPool, {x}, attributes)[0], {1, 3, 4});
  expect_values(run_node(Op::kAveragePool, {x}, attributes)[0], {0.5, 2.5, 4});
  Attributes padded = attributes;
  padded["pads"] = Ints{0, 1, 0, 1};
  padded["kernel_shape"] = Ints{1, 3};
  padded["count_include_pad"] = int64_t{1};
  // windows over 0 [0 1 2 3 4] 0: the last one starts at 3
  expect_values(run_node(Op::kAveragePool, {x}, padded)[0], {1.0 / 3, 2, 7.0 / 3});
}

TEST(Pool, SeparableMaximumIsTheWindowsMaximum) {
  Random random(test_seed() + 50);
  for (int round = 0; round < 60; ++round) {
    const Tensor x = random_f32(random, {1, 2, random.integer(5, 9), random.integer(5, 9)});
    const Attributes attributes{{"kernel_shape", Ints{random.integer(1, 3), random.integer(1, 3)}},
                                {"strides", Ints{random.integer(1, 3), random.integer(1, 3)}},
                                {"dilations", Ints{random.integer(1, 2), random.integer(1, 2)}},
                                {"pads", Ints{0, 1, 1, 0}},
                                {"ceil_mode", random.integer(0, 1)}};
    expect_same(run_node(Op::kMaxPool, {x}, attributes)[0], run_node(Op::kMaxPool, {x}, attributes, 2)[0]);
    if (HasFailure()) FAIL() << "round " << round;
  }
}

TEST(ChannelsLast, IsTheSameTransposed) {
  Random random(test_seed() + 51);
  const Tensor x = random_f32(random, {2, 8, 6, 4});
  const std::vector<std::pair<Op, Attributes>> cases{
      {Op::kMaxPool, {{"kernel_shape", Ints{3, 2}}}},
      {Op::kAveragePool, {{"kernel_shape", Ints{2, 2}}, {"pads", Ints{1, 0, 1, 0}}}},
      {Op::kLpPool, {{"kernel_shape", Ints{2, 2}}}},
      {Op::kGlobalAveragePool, {}},
      {Op::kGlobalMaxPool, {}},
      {Op::kResize, {{"scales", std::vector<double>{1, 1, 2, 1.5}}, {"mode", std::string("linear")}}},
      {Op::kDepthToSpace, {{"blocksize", int64_t{2}}}},
      {Op::kSpaceToDepth, {{"blocksize", int64_t{2}}}},
      {Op::kChannelShuffle, {{"group", int64_t{4}}}}};
  for (auto [op, attributes] : cases) {
    const Tensor first = run_node(op, {x}, attributes)[0];
    attributes["channels_last"] = int64_t{1};
    expect_same(to_channels_first(run_node(op, {to_channels_last(x)}, attributes)[0]), first);
    if (HasFailure()) FAIL() << op_name(op);
  }
}

TEST(Resize, NearestAndLinear) {
  const Tensor x = Tensor::f32({1, 1, 2, 2}, {1, 2, 3, 4});
  const auto resized = [&](Attributes attributes) {
    attributes["sizes"] = Ints{1, 1, 2, 4};
    return run_node(Op::kResize, {x}, attributes)[0];
  };
  expect_values(resized({}), {1, 1, 2, 2, 3, 3, 4, 4});
  expect_values(resized({{"mode", std::string("linear")}}), {1, 1.25, 1.75, 2, 3, 3.25, 3.75, 4});
  expect_values(
      resized({{"mode", std::string("linear")}, {"coordinate_transformation_mode", std::string("align_corners")}}),
      {1, 4.0 / 3, 5.0 / 3, 2, 3, 10.0 / 3, 11.0 / 3, 4});
  expect_values(resized({{"mode", std::string("nearest")},
                         {"coordinate_transformation_mode", std::string("asymmetric")},
                         {"nearest_mode", std::string("ceil")}}),
                {1, 2, 2, 2, 3, 4, 4, 4});
}

TEST(Resize, CubicReproducesCubicsInside) {
  Tensor x(DType::kF32, {1, 1, 1, 12});
  for (int64_t i = 0; i < 12; ++i) x.set(i, static_cast<double>(i) * 0.5 + 2);
  // Keys' kernel with a = -0.5 reproduces polynomials up to degree 2
  const Tensor y = run_node(
      Op::kResize, {x},
      {{"scales", std::vector<double>{1, 1, 1, 2}}, {"mode", std::string("cubic")}, {"cubic_coeff_a", -0.5}})[0];
  for (int64_t i = 6; i < 18; ++i) EXPECT_NEAR(y.at(i), ((static_cast<double>(i) + 0.5) / 2 - 0.5) * 0.5 + 2, 1e-5);
}

// A triangle of twice 4 elements around 1.5 and 5.5; its weights at distance d are (1 - d / 4) / 4.
TEST(Resize, AntialiasingWidensTheKernel) {
  const Tensor x = Tensor::f32({1, 1, 1, 8}, {0, 0, 0, 8, 0, 0, 0, 0});
  Attributes attributes{{"scales", std::vector<double>{1, 1, 1, 0.25}}, {"mode", std::string("linear")}};
  expect_values(run_node(Op::kResize, {x}, attributes)[0], {0, 0});
  attributes["antialias"] = int64_t{1};
  expect_values(run_node(Op::kResize, {x}, attributes)[0], {1.25, 0.75});
}

TEST(Resize, KeepsTheAspectRatio) {
  const Tensor x = counting({1, 1, 4, 8});
  const auto shape_of = [&](const char* policy) {
    return run_node(Op::kResize, {x},
                    {{"sizes", Ints{6, 6}}, {"axes", Ints{2, 3}}, {"keep_aspect_ratio_policy", std::string(policy)}})[0]
        .shape();
  };
  EXPECT_EQ(shape_of("stretch"), (Shape{1, 1, 6, 6}));
  EXPECT_EQ(shape_of("not_larger"), (Shape{1, 1, 3, 6}));
  EXPECT_EQ(shape_of("not_smaller"), (Shape{1, 1, 6, 12}));
}

TEST(Resize, CropShowsTheExtrapolationValueOutside) {
  const Tensor x = Tensor::f32({1, 1, 1, 3}, {1, 2, 3});
  const Tensor y = run_node(Op::kResize, {x},
                            {{"sizes", Ints{1, 1, 1, 3}},
                             {"mode", std::string("linear")},
                             {"extrapolation_value", 9.0},
                             {"coordinate_transformation_mode", std::string("tf_crop_and_resize")},
                             {"roi", std::vector<double>{0, 0, 0, 0, 1, 1, 1, 2}}})[0];
  expect_values(y, {1, 3, 9});
}

TEST(GridSample, IdentityGridIsTheIdentity) {
  Random random(test_seed() + 52);
  const Tensor x = random_f32(random, {1, 2, 3, 4});
  Tensor grid(DType::kF32, {1, 3, 4, 2});
  for (int64_t h = 0; h < 3; ++h) {
    for (int64_t w = 0; w < 4; ++w) {
      grid.set((h * 4 + w) * 2, (2.0 * static_cast<double>(w) + 1) / 4 - 1);
      grid.set((h * 4 + w) * 2 + 1, (2.0 * static_cast<double>(h) + 1) / 3 - 1);
    }
  }
  for (const char* mode : {"linear", "nearest", "cubic"})
    expect_near(run_node(Op::kGridSample, {x, grid}, {{"mode", std::string(mode)}})[0], x, 1e-5);
}

TEST(GridSample, PaddingModes) {
  const Tensor x = Tensor::f32({1, 1, 1, 2}, {3, 5});
  const Tensor grid = Tensor::f32({1, 1, 2, 2}, {-2, 0, std::nanf(""), 0});
  const auto sampled = [&](const char* padding) {
    return run_node(Op::kGridSample, {x, grid},
                    {{"mode", std::string("nearest")}, {"padding_mode", std::string(padding)}})[0]
        .at(0);
  };
  EXPECT_EQ(sampled("zeros"), 0);
  EXPECT_EQ(sampled("border"), 3);
  EXPECT_EQ(sampled("reflection"), 5);  // -2 mirrored at -0.5
}

TEST(DepthSpace, RoundTrips) {
  const Tensor x = counting({2, 8, 2, 3});
  for (const char* mode : {"DCR", "CRD"}) {
    const Tensor space = run_node(Op::kDepthToSpace, {x}, {{"blocksize", int64_t{2}}, {"mode", std::string(mode)}})[0];
    EXPECT_EQ(space.shape(), (Shape{2, 2, 4, 6}));
    if (mode[0] == 'D') expect_same(run_node(Op::kSpaceToDepth, {space}, {{"blocksize", int64_t{2}}})[0], x);
  }
  const Tensor small = counting({1, 4, 1, 1});
  expect_values(run_node(Op::kDepthToSpace, {small}, {{"blocksize", int64_t{2}}})[0], {0, 1, 2, 3});
  expect_values(run_node(Op::kChannelShuffle, {counting({1, 6, 1})}, {{"group", int64_t{2}}})[0], {0, 3, 1, 4, 2, 5});
}

TEST(Spatial, MismatchesAreRefused) {
  const auto refused = [](Op op, const Tensor& x, const Attributes& attributes, const char* part) {
    Graph g = one_node(op, {x}, attributes);
    const auto result = infer_shapes(g);
    ASSERT_FALSE(result.ok()) << part;
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  };
  const Tensor x(DType::kF32, {1, 3, 4, 4});
  refused(Op::kMaxPool, x, {}, "kernel_shape is missing");
  refused(Op::kMaxPool, x, {{"kernel_shape", Ints{2}}}, "rank");
  refused(Op::kMaxPool, x, {{"kernel_shape", Ints{0, 2}}}, "empty or too large");
  refused(Op::kMaxPool, x, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{0, 1}}}, "strides has the value 0");
  refused(Op::kMaxPool, Tensor(DType::kF32, {1, 1, 2, 2, 2}), {{"kernel_shape", Ints{1, 1, 1}}}, "3-D pooling");
  refused(Op::kResize, x, {}, "exactly one of");
  refused(Op::kResize, x, {{"sizes", Ints{1, 3, 0, 4}}}, "can't resize");
  refused(Op::kResize, x, {{"scales", std::vector<double>{1, 1}}}, "for 4 dimensions");
  refused(Op::kResize, x, {{"sizes", Ints{1, 3, 2, 2}}, {"mode", std::string("area")}}, "mode is \"area\"");
  refused(Op::kDepthToSpace, x, {{"blocksize", int64_t{2}}}, "3 channels in blocks of 4");
  refused(Op::kSpaceToDepth, x, {{"blocksize", int64_t{3}}}, "in blocks of 3");
}

}  // namespace
}  // namespace pith::ir
