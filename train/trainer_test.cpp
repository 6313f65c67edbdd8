// Retraining on a small network and random samples: the rate reaches its target, the same seed gives the same weights, a
// checkpoint resumes bit for bit, rounded weights lie on their grids, and a damaged checkpoint is refused.
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "base/file.h"
#include "ir/test_graph.h"

namespace pith::train {
namespace {

using ir::Op;

ir::Graph small_network() {
  Random random(5);
  ir::Graph g;
  g.name = "small";
  ir::Value input;
  input.name = "x";
  input.shape = {1, 2, 8, 8};
  g.inputs = {g.add_value(input)};
  ir::ValueId last = g.inputs[0];
  const auto node = [&](Op op, std::vector<ir::Tensor> constants, ir::Attributes attributes, bool relu) {
    ir::Node n;
    n.op = op;
    n.name = "n" + std::to_string(g.nodes.size());
    n.inputs = {last};
    for (size_t i = 0; i < constants.size(); ++i) n.inputs.push_back(g.add_constant(n.name + (i == 0 ? ".w" : ".b"), constants[i]));
    n.attributes = std::move(attributes);
    if (relu) n.activation.function = numerics::Unary::kRelu;
    ir::Value v;
    v.name = n.name + ".y";
    n.outputs = {last = g.add_value(v)};
    g.nodes.push_back(std::move(n));
  };
  node(Op::kConv, {ir::random_f32(random, {8, 2, 3, 3}), ir::random_f32(random, {8})}, {{"strides", ir::Ints{2, 2}}}, true);
  node(Op::kReshape, {}, {{"shape", ir::Ints{1, 72}}}, false);
  node(Op::kGemm, {ir::random_f32(random, {16, 72}), ir::random_f32(random, {16})}, {{"transB", int64_t{1}}}, true);
  node(Op::kGemm, {ir::random_f32(random, {4, 16}), ir::random_f32(random, {4})}, {{"transB", int64_t{1}}}, false);
  g.outputs = {last};
  EXPECT_TRUE(ir::infer_shapes(g).ok());
  EXPECT_TRUE(ir::verify(g).ok());
  return g;
}

Dataset samples(int64_t count) {
  Random random(9);
  Dataset d;
  d.shape = {1, 2, 8, 8};
  for (int64_t i = 0; i < count * 128; ++i) d.values.push_back(static_cast<float>(random.normal()));
  return d;
}

TrainOptions options(int64_t steps) {
  TrainOptions o;
  o.steps = steps;
  o.batch = 32;
  o.shift = 1;
  o.variants = 2;
  return o;
}

std::unique_ptr<Trainer> trainer(const TrainOptions& o, bool per_channel = false) {
  const ir::Graph g = small_network();
  auto t = Trainer::create(g, start_model(g, per_channel, 0.3), samples(200), o);
  EXPECT_TRUE(t.ok()) << t.error().message;
  return std::move(t).value();
}

const std::atomic<bool> kGoOn{false};

TEST(Trainer, RateReachesItsTarget) {
  TrainOptions o = options(400);
  o.lambda = 1e-5;
  o.target_bits = 1500;
  const auto t = trainer(o, true);
  ASSERT_TRUE(t->run(1, kGoOn, nullptr).ok());
  EXPECT_NEAR(t->status().bits, 1500, 300);
  EXPECT_LT(t->status().nonzero, 0.6);
  EXPECT_GT(t->status().nonzero, 0.02);
}

TEST(Trainer, DistortionFalls) {
  TrainOptions o = options(300);
  o.lambda = 1e-9;
  const auto coarse = [&] {
    const ir::Graph g = small_network();
    return std::move(Trainer::create(g, start_model(g, false, 1.5), samples(200), o)).value();
  }();
  ASSERT_TRUE(coarse->run(0.01, kGoOn, nullptr).ok());
  const double before = coarse->status().distortion;
  ASSERT_TRUE(coarse->run(1, kGoOn, nullptr).ok());
  EXPECT_LT(coarse->status().distortion, 0.5 * before);
}

TEST(Trainer, CheckpointResumesBitForBit) {
  const std::string path = testing::TempDir() + "pith_trainer_checkpoint";
  TrainOptions o = options(60);
  o.target_bits = 2500;
  const auto whole = trainer(o);
  ASSERT_TRUE(whole->run(0.5, kGoOn, nullptr).ok());
  ASSERT_TRUE(whole->save(path).ok());
  ASSERT_TRUE(whole->run(1, kGoOn, nullptr).ok());
  const auto resumed = trainer(o);
  ASSERT_TRUE(resumed->load(path).ok());
  ASSERT_TRUE(resumed->run(1, kGoOn, nullptr).ok());
  const Model a = whole->model(), b = resumed->model();
  EXPECT_EQ(ir::to_text(a.graph, true), ir::to_text(b.graph, true));
  for (const auto& [name, steps] : a.steps) EXPECT_EQ(steps.log2, b.steps.at(name).log2);
  const auto again = trainer(o);
  ASSERT_TRUE(again->run(1, kGoOn, nullptr).ok());
  EXPECT_EQ(ir::to_text(a.graph, true), ir::to_text(again->model().graph, true));
  std::remove(path.c_str());
}

TEST(Trainer, RoundedWeightsLieOnTheirGrid) {
  const auto t = trainer(options(20), true);
  ASSERT_TRUE(t->run(1, kGoOn, nullptr).ok());
  const Rounded r = round_model(t->model());
  ASSERT_EQ(r.codes.size(), 3u);
  for (const ir::Value& v : r.graph.values) {
    const auto codes = r.codes.find(v.name);
    if (codes == r.codes.end()) continue;
    const int64_t inner = v.constant->count() / static_cast<int64_t>(codes->second.size());
    for (int64_t i = 0; i < v.constant->count(); ++i) {
      const double q = v.constant->at(i) / numerics::scale_value(codes->second[static_cast<size_t>(i / inner)]);
      ASSERT_NEAR(q, std::nearbyint(q), 1e-4);
    }
  }
}

TEST(Trainer, RefusesWhatIsNoCheckpoint) {
  const std::string path = testing::TempDir() + "pith_trainer_damaged";
  const auto t = trainer(options(4));
  ASSERT_TRUE(t->save(path).ok());
  auto bytes = std::move(read_file(path)).value();
  bytes.resize(bytes.size() / 2);
  ASSERT_TRUE(write_file(path, bytes).ok());
  EXPECT_FALSE(t->load(path).ok());
  ASSERT_TRUE(write_file(path, std::string_view("something else")).ok());
  EXPECT_FALSE(t->load(path).ok());
  EXPECT_FALSE(t->load(path + ".missing").ok());
  std::remove(path.c_str());
}

TEST(Trainer, NeedsAnEndAndSamples) {
  const ir::Graph g = small_network();
  EXPECT_FALSE(Trainer::create(g, start_model(g, false, 1), samples(4), options(0)).ok());
  EXPECT_FALSE(Trainer::create(g, start_model(g, false, 1), samples(0), options(4)).ok());
}

}  // namespace
}  // namespace pith::train
