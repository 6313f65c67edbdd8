// Quantisation of small graphs: it keeps their meaning, and each stage does what it says.
#include "micro/quantize.h"

#include "ir/test_graph.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Ints;
using ir::Node;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;

ValueId input(Graph& g, Shape shape) {
  ir::Value v;
  v.name = "input" + std::to_string(g.inputs.size());
  v.shape = std::move(shape);
  g.inputs.push_back(g.add_value(std::move(v)));
  return g.inputs.back();
}

std::vector<std::vector<Tensor>> samples_for(const Graph& g, Random& random, int count) {
  std::vector<std::vector<Tensor>> samples(static_cast<size_t>(count));
  for (auto& sample : samples) {
    for (ValueId id : g.inputs) sample.push_back(ir::random_f32(random, g.value(id).shape));
  }
  return samples;
}

// Signal to noise of the quantised graph against the float one, in dB, over all outputs.
double signal_to_noise(const Graph& original, const Graph& quantized, const std::vector<std::vector<Tensor>>& samples) {
  double signal = 0, noise = 1e-12;
  for (const auto& sample : samples) {
    const auto expected = ir::interpret(original, sample), got = ir::interpret(quantized, sample);
    EXPECT_TRUE(expected.ok() && got.ok());
    for (size_t k = 0; k < expected->size(); ++k) {
      const Tensor real = ir::dequantized(quantized.value(quantized.outputs[k]), (*got)[k]);
      for (int64_t i = 0; i < real.count(); ++i) {
        const double want = (*expected)[k].at(i), error = real.at(i) - want;
        signal += want * want;
        noise += error * error;
      }
    }
  }
  return 10 * std::log10(signal / noise);
}

// A detector's decoding after the last product: activation, Split, arithmetic on the parts, Concat.
TEST(Quantize, KeepsADecodingWithSplit) {
  Random random(ir::test_seed());
  Graph g;
  const ValueId x = input(g, {1, 3, 12, 12});
  const ValueId a = ir::append_node(g, Op::kConv, {x, g.add_constant("w1", ir::random_f32(random, {8, 3, 3, 3}))}, {}, {numerics::Unary::kSilu, 1, 0, {}});
  const ValueId b = ir::append_node(g, Op::kConv, {a, g.add_constant("w2", ir::random_f32(random, {8, 8, 1, 1}))});
  const ValueId c = ir::append_node(g, Op::kSigmoid, {b});
  const std::vector<ValueId> parts = ir::append_results(g, Op::kSplit, {c}, {{"axis", int64_t{1}}, {"split", Ints{2, 2, 4}}}, {}, 3);
  const ValueId moved = ir::append_node(g, Op::kMul, {parts[0], g.add_constant("two", ir::random_f32(random, {1}, 2, 2))});
  const ValueId squared = ir::append_node(g, Op::kMul, {parts[1], parts[1]});
  g.outputs = ir::append_results(g, Op::kConcat, {moved, squared, parts[2]}, {{"axis", int64_t{1}}});
  ASSERT_TRUE(ir::verify(g).ok());
  const auto samples = samples_for(g, random, 8);
  const auto quantized = quantize(g, samples, {});
  ASSERT_TRUE(quantized.ok()) << quantized.error().message;
  EXPECT_GT(signal_to_noise(g, *quantized, samples), 30);
}

// Mean error of an output over samples, relative to its standard deviation, worst channel.
double mean_error(const Graph& original, const Graph& quantized, const std::vector<std::vector<Tensor>>& samples) {
  const Shape shape = original.value(original.outputs[0]).shape;
  const size_t channels = static_cast<size_t>(shape[1]);
  std::vector<double> sum(channels, 0.0), square(channels, 0.0), error(channels, 0.0);
  double count = 0;
  for (const auto& sample : samples) {
    const Tensor want = (*ir::interpret(original, sample))[0];
    const Tensor got = ir::dequantized(quantized.value(quantized.outputs[0]), (*ir::interpret(quantized, sample))[0]);
    const int64_t area = want.count() / shape[1];
    count += static_cast<double>(area);
    for (int64_t i = 0; i < want.count(); ++i) {
      const size_t c = static_cast<size_t>(i / area);
      sum[c] += want.at(i);
      square[c] += want.at(i) * want.at(i);
      error[c] += got.at(i) - want.at(i);
    }
  }
  double worst = 0;
  for (size_t c = 0; c < channels; ++c) worst = std::max(worst, std::abs(error[c] / count) / std::sqrt(square[c] / count - sum[c] * sum[c] / count / count));
  return worst;
}

// Weights of few bits on activations far from zero mean: without correction every channel is shifted.
TEST(Quantize, CorrectsBiasBehindAJoinedActivation) {
  Random random(ir::test_seed());
  Graph g;
  const ValueId x = input(g, {1, 3, 12, 12});
  const ValueId a = ir::append_node(g, Op::kConv, {x, g.add_constant("w1", ir::random_f32(random, {16, 3, 1, 1})), g.add_constant("b1", ir::random_f32(random, {16}, 0, 4))}, {},
                             {numerics::Unary::kSilu, 1, 0, {}});
  const ValueId b = ir::append_node(g, Op::kConv, {a, g.add_constant("w2", ir::random_f32(random, {16, 16, 1, 1})), g.add_constant("b2", ir::random_f32(random, {16}, 0, 4))}, {},
                             {numerics::Unary::kSilu, 1, 0, {}});
  g.outputs = ir::append_results(g, Op::kConv, {b, g.add_constant("w3", ir::random_f32(random, {8, 16, 1, 1}))});
  ASSERT_TRUE(ir::verify(g).ok());
  const auto samples = samples_for(g, random, 8);
  QuantizeOptions options;
  options.weight_bits = 4;
  const auto corrected = quantize(g, samples, options);
  options.correct_bias = false;
  const auto plain = quantize(g, samples, options);
  ASSERT_TRUE(corrected.ok() && plain.ok());
  EXPECT_LT(mean_error(g, *corrected, samples), 0.1);
  EXPECT_GT(mean_error(g, *plain, samples), 0.2);
}

// A table that is looked up and multiplied with is one constant afterwards, coded once.
TEST(Quantize, ATableSharedWithAProductIsCodedOnce) {
  Random random(ir::test_seed());
  Graph g;
  ir::Value tokens;
  tokens.shape = {1};
  tokens.dtype = ir::DType::kI64;
  const ValueId x = g.add_value(std::move(tokens));
  g.inputs = {x};
  const ValueId table = g.add_constant("words", ir::random_f32(random, {50, 16}));
  const ValueId words = ir::append_node(g, Op::kGather, {table, x}, {{"axis", int64_t{0}}});
  const ValueId hidden = ir::append_node(g, Op::kGemm, {words, g.add_constant("w", ir::random_f32(random, {16, 16}))});
  g.outputs = ir::append_results(g, Op::kGemm, {hidden, table}, {{"transB", int64_t{1}}});
  ASSERT_TRUE(ir::verify(g).ok());
  std::vector<std::vector<Tensor>> samples;
  for (int64_t i = 0; i < 50; ++i) samples.push_back({Tensor::i64({1}, {i})});
  QuantizeOptions options;
  options.float_activations = options.code_parameters = true;
  options.rate_weight = 4;
  const auto quantized = quantize(g, samples, options);
  ASSERT_TRUE(quantized.ok()) << quantized.error().message;
  const auto reads = [&](Op op) { return std::find_if(quantized->nodes.begin(), quantized->nodes.end(), [&](const ir::Node& n) { return n.op == op; }); };
  EXPECT_EQ(reads(Op::kGather)->inputs[0], quantized->nodes.back().inputs[1]);
  EXPECT_EQ(quantized->value(quantized->nodes.back().inputs[1]).shape, (Shape{50, 16}));
  EXPECT_GT(signal_to_noise(g, *quantized, samples), 30);
}

// 128 inputs that follow eight of their kind: weights of 4 bits lose little once later ones make up for earlier ones.
TEST(Quantize, LongRowsMakeUpForTheirErrors) {
  Random random(ir::test_seed());
  Graph g;
  const ValueId x = input(g, {1, 128});
  g.outputs = ir::append_results(g, Op::kMatMul, {x, g.add_constant("w", ir::random_f32(random, {128, 16}))});
  ASSERT_TRUE(ir::verify(g).ok());
  const Tensor mixing = ir::random_f32(random, {8, 128});
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 256; ++i) {
    const Tensor cause = ir::random_f32(random, {8});
    Tensor t = ir::random_f32(random, {1, 128}, -0.05, 0.05);
    for (int64_t k = 0; k < 128; ++k) {
      for (int64_t j = 0; j < 8; ++j) t.set(k, t.at(k) + cause.at(j) * mixing.at(j * 128 + k));
    }
    samples.push_back({t});
  }
  QuantizeOptions options;
  options.weight_bits = 4;
  const auto fed_back = quantize(g, samples, options);
  options.round_by_covariance = false;
  const auto nearest = quantize(g, samples, options);
  ASSERT_TRUE(fed_back.ok() && nearest.ok());
  EXPECT_GT(signal_to_noise(g, *fed_back, samples), signal_to_noise(g, *nearest, samples) + 3);
}

// Inputs over many orders of magnitude stay float in a small network; evenly spread ones are 8-bit.
TEST(Quantize, KeepsCoarseValuesInFloat) {
  Random random(ir::test_seed());
  Graph g;
  const ValueId x = input(g, {1, 256});
  const ValueId y = ir::append_node(g, Op::kMatMul, {x, g.add_constant("w", ir::random_f32(random, {256, 32}))}, {}, {numerics::Unary::kRelu, 0, 0, {}});
  g.outputs = ir::append_results(g, Op::kMatMul, {y, g.add_constant("v", ir::random_f32(random, {32, 4}))});
  ASSERT_TRUE(ir::verify(g).ok());
  auto samples = samples_for(g, random, 64);
  const auto even = quantize(g, samples, {});
  for (auto& sample : samples) {
    for (int64_t i = 0; i < sample[0].count(); ++i) sample[0].set(i, sample[0].at(i) * std::exp(5 * random.normal()));
  }
  const auto coarse = quantize(g, samples, {});
  ASSERT_TRUE(even.ok() && coarse.ok());
  EXPECT_TRUE(even->value(even->inputs[0]).quant.has_value());
  EXPECT_FALSE(coarse->value(coarse->inputs[0]).quant.has_value());
}

// Small outputs are float unless 8 bits are asked for.
TEST(Quantize, MakesOutputsIntegersOnDemand) {
  Random random(ir::test_seed());
  Graph g;
  const ValueId x = input(g, {1, 256});
  g.outputs = ir::append_results(g, Op::kMatMul, {x, g.add_constant("w", ir::random_f32(random, {256, 32}))});
  ASSERT_TRUE(ir::verify(g).ok());
  const auto samples = samples_for(g, random, 64);
  QuantizeOptions options;
  const auto floats = quantize(g, samples, options);
  options.integer_outputs = true;
  const auto integers = quantize(g, samples, options);
  ASSERT_TRUE(floats.ok() && integers.ok());
  EXPECT_FALSE(floats->value(floats->outputs[0]).quant.has_value());
  EXPECT_TRUE(integers->value(integers->outputs[0]).quant.has_value());
  EXPECT_GT(signal_to_noise(g, *integers, samples), 30);
}

// What a still picture may lose, a stream may not: its state gathers the errors.
TEST(Quantize, KeepsMoreInFloatWhereStateGathersErrors) {
  const auto first_input_is_coded = [](bool with_state) {
    Random random(ir::test_seed());
    Graph g;
    const ValueId x = input(g, {1, 256}), before = input(g, {1, 4});
    const ValueId y = ir::append_node(g, Op::kMatMul, {x, g.add_constant("w", ir::random_f32(random, {256, 32}))}, {}, {numerics::Unary::kRelu, 0, 0, {}});
    const ValueId z = ir::append_node(g, Op::kMatMul, {y, g.add_constant("v", ir::random_f32(random, {32, 4}))});
    g.outputs = ir::append_results(g, Op::kAdd, {z, before});
    if (with_state) g.state = {{before, g.outputs[0]}};
    EXPECT_TRUE(ir::verify(g).ok());
    auto samples = samples_for(g, random, 64);
    for (auto& sample : samples) {
      for (int64_t i = 0; i < sample[0].count(); ++i) sample[0].set(i, sample[0].at(i) * std::exp(1.2 * random.normal()));
    }
    const auto coded = quantize(g, samples, {});
    EXPECT_TRUE(coded.ok());
    return coded.ok() && coded->value(coded->inputs[0]).quant.has_value();
  };
  EXPECT_TRUE(first_input_is_coded(false));
  EXPECT_FALSE(first_input_is_coded(true));
}

// A sum over time: y = x + state, and y is the next state.
TEST(Calibrate, CarriesState) {
  Graph g;
  const ValueId x = input(g, {1, 2}), state = input(g, {1, 2});
  g.outputs = ir::append_results(g, Op::kAdd, {x, state});
  g.state = {{state, g.outputs[0]}};
  ASSERT_TRUE(ir::verify(g).ok());
  Tensor one(ir::DType::kF32, {1, 2}), zero(ir::DType::kF32, {1, 2});
  one.set(0, 1);
  one.set(1, -1);
  const auto c = calibrate(g, std::vector<std::vector<Tensor>>(5, {one, zero}));
  ASSERT_TRUE(c.ok()) << c.error().message;
  EXPECT_EQ(c->values[static_cast<size_t>(g.outputs[0])].maximum(), 5);
  EXPECT_EQ(c->values[static_cast<size_t>(state)].minimum(), -4);
}

// One loud moment among quiet ones, all of the same shape of distribution: a stream's steps stay finer.
TEST(Calibrate, LoudMomentsOfAStreamDoNotSetTheSteps) {
  Random random(ir::test_seed());
  Histogram even, stream;
  for (int moment = 0; moment < 40; ++moment) {
    const Tensor t = ir::random_f32(random, {1, 4096}, 0, moment == 20 ? 50 : 0.5);
    even.add(t.as<float>());
    stream.add(t.as<float>(), true);
  }
  EXPECT_LT(stream.choose(RangeMethod::kMse, 99.99).scale_code, even.choose(RangeMethod::kMse, 99.99).scale_code);
}

// SiLU is flat below -8: codes for what lies there would be wasted, where nothing else reads the values.
TEST(Calibrate, RangesServeTheFunctionThatReadsThem) {
  Random random(ir::test_seed());
  Histogram values;
  const Tensor t = ir::random_f32(random, {1, 4096}, -40, 8);
  values.add(t.as<float>());
  const ir::Activation silu{numerics::Unary::kSilu, 1, 0, {}};
  const numerics::Affine alone = values.choose(RangeMethod::kMse, 99.99), read = values.choose(RangeMethod::kMse, 99.99, &silu);
  const auto end = [](numerics::Affine a, int code) { return (code - a.zero_point) * numerics::scale_value(a.scale_code); };
  EXPECT_LT(end(alone, 0), -30);
  EXPECT_GT(end(read, 0), -12);
  EXPECT_GT(end(read, 255), 7);
  EXPECT_LT(read.scale_code, alone.scale_code - numerics::kScaleStepsPerOctave);
}

// Powers that a root is taken of stay float, with the product and the signal before them; what follows is 8-bit.
TEST(Quantize, KeepsSpectraInFloat) {
  Random random(ir::test_seed());
  Graph g;
  const ValueId x = input(g, {1, 1, 64});
  const ValueId f = ir::append_node(g, Op::kConv, {x, g.add_constant("transform", ir::random_f32(random, {8, 1, 16}))}, {{"strides", Ints{4}}});
  const ValueId power = ir::append_node(g, Op::kMul, {f, f}), root = ir::append_node(g, Op::kSqrt, {power});
  const ValueId y = ir::append_node(g, Op::kConv, {root, g.add_constant("w", ir::random_f32(random, {8, 8, 1}))}, {}, {numerics::Unary::kRelu, 0, 0, {}});
  g.outputs = ir::append_results(g, Op::kConv, {y, g.add_constant("v", ir::random_f32(random, {4, 8, 1}))});
  ASSERT_TRUE(ir::verify(g).ok());
  const auto quantized = quantize(g, samples_for(g, random, 4), {});
  ASSERT_TRUE(quantized.ok()) << quantized.error().message;
  for (const Node& n : quantized->nodes) {
    if (n.op == Op::kMul || n.op == Op::kSqrt) {
      EXPECT_FALSE(quantized->value(n.inputs[0]).quant.has_value());
    }
    if (n.op == Op::kSqrt) {
      EXPECT_TRUE(quantized->value(n.outputs[0]).quant.has_value());
    }
  }
  EXPECT_FALSE(quantized->value(quantized->inputs[0]).quant.has_value());
}

}  // namespace
}  // namespace pith
