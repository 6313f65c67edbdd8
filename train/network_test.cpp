// The differentiable program against the reference interpreter: random graphs of every family, a batch whose samples must
// not see each other, the gradients' finiteness, and what must be refused.
#include "train/network.h"

#include <fstream>

#include "train/far_device.h"
#include "train/small_network.h"

namespace pith::train {
namespace {

using ir::Attributes;
using ir::Ints;
using ir::Op;
using ir::Tensor;

constexpr int64_t kIndices = 4;  // integers that tests draw lie in [-kIndices, kIndices)

// One node on a batch of three samples: each sample's result is the interpreter's.
void agrees(Op op, const std::vector<Tensor>& first, const Attributes& attributes = {}, const std::vector<size_t>& constant = {}, int outputs = 1) {
  SCOPED_TRACE(ir::op_name(op));
  ir::Graph g = ir::one_node(op, first, attributes, outputs, constant);
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  const auto net = Network::build(g);
  ASSERT_TRUE(net.ok()) << net.error().message;
  Random random(ir::test_seed());
  std::vector<std::vector<Tensor>> samples(3);
  std::vector<at::Tensor> batch;
  for (ir::ValueId id : g.inputs) {
    std::vector<at::Tensor> parts;
    for (auto& s : samples) {
      if (g.value(id).dtype == ir::DType::kI64) {
        Tensor t(ir::DType::kI64, g.value(id).shape);
        for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<double>(random.integer(-kIndices, kIndices - 1)));
        s.push_back(std::move(t));
      } else {
        s.push_back(ir::random_f32(random, g.value(id).shape, -2, 2));
      }
      parts.push_back(to_torch(s.back()));
    }
    batch.push_back(at::cat(parts, 0));
    if (batch.back().is_floating_point()) batch.back().set_requires_grad(true);
  }
  const auto results = net->run(batch);
  at::Tensor sum = at::zeros({});
  for (const at::Tensor& r : results) sum = sum + r.square().sum();
  if (sum.requires_grad()) sum.backward();
  for (const at::Tensor& b : batch) EXPECT_TRUE(!b.grad().defined() || at::isfinite(b.grad()).all().item<bool>());
  for (size_t s = 0; s < samples.size(); ++s) {
    const auto expected = ir::interpret(g, samples[s]);
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    for (size_t k = 0; k < results.size(); ++k) {
      const Tensor got = from_torch(results[k][static_cast<int64_t>(s)]);
      ASSERT_EQ(got.count(), (*expected)[k].count());
      ir::expect_near(got.reshaped((*expected)[k].shape()), (*expected)[k], 2e-4);
    }
  }
}

// On the CPU and on the device whose memory the host can't touch.
class NetworkTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { ASSERT_TRUE(use_device(GetParam()).ok()); }
  void TearDown() override { ASSERT_TRUE(use_device("cpu").ok()); }
  Tensor f(ir::Shape shape, double low = -1, double high = 1) { return ir::random_f32(random_, std::move(shape), low, high); }
  Random random_{ir::test_seed()};
};

TEST_P(NetworkTest, Convolutions) {
  agrees(Op::kConv, {f({1, 4, 9, 7}), f({6, 4, 3, 2}), f({6})}, {{"pads", Ints{1, 0, 1, 0}}, {"strides", Ints{2, 1}}}, {1, 2});
  agrees(Op::kConv, {f({1, 4, 9, 7}), f({6, 2, 3, 3}), f({6})}, {{"group", int64_t{2}}, {"pads", Ints{0, 1, 2, 1}}, {"dilations", Ints{2, 1}}}, {1, 2});
  agrees(Op::kConv, {f({1, 5, 8, 8}), f({5, 1, 3, 3})}, {{"group", int64_t{5}}, {"auto_pad", std::string("SAME_UPPER")}, {"strides", Ints{2, 2}}}, {1});
  agrees(Op::kConv, {f({1, 3, 11}), f({4, 3, 5}), f({4})}, {{"pads", Ints{2, 1}}}, {1, 2});
  agrees(Op::kConvTranspose, {f({1, 3, 5, 6}), f({3, 4, 3, 3}), f({4})}, {{"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 0, 1}}, {"output_padding", Ints{1, 0}}}, {1, 2});
}
TEST_P(NetworkTest, MatrixProducts) {
  agrees(Op::kGemm, {f({1, 12}), f({5, 12}), f({5})}, {{"transB", int64_t{1}}, {"alpha", 0.5}, {"beta", 2.0}}, {1, 2});
  agrees(Op::kGemm, {f({1, 12}), f({12, 5})}, {}, {1});
  agrees(Op::kMatMul, {f({1, 7, 6}), f({6, 4})}, {}, {1});
  agrees(Op::kMatMul, {f({1, 2, 7, 6}), f({1, 2, 6, 4})});
}
TEST_P(NetworkTest, Functions) {
  for (Op op : {Op::kRelu, Op::kLeakyRelu, Op::kSigmoid, Op::kTanh, Op::kSilu, Op::kHardSigmoid, Op::kHardSwish, Op::kGelu, Op::kElu, Op::kSelu, Op::kCelu, Op::kSoftplus,
                Op::kSoftsign, Op::kMish, Op::kThresholdedRelu, Op::kExp, Op::kAbs, Op::kNeg, Op::kSin, Op::kCos, Op::kAtan, Op::kErf})
    agrees(op, {f({1, 3, 5})});
  agrees(Op::kClip, {f({1, 3, 5})}, {{"min", -0.5}, {"max", 1.0}});
  agrees(Op::kGelu, {f({1, 3, 5})}, {{"approximate", std::string("tanh")}});
}
TEST_P(NetworkTest, SeveralOperands) {
  for (Op op : {Op::kAdd, Op::kSub, Op::kMul, Op::kMin, Op::kMax, Op::kMean}) agrees(op, {f({1, 3, 4, 5}), f({1, 3, 4, 5})});
  agrees(Op::kAdd, {f({1, 3, 4, 5}), f({3, 1, 1})}, {}, {1});
  agrees(Op::kDiv, {f({1, 3, 4}), f({4}, 1, 2)}, {}, {1});
  agrees(Op::kPRelu, {f({1, 3, 4}), f({3, 1})}, {}, {1});
}
TEST_P(NetworkTest, PoolsAndReductions) {
  agrees(Op::kMaxPool, {f({1, 3, 9, 7})}, {{"kernel_shape", Ints{3, 2}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 0, 0, 1}}, {"ceil_mode", int64_t{1}}});
  for (int64_t counted : {0, 1})
    agrees(Op::kAveragePool, {f({1, 3, 9, 7})}, {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}, {"ceil_mode", int64_t{1}}, {"count_include_pad", counted}});
  agrees(Op::kGlobalAveragePool, {f({1, 3, 4, 5})});
  agrees(Op::kReduceMean, {f({1, 3, 4, 5})}, {{"axes", Ints{2, 3}}, {"keepdims", int64_t{0}}});
  agrees(Op::kReduceL2, {f({1, 3, 4})}, {{"axes", Ints{1}}});
}
TEST_P(NetworkTest, Normalisations) {
  agrees(Op::kSoftmax, {f({1, 3, 6})}, {{"axis", int64_t{-1}}});
  agrees(Op::kLogSoftmax, {f({1, 3, 6})}, {{"axis", int64_t{1}}});
  agrees(Op::kLayerNormalization, {f({1, 3, 6}), f({6}), f({6})}, {}, {1, 2});
  agrees(Op::kBatchNormalization, {f({1, 3, 4, 4}), f({3}), f({3}), f({3}), f({3}, 0.5, 2)}, {}, {1, 2, 3, 4});
  agrees(Op::kInstanceNormalization, {f({1, 3, 4, 4}), f({3}), f({3})}, {}, {1, 2});
}
TEST_P(NetworkTest, RowsByToken) {
  const Tensor one(ir::DType::kI64, {1, 5}), place(ir::DType::kI64, {1}), places(ir::DType::kI64, {1, 2});
  agrees(Op::kGather, {f({6, 3}), one}, {}, {0});
  agrees(Op::kGather, {f({3, 6}), one}, {{"axis", int64_t{1}}}, {0});
  agrees(Op::kGather, {f({1, 4, 3}), place}, {{"axis", int64_t{1}}});
  agrees(Op::kGather, {f({1, 4, 3}), places}, {{"axis", int64_t{1}}});
  agrees(Op::kCast, {one}, {{"to", std::string("f32")}});
  agrees(Op::kLessOrEqual, {Tensor::i64({1, 1}, {1}), one}, {}, {0});
  agrees(Op::kWhere, {Tensor::i64({1, 5}, {0, 1, 0, 1, 1}).cast(ir::DType::kBool), f({1, 5}), f({1, 1})}, {}, {0, 2});
}
TEST_P(NetworkTest, AttentionAndPositions) {
  agrees(Op::kAttention, {f({1, 5, 8}), f({1, 7, 8}), f({1, 7, 4})}, {{"q_num_heads", int64_t{2}}, {"kv_num_heads", int64_t{2}}});
  agrees(Op::kAttention, {f({1, 4, 5, 3}), f({1, 2, 5, 3}), f({1, 2, 5, 3})}, {{"is_causal", int64_t{1}}, {"scale", 0.7}, {"softcap", 2.0}});
  agrees(Op::kAttention, {f({1, 2, 5, 3}), f({1, 2, 6, 3}), f({1, 2, 6, 3}), f({1, 1, 1, 6})});
  agrees(Op::kAttention, {f({1, 2, 5, 3}), f({1, 2, 6, 3}), f({1, 2, 6, 3}), f({5, 6})}, {}, {3});
  for (int64_t interleaved : {0, 1}) {
    agrees(Op::kRotaryEmbedding, {f({1, 2, 4, 6}), f({9, 3}), f({9, 3}), Tensor::i64({1, 4}, {8, 0, 3, 5})}, {{"interleaved", interleaved}}, {1, 2, 3});
    agrees(Op::kRotaryEmbedding, {f({1, 4, 12}), f({1, 4, 2}), f({1, 4, 2})}, {{"interleaved", interleaved}, {"num_heads", int64_t{2}}, {"rotary_embedding_dim", int64_t{4}}}, {1, 2});
  }
  agrees(Op::kRMSNormalization, {f({1, 3, 6}), f({6})}, {}, {1});
  agrees(Op::kLpNormalization, {f({1, 3, 6})}, {{"axis", int64_t{-1}}, {"p", int64_t{2}}});
}
// A reshape that drops the dimension in which the samples lie.
TEST_P(NetworkTest, RowsOfSamplesStayTogether) {
  agrees(Op::kReshape, {f({1, 4, 6})}, {{"shape", Ints{4, 6}}});
  agrees(Op::kReshape, {f({1, 6})}, {{"shape", Ints{6}}});
  agrees(Op::kReshape, {f({1, 4, 6})}, {{"shape", Ints{24}}});
}
TEST_P(NetworkTest, Movements) {
  agrees(Op::kReshape, {f({1, 4, 6})}, {{"shape", Ints{1, 24}}});
  agrees(Op::kTranspose, {f({1, 4, 6})}, {{"perm", Ints{2, 0, 1}}});
  agrees(Op::kConcat, {f({1, 4, 6}), f({1, 2, 6})}, {{"axis", int64_t{1}}});
  agrees(Op::kConcat, {f({1, 4, 6}), f({1, 2, 6})}, {{"axis", int64_t{1}}}, {1});
  agrees(Op::kSplit, {f({1, 5, 3})}, {{"axis", int64_t{1}}, {"split", Ints{2, 3}}}, {}, 2);
  agrees(Op::kSlice, {f({1, 7, 6})}, {{"starts", Ints{6, 1}}, {"ends", Ints{-8, 5}}, {"axes", Ints{1, 2}}, {"steps", Ints{-2, 1}}});
  agrees(Op::kPad, {f({1, 3, 4})}, {{"pads", Ints{0, 1, 2, 0, 0, 1}}, {"value", 0.5}});
  agrees(Op::kDepthToSpace, {f({1, 8, 3, 4})}, {{"blocksize", int64_t{2}}});
  agrees(Op::kDepthToSpace, {f({1, 8, 3, 4})}, {{"blocksize", int64_t{2}}, {"mode", std::string("CRD")}});
  agrees(Op::kSpaceToDepth, {f({1, 2, 4, 6})}, {{"blocksize", int64_t{2}}});
  agrees(Op::kResize, {f({1, 2, 4, 5})}, {{"scales", std::vector<double>{1, 1, 2, 2}}});
  agrees(Op::kResize, {f({1, 2, 4, 5})}, {{"sizes", Ints{1, 2, 7, 3}}, {"mode", std::string("linear")}});
}

INSTANTIATE_TEST_SUITE_P(Devices, NetworkTest, testing::Values("cpu", kFarDevice));

TEST(Network, DecoderIsTheInterpreters) {
  Random random(ir::test_seed());
  const ir::Graph g = small_decoder(random);
  const auto net = Network::build(g);
  ASSERT_TRUE(net.ok()) << net.error().message;
  const at::Tensor tokens = at::tensor({1, 5, 8, 0, 3, 3, 7, 2}, at::kLong).view({2, 4});
  const at::Tensor got = net->run({tokens})[0];
  ASSERT_EQ(got.sizes(), (std::vector<int64_t>{2, 4, 9}));
  for (int64_t s = 0; s < 2; ++s) {
    Tensor sample(ir::DType::kI64, {1, 4});
    for (int64_t i = 0; i < 4; ++i) sample.set(i, static_cast<double>(tokens[s][i].item<int64_t>()));
    ir::expect_near(from_torch(got[s]), ir::interpret(g, {sample}).value()[0], 1e-4);
  }
}

// In double precision, by central differences of every constant.
TEST(Network, GradientsAreDifferences) {
  Random random(ir::test_seed());
  const ir::Graph g = small_decoder(random);
  const auto net = Network::build(g);
  ASSERT_TRUE(net.ok()) << net.error().message;
  const at::Tensor tokens = at::tensor({1, 5, 8, 0, 3, 3, 7, 2}, at::kLong).view({2, 4});
  std::map<ir::ValueId, at::Tensor> constants;
  for (size_t i = 0; i < g.values.size(); ++i) {
    if (g.values[i].constant && g.values[i].dtype == ir::DType::kF32) constants[static_cast<ir::ValueId>(i)] = to_torch(*g.values[i].constant).to(at::kDouble).set_requires_grad(true);
  }
  Hooks hooks;
  hooks.constant = [&](ir::ValueId id, const at::Tensor& t) { return constants.count(id) ? constants[id] : t; };
  const auto loss = [&] { return at::log_softmax(net->run({tokens}, hooks)[0], -1).square().sum(); };
  loss().backward();
  at::NoGradGuard guard;
  for (auto& [id, t] : constants) {
    for (int probe = 0; probe < 5; ++probe) {
      const int64_t at = random.integer(0, t.numel() - 1);
      const double x = t.view({-1})[at].item<double>(), step = 1e-5;
      const auto moved = [&](double to) {
        t.view({-1})[at] = to;
        return loss().item<double>();
      };
      const double slope = (moved(x + step) - moved(x - step)) / (2 * step);
      moved(x);
      EXPECT_NEAR(t.grad().view({-1})[at].item<double>(), slope, 1e-5 * std::max(1.0, std::abs(slope))) << g.value(id).name << " at " << at;
    }
  }
}

TEST(Network, RefusesWhatMixesSamples) {
  Random random(ir::test_seed());
  const auto refused = [&](Op op, const std::vector<Tensor>& inputs, const Attributes& a) {
    ir::Graph g = ir::one_node(op, inputs, a);
    EXPECT_TRUE(ir::infer_shapes(g).ok());
    const auto net = Network::build(g);
    ASSERT_FALSE(net.ok());
    EXPECT_EQ(net.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(net.error().message.find("node 'node'"), std::string::npos) << net.error().message;
  };
  refused(Op::kReduceSum, {ir::random_f32(random, {1, 4})}, {{"axes", Ints{0}}});
  refused(Op::kConcat, {ir::random_f32(random, {1, 4}), ir::random_f32(random, {1, 4})}, {{"axis", int64_t{0}}});
  refused(Op::kGather, {ir::random_f32(random, {1, 4}), Tensor(ir::DType::kI64, {1, 2})}, {{"axis", int64_t{0}}});
  refused(Op::kFloor, {ir::random_f32(random, {1, 4})}, {});
  refused(Op::kHardmax, {ir::random_f32(random, {1, 4})}, {});
}

}  // namespace
}  // namespace pith::train
