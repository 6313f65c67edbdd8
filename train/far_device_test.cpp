// Retraining on a device whose memory the host can't touch (far_device.h): every way through the trainer reaches what it
// reaches on the CPU, and no operator is given tensors of both.
#include "train/far_device.h"

#include <cstdio>

#include "train/network.h"
#include "train/sensitivity.h"
#include "train/small_network.h"

namespace pith::train {
namespace {

constexpr double kNear = 1e-3;  // relative to the weights: roundings that fall the other way are small steps' work

class FarTrainer : public testing::Test {
 protected:
  void TearDown() override { ASSERT_TRUE(use_device("cpu").ok()); }
  ir::Graph graph_ = small_network();
};

TrainOptions on(const char* device, TrainOptions o) {
  o.device = device;
  return o;
}

std::vector<double> numbers_of(const Model& m) {
  std::vector<double> all;
  for (const ir::Value& v : m.graph.values) {
    if (!v.constant || v.dtype != ir::DType::kF32) continue;
    for (int64_t i = 0; i < v.constant->count(); ++i) all.push_back(v.constant->at(i));
  }
  for (const auto& [name, steps] : m.steps) all.insert(all.end(), steps.log2.begin(), steps.log2.end());
  return all;
}

double apart(const Model& a, const Model& b) {
  const std::vector<double> x = numbers_of(a), y = numbers_of(b);
  EXPECT_EQ(x.size(), y.size());
  double off = 0, size = 1e-30;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) off += (x[i] - y[i]) * (x[i] - y[i]), size += x[i] * x[i];
  return std::sqrt(off / size);
}

std::unique_ptr<Trainer> begun(const ir::Graph& teacher, const Model& student, const Dataset& data, const TrainOptions& o) {
  auto t = Trainer::create(teacher, student, data, o);
  EXPECT_TRUE(t.ok()) << t.error().message;
  return t.ok() ? std::move(*t) : nullptr;
}

void go(Trainer& t, double share) {
  const auto done = t.run(share, kGoOn, nullptr);
  ASSERT_TRUE(done.ok()) << done.error().message;
}

// The whole way on both.
void expect_alike(const ir::Graph& teacher, const Model& student, const Dataset& data, const TrainOptions& o) {
  const auto near = begun(teacher, student, data, o);
  ASSERT_NE(near, nullptr);
  go(*near, 1);
  const auto far = begun(teacher, student, data, on(kFarDevice, o));
  ASSERT_NE(far, nullptr);
  const int64_t before = far_waits();
  go(*far, 1);
  EXPECT_LT(far_waits() - before, 6 * o.steps);  // however many weights there are
  EXPECT_GT(apart(near->model(), student), 10 * kNear);  // it learned
  EXPECT_LT(apart(near->model(), far->model()), kNear);
  EXPECT_NEAR(near->status().distortion, far->status().distortion, 0.01 * near->status().distortion);
  EXPECT_NEAR(near->status().bits, far->status().bits, 0.01 * near->status().bits);
  EXPECT_NEAR(near->status().validation, far->status().validation, 0.01 * near->status().validation);
  EXPECT_NEAR(near->status().validation_recentred, far->status().validation_recentred, 0.01 * near->status().validation_recentred);
}

Dataset labelled(int64_t count) {
  Dataset d = small_samples(count);
  for (int64_t i = 0; i < count; ++i) d.labels.push_back(i % 4);
  return d;
}

// Two branches that meet, in pictures: what waits in coded form needs rows.
ir::Graph branching() {
  Random random(7);
  ir::Graph g;
  ir::Value input;
  input.name = "x", input.shape = {1, 2, 8, 8};
  g.inputs = {g.add_value(input)};
  int made = 0;
  const auto conv = [&](ir::ValueId x, ir::Shape shape, int64_t pad, bool relu) {
    const std::string name = "c" + std::to_string(made++);
    const ir::ValueId w = g.add_constant(name + ".w", ir::random_f32(random, shape)), b = g.add_constant(name + ".b", ir::random_f32(random, {shape[0]}));
    const ir::ValueId y = ir::append_node(g, Op::kConv, {x, w, b}, {{"pads", ir::Ints{pad, pad, pad, pad}}});
    if (relu) g.nodes.back().activation.function = numerics::Unary::kRelu;
    return y;
  };
  const ir::ValueId stem = conv(g.inputs[0], {6, 2, 3, 3}, 1, true), through = conv(conv(stem, {6, 6, 3, 3}, 1, true), {6, 6, 1, 1}, 0, false);
  const ir::ValueId sum = ir::append_node(g, Op::kAdd, {stem, through}, {});
  g.nodes.back().activation.function = numerics::Unary::kRelu;
  const ir::ValueId small = ir::append_node(g, Op::kMaxPool, {sum}, {{"kernel_shape", ir::Ints{2, 2}}, {"strides", ir::Ints{2, 2}}});
  const ir::ValueId row = ir::append_node(g, Op::kFlatten, {ir::append_node(g, Op::kGlobalAveragePool, {small}, {})}, {});
  g.outputs = {ir::append_node(g, Op::kGemm, {row, g.add_constant("head.w", ir::random_f32(random, {4, 6})), g.add_constant("head.b", ir::random_f32(random, {4}))}, {{"transB", int64_t{1}}})};
  EXPECT_TRUE(ir::infer_shapes(g).ok());
  EXPECT_TRUE(ir::verify(g).ok());
  return g;
}

TEST_F(FarTrainer, AnswersLabelsAndAugmentedPictures) {
  TrainOptions o = small_options(30);
  o.flip = true, o.label_weight = 0.5, o.target_bits = 4000, o.settle = 0.5, o.validation = 20;
  expect_alike(graph_, start_model(graph_, true, 0.3), labelled(200), o);
}

TEST_F(FarTrainer, LayersFeaturesAndMixtures) {
  TrainOptions o = small_options(30);
  o.layerwise = 0.3, o.features = 0.5, o.mix = 0.5, o.zoom = 0.3, o.gain = 0.1, o.noise = 0.1, o.settle = 0.6, o.validation = 20, o.lambda = 0;
  const ir::Graph g = branching();
  expect_alike(g, start_model(g, false, 0.3), small_samples(200), o);
}

TEST_F(FarTrainer, RoundedAndCodedActivations) {
  TrainOptions o = small_options(20);
  o.distribution = false, o.settle = 0.5, o.validation = 20;
  const ir::Graph g = branching();
  Model m = start_model(g, true, 0.3);
  for (const ir::Node& n : m.graph.nodes) m.activations[m.graph.value(n.outputs[0]).name] = {-64, 100};
  m.coded[m.graph.value(m.graph.nodes[0].outputs[0]).name] = {4.5, {}};
  expect_alike(g, m, small_samples(100), o);
}

TEST_F(FarTrainer, TextThroughAttention) {
  Random random(3);
  const ir::Graph g = small_decoder(random);
  Dataset data;
  data.draw = [](int64_t number) {
    Random r(static_cast<uint64_t>(number + 1000));
    DrawnBatch batch;
    ir::Tensor tokens(ir::DType::kI64, {8, 4});
    for (int64_t i = 0; i < tokens.count(); ++i) {
      tokens.set(i, static_cast<double>(r.integer(0, 8)));
      batch.labels.push_back(r.integer(0, 8));
    }
    batch.inputs = {tokens};
    return batch;
  };
  TrainOptions o = small_options(20);
  o.batch = 8, o.label_weight = 0.3, o.settle = 0.5, o.validation = 16, o.rate = 0.1;
  expect_alike(g, start_transformer(g, true, 0.3), data, o);
}

TEST_F(FarTrainer, HeldBlocksAndACheckpointThatChangesDevices) {
  const std::string path = testing::TempDir() + "pith_far_checkpoint";
  TrainOptions o = small_options(30);
  o.target_bits = 2500, o.settle = 0.5, o.validation = 20;
  ir::Graph g = graph_;
  for (ir::Value& v : g.values) {
    for (int64_t i = 0; v.name == "n2.w" && i < v.constant->count(); ++i) v.constant->set(i, i % 72 / 16 == 1 ? 0 : v.constant->at(i));
  }
  Model start = start_model(g, true, 0.3);
  hold_zero_blocks(start);
  ASSERT_EQ(start.held.size(), 1u);
  const auto whole = begun(g, start, small_samples(200), o);
  go(*whole, 1);
  const auto from = begun(g, start, small_samples(200), on(kFarDevice, o));
  for (double share : {0.3, 0.8}) {  // before it settles, and after
    go(*from, share);
    ASSERT_TRUE(from->save(path).ok());
    const auto here = begun(g, start, small_samples(200), o);
    ASSERT_TRUE(here->load(path).ok());
    go(*here, 1);
    EXPECT_LT(apart(whole->model(), here->model()), kNear);
    const auto there = begun(g, start, small_samples(200), on(kFarDevice, o));
    ASSERT_TRUE(there->load(path).ok());
    go(*there, 1);
    EXPECT_LT(apart(whole->model(), there->model()), kNear);
  }
  std::remove(path.c_str());
}

TEST_F(FarTrainer, AStudentThatIsReplaced) {
  const auto t = begun(graph_, start_model(graph_, true, 0.3), small_samples(200), on(kFarDevice, small_options(20)));
  go(*t, 0.5);
  Model rounded = t->model();
  rounded.graph = round_model(rounded).graph;
  ASSERT_TRUE(t->replace(rounded).ok());
  go(*t, 1);
  EXPECT_LT(t->status().distortion, 1);
}

TEST_F(FarTrainer, MemoryThatRunsOutIsOneLine) {
  const Model m = start_model(graph_, true, 0.3);
  const auto t = begun(graph_, m, small_samples(200), on(kFarDevice, small_options(20)));
  go(*t, 0.5);
  fill_far_memory(true);
  const auto stepped = t->run(1, kGoOn, nullptr), replaced = t->replace(m);
  const auto anew = Trainer::create(graph_, m, small_samples(200), on("cpu", small_options(20)));
  fill_far_memory(false);
  EXPECT_TRUE(anew.ok());
  for (const auto* r : {&stepped, &replaced}) {
    ASSERT_FALSE(r->ok());
    EXPECT_EQ(r->error().code, ErrorCode::kUsage);
    EXPECT_EQ(r->error().message.find('\n'), std::string::npos);
    EXPECT_NE(r->error().message.find("--batch"), std::string::npos) << r->error().message;
  }
}

TEST_F(FarTrainer, SensitivityAndAgreement) {
  const ir::Graph g = branching();
  ir::Graph other = g;
  for (ir::Value& v : other.values) {
    for (int64_t i = 0; v.constant && i < v.constant->count(); ++i) v.constant->set(i, std::nearbyint(2 * v.constant->at(i)) / 2);
  }
  std::vector<std::vector<ir::Tensor>> samples(4);
  Random random(11);
  for (auto& s : samples) s.push_back(ir::random_f32(random, g.value(g.inputs[0]).shape));
  std::vector<std::map<std::string, ir::Tensor>> squares;
  std::vector<Agreement> shares;
  for (const char* device : {"cpu", kFarDevice}) {
    ASSERT_TRUE(use_device(device).ok());
    for (const Answers a : {Answers::kClasses, Answers::kNumbers}) {
      auto found = squared_gradients(g, samples, a, 5);
      ASSERT_TRUE(found.ok()) << found.error().message;
      squares.push_back(std::move(*found));
    }
    const auto same = agreement(g, other, labelled(100));
    ASSERT_TRUE(same.ok());
    shares.push_back(*same);
  }
  for (size_t k = 0; k < 2; ++k)
    for (const auto& [name, t] : squares[k]) ir::expect_near(squares[k + 2].at(name), t, 1e-4);
  EXPECT_GT(shares[0].right, 0);
  EXPECT_EQ(shares[0].same, shares[1].same);
  EXPECT_EQ(shares[0].right, shares[1].right);
}

// What the device is for.
TEST(FarDeviceDeathTest, RefusesTensorsOfBothSidesAndTheHostsHands) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const at::Tensor here = at::ones({3}), there = here.to(at::Device(kFarDevice));
  EXPECT_EQ((there * 2 + at::ones({})).sum().item<double>(), 9);
  EXPECT_THROW(there + here, std::exception);
  EXPECT_THROW(there.index_select(0, at::zeros({1}, at::kLong)), std::exception);
  EXPECT_THROW(at::cat({there, here}), std::exception);
  EXPECT_DEATH(printf("%f", static_cast<double>(*there.data_ptr<float>())), "");
  EXPECT_TRUE(at::equal(there.cpu(), here));
}

}  // namespace
}  // namespace pith::train
