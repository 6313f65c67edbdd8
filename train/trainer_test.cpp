// Retraining on a small network and random samples: the rate reaches its target, the same seed gives the same weights, a
// checkpoint resumes bit for bit, rounded weights lie on their grids, and a damaged checkpoint is refused.
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "base/file.h"
#include "train/batches.h"
#include "train/small_network.h"
#include "train/student.h"

namespace pith::train {
namespace {

std::unique_ptr<Trainer> trainer(const TrainOptions& o, bool per_channel = false) {
  const ir::Graph g = small_network();
  auto t = Trainer::create(g, start_model(g, per_channel, 0.3), small_samples(200), o);
  EXPECT_TRUE(t.ok()) << t.error().message;
  return std::move(t).value();
}

TEST(Trainer, RateReachesItsTarget) {
  TrainOptions o = small_options(400);
  o.lambda = 1e-5;
  o.target_bits = 1500;
  const auto t = trainer(o, true);
  ASSERT_TRUE(t->run(1, kGoOn, nullptr).ok());
  EXPECT_NEAR(t->status().bits, 1500, 300);
  EXPECT_LT(t->status().nonzero, 0.6);
  EXPECT_GT(t->status().nonzero, 0.02);
}

TEST(Trainer, DistortionFalls) {
  TrainOptions o = small_options(300);
  o.lambda = 1e-9;
  const auto coarse = [&] {
    const ir::Graph g = small_network();
    return std::move(Trainer::create(g, start_model(g, false, 1.5), small_samples(200), o)).value();
  }();
  ASSERT_TRUE(coarse->run(0.01, kGoOn, nullptr).ok());
  const double before = coarse->status().distortion;
  ASSERT_TRUE(coarse->run(1, kGoOn, nullptr).ok());
  EXPECT_LT(coarse->status().distortion, 0.5 * before);
}

// Batch norms are folded: their means are re-estimated by moving biases.
TEST(Trainer, RecentredBiasesGiveTheOriginalsMeans) {
  const ir::Graph g = small_network();
  TrainOptions o = small_options(1);
  const auto batches = Batches::create(g, small_samples(200), o);
  ASSERT_TRUE(batches.ok());
  const std::vector<at::Tensor> inputs = batches->probe();
  auto student = Student::create(start_model(g, false, 1.5), inputs);  // coarse
  ASSERT_TRUE(student.ok());
  const auto expected = batches->means(inputs);
  const auto off = [&] {
    const Student::Forward f = student->forward();
    const Network network = std::move(Network::build(student->model().graph)).value();
    Hooks hooks;
    hooks.constant = [&](ir::ValueId id, const at::Tensor& t) { return f.constants.count(id) ? f.constants.at(id) : t; };
    double sum = 0;
    hooks.result = [&](ir::ValueId id, const ir::Activation&, const at::Tensor& t) {
      const auto mean = expected.find(student->model().graph.value(id).name);
      if (mean != expected.end()) sum += (channel_means(t, t.dim() == 4 ? 1 : -1) - mean->second).abs().max().item<double>();
      return at::Tensor();
    };
    at::NoGradGuard guard;
    network.run(inputs, hooks);
    return sum;
  };
  const double before = off();
  student->recentre(inputs, expected);
  EXPECT_GT(before, 0.05);
  EXPECT_LT(off(), 1e-4);
}

// A mixture of two samples has no class of its own; the others of its batch keep theirs.
TEST(Trainer, MixedSamplesHaveNoLabels) {
  TrainOptions o = small_options(1);
  o.mix = 0.5, o.batch = 64, o.variants = 1;
  Dataset data = small_samples(200);
  const int64_t length = ir::element_count(data.shape);
  std::map<float, int64_t> label_of;  // by a sample's first value
  for (int64_t i = 0; i < data.count(); ++i) {
    data.labels.push_back(i);
    label_of[data.values[static_cast<size_t>(i * length)]] = i;
  }
  auto batches = Batches::create(small_network(), data, o);
  ASSERT_TRUE(batches.ok());
  const Batch batch = batches->at_step(0, nullptr);
  ASSERT_TRUE(batch.labels.defined());
  int64_t labelled = 0;
  for (int64_t i = 0; i < 64; ++i) {
    const int64_t label = batch.labels[i].item<int64_t>();
    const auto found = label_of.find(batch.inputs[0][i].flatten()[0].item<float>());
    EXPECT_EQ(label, found == label_of.end() ? kNoLabel : found->second);
    labelled += label != kNoLabel;
  }
  EXPECT_GT(labelled, 16);
  EXPECT_LT(labelled, 48);
}

TEST(Trainer, CheckpointResumesBitForBit) {
  const std::string path = testing::TempDir() + "pith_trainer_checkpoint";
  TrainOptions o = small_options(60);
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

TEST(Trainer, ResumesBitForBitOnceSettled) {
  const std::string path = testing::TempDir() + "pith_trainer_settled";
  TrainOptions o = small_options(50);
  o.target_bits = 2500, o.settle = 0.5, o.features = 0.5, o.mix = 0.5, o.layerwise = 0.2, o.validation = 10, o.zoom = 0.3, o.gain = 0.1, o.noise = 0.1;
  const auto whole = trainer(o);
  ASSERT_TRUE(whole->run(0.7, kGoOn, nullptr).ok());
  ASSERT_TRUE(whole->save(path).ok());
  ASSERT_TRUE(whole->run(1, kGoOn, nullptr).ok());
  const auto resumed = trainer(o);
  ASSERT_TRUE(resumed->load(path).ok());
  ASSERT_TRUE(resumed->run(1, kGoOn, nullptr).ok());
  EXPECT_EQ(ir::to_text(whole->model().graph, true), ir::to_text(resumed->model().graph, true));
  EXPECT_GT(whole->status().validation, 0);
  EXPECT_GT(whole->status().validation_average, 0);
  std::remove(path.c_str());
}

// What is rounded while training is part of the run: a trainer that begins without ranges takes those of the checkpoint.
TEST(Trainer, ResumesWithItsRanges) {
  const std::string path = testing::TempDir() + "pith_trainer_ranges";
  const TrainOptions o = small_options(40);
  const auto whole = trainer(o);
  ASSERT_TRUE(whole->run(0.25, kGoOn, nullptr).ok());
  Model rounded = whole->model();
  for (const ir::Node& n : rounded.graph.nodes) rounded.activations[rounded.graph.value(n.outputs[0]).name] = {-32, 128};
  rounded.coded = {{rounded.activations.begin()->first, {4.5, {0, 1, 2, 8, 16, 0, 3, 8, 0}}}, {rounded.activations.rbegin()->first, {3.25, {}}}};
  ASSERT_TRUE(whole->replace(rounded).ok());
  ASSERT_TRUE(whole->save(path).ok());
  const auto resumed = trainer(o);
  ASSERT_TRUE(resumed->load(path).ok());
  EXPECT_EQ(resumed->model().activations, rounded.activations);
  ASSERT_EQ(resumed->model().coded.size(), 2u);
  for (const auto& [name, rows] : resumed->model().coded) {
    EXPECT_EQ(rows.bits, rounded.coded.at(name).bits);
    EXPECT_EQ(rows.lifting, rounded.coded.at(name).lifting);
  }
  ASSERT_TRUE(whole->run(1, kGoOn, nullptr).ok());
  ASSERT_TRUE(resumed->run(1, kGoOn, nullptr).ok());
  EXPECT_EQ(ir::to_text(whole->model().graph, true), ir::to_text(resumed->model().graph, true));
  std::remove(path.c_str());
}

TEST(Trainer, GoesOnAfterItsEndWithMoreSteps) {
  const std::string path = testing::TempDir() + "pith_trainer_ended";
  TrainOptions o = small_options(40);
  o.settle = 0.5, o.validation = 10, o.rate = 0.01;
  const auto ended = trainer(o);
  ASSERT_TRUE(ended->run(1, kGoOn, nullptr).ok());
  ASSERT_TRUE(ended->save(path).ok());
  const auto same = trainer(o);
  ASSERT_TRUE(same->load(path).ok());
  EXPECT_EQ(same->status().share, 1);
  EXPECT_EQ(ir::to_text(ended->model().graph, true), ir::to_text(same->model().graph, true));
  o.steps = 160;
  const auto longer = trainer(o);
  ASSERT_TRUE(longer->load(path).ok());
  EXPECT_EQ(longer->status().share, 0.25);
  ASSERT_TRUE(longer->run(1, kGoOn, nullptr).ok());
  EXPECT_EQ(longer->status().step, 160);
  EXPECT_LT(longer->status().distortion, ended->status().distortion);
  std::remove(path.c_str());
}

TEST(Trainer, FindsAFirstPriceThatIsNeitherAllNorNothing) {
  TrainOptions o = small_options(40);
  o.lambda = 0;
  const auto t = trainer(o);
  ASSERT_TRUE(t->run(1e-9, kGoOn, nullptr).ok());
  const Status first = t->status();
  EXPECT_NEAR(first.lambda * first.bits / first.distortion, 1.0 / 3, 0.01);
}

TEST(Trainer, ZerosStayZeroOnceSettled) {
  TrainOptions o = small_options(100);
  o.target_bits = 1500, o.lambda = 1e-4, o.settle = 0.5, o.average = 0;
  const auto t = trainer(o);
  ASSERT_TRUE(t->run(0.52, kGoOn, nullptr).ok());
  const Model before = t->model();
  ASSERT_TRUE(t->run(1, kGoOn, nullptr).ok());
  const Rounded first = round_model(before), last = round_model(t->model());
  int64_t zeros = 0;
  for (size_t i = 0; i < first.graph.values.size(); ++i) {
    const ir::Value &a = first.graph.values[i], &b = last.graph.values[i];
    if (!first.codes.count(a.name)) continue;
    for (int64_t k = 0; k < a.constant->count(); ++k) {
      if (before.graph.values[i].constant->at(k) != 0) continue;  // the mask made it so
      ++zeros;
      ASSERT_EQ(b.constant->at(k), 0);
    }
  }
  EXPECT_GT(zeros, 50);
}

ir::Value& value_of(ir::Graph& g, const std::string& name) {
  return *std::find_if(g.values.begin(), g.values.end(), [&](const ir::Value& v) { return v.name == name; });
}

// The second block of the wide product is zero from the beginning.
ir::Graph sparse_network() {
  ir::Graph g = small_network();
  ir::Tensor& w = *value_of(g, "n2.w").constant;
  for (int64_t i = 0; i < w.count(); ++i) w.set(i, i % 72 / 16 == 1 ? 0 : w.at(i));
  return g;
}

int64_t zeros_of(const Model& m, int64_t first, int64_t count) {  // of these inputs of the product
  ir::Graph g = m.graph;
  const ir::Tensor& w = *value_of(g, "n2.w").constant;
  int64_t zeros = 0;
  for (int64_t o = 0; o < 16; ++o) {
    for (int64_t k = first; k < first + count; ++k) zeros += w.at(o * w.shape()[1] + k) == 0;
  }
  return zeros;
}

TEST(Trainer, ZeroBlocksAreHeldWhereverChannelsGo) {
  TrainOptions o = small_options(60);
  o.lambda = 1e-9, o.settle = 0.8;
  Model start = start_model(sparse_network(), true, 0.3);
  for (const bool held : {false, true}) {
    if (held) hold_zero_blocks(start);
    EXPECT_EQ(start.held.size(), held ? 1u : 0u);
    const auto t = std::move(Trainer::create(small_network(), start, small_samples(200), o)).value();
    ASSERT_TRUE(t->run(0.4, kGoOn, nullptr).ok());
    Model m = t->model();
    EXPECT_EQ(zeros_of(m, 16, 16) == 256, held);
    EXPECT_EQ(zeros_of(m, 0, 16), 0);
    if (!held) continue;
    // the convolution loses a channel of nine positions: what is held moves up
    const auto without = [](const ir::Tensor& t, int64_t width, int64_t gone) {
      ir::Shape shape = t.shape();
      if (shape.size() == 2) shape[1] -= gone; else shape[0] -= 1;
      ir::Tensor kept(ir::DType::kF32, shape);
      for (int64_t i = 0; i < kept.count(); ++i) kept.set(i, t.at(i / (width - gone) * width + gone + i % (width - gone)));
      return kept;
    };
    for (const auto& [name, width, gone] : {std::tuple<std::string, int64_t, int64_t>{"n0.w", 144, 18}, {"n0.b", 8, 1}, {"n2.w", 72, 9}}) {
      ir::Value& v = value_of(m.graph, name);
      v.constant = without(*v.constant, width, gone), v.shape = v.constant->shape();
      if (m.held.count(name)) m.held[name] = without(m.held[name], width, gone);
    }
    m.steps["n0.w"].log2.erase(m.steps["n0.w"].log2.begin());
    m.graph.nodes[1].attributes["shape"] = ir::Ints{1, 63};
    ASSERT_TRUE(ir::infer_shapes(m.graph).ok());
    ASSERT_TRUE(t->replace(m).ok());
    ASSERT_TRUE(t->run(1, kGoOn, nullptr).ok());
    EXPECT_EQ(zeros_of(t->model(), 7, 16), 256);
    EXPECT_LT(zeros_of(t->model(), 0, 7), 56);
  }
}

TEST(Trainer, ZeroBlocksAreHeldByACheckpointToo) {
  const std::string path = testing::TempDir() + "pith_trainer_held";
  TrainOptions o = small_options(40);
  o.lambda = 1e-7, o.settle = 0.5;
  Model start = start_model(sparse_network(), true, 0.3);
  hold_zero_blocks(start);
  const auto begun = [&] { return std::move(Trainer::create(small_network(), start, small_samples(200), o)).value(); };
  for (double share : {0.25, 0.75}) {
    const auto whole = begun(), resumed = begun();
    ASSERT_TRUE(whole->run(share, kGoOn, nullptr).ok());
    ASSERT_TRUE(whole->save(path).ok());
    ASSERT_TRUE(whole->run(1, kGoOn, nullptr).ok());
    ASSERT_TRUE(resumed->load(path).ok());
    ASSERT_TRUE(resumed->run(1, kGoOn, nullptr).ok());
    EXPECT_EQ(ir::to_text(whole->model().graph, true), ir::to_text(resumed->model().graph, true));
    EXPECT_EQ(zeros_of(resumed->model(), 16, 16), 256);
  }
  std::remove(path.c_str());
}

TEST(Trainer, LayersLearnForThemselves) {
  TrainOptions o = small_options(200);
  o.layerwise = 1, o.lambda = 1e-9;
  const ir::Graph g = small_network();
  ir::Graph off = g;  // each layer says half of what it should
  for (ir::Value& v : off.values) {
    for (int64_t i = 0; v.constant && i < v.constant->count(); ++i) v.constant->set(i, 0.5 * v.constant->at(i));
  }
  const auto t = std::move(Trainer::create(g, start_model(off, true, 0.3), small_samples(200), o)).value();
  ASSERT_TRUE(t->run(0.02, kGoOn, nullptr).ok());
  const double before = t->status().distortion;
  ASSERT_TRUE(t->run(1, kGoOn, nullptr).ok());
  EXPECT_LT(t->status().distortion, 0.5 * before);
}

// A network of fewer operations: other shapes and names inside, so that only the answers can be compared, in 8 bits.
TEST(Trainer, ASmallerStudentLearnsTheAnswersOnFineGrids) {
  const ir::Graph g = small_network();
  ir::Graph less = g;
  for (ir::Value& v : less.values) {
    v.name += "'";
    for (int64_t i = 0; v.constant && i < v.constant->count(); ++i) v.constant->set(i, 0.5 * v.constant->at(i));
  }
  const Model fine = start_fine(less);
  TrainOptions o = small_options(150);
  o.layerwise = 0.3, o.features = 0.5, o.lambda = 1e-12;
  const auto t = std::move(Trainer::create(g, fine, small_samples(200), o)).value();
  ASSERT_TRUE(t->run(0.02, kGoOn, nullptr).ok());
  const double before = t->status().distortion;
  ASSERT_TRUE(t->run(1, kGoOn, nullptr).ok());
  EXPECT_LT(t->status().distortion, 0.5 * before);
}

TEST(Trainer, FineGridsHoldTheWeightsInEightBits) {
  const ir::Graph g = small_network();
  const Rounded r = round_model(start_fine(g));
  for (size_t i = 0; i < g.values.size(); ++i) {
    if (!r.codes.count(g.values[i].name)) continue;
    double error = 0, power = 0;
    for (int64_t k = 0; k < g.values[i].constant->count(); ++k) error += std::pow(g.values[i].constant->at(k) - r.graph.values[i].constant->at(k), 2.0), power += std::pow(g.values[i].constant->at(k), 2.0);
    EXPECT_LT(error, 1e-4 * power);
  }
}

TEST(Trainer, FirstStepMeetsTheBits) {
  const ir::Graph g = small_network();
  const double coarse = share_for([&](double s) { return start_model(g, true, s); }, 1500), fine = share_for([&](double s) { return start_model(g, true, s); }, 4000);
  EXPECT_GT(coarse, 1.5 * fine);
  const auto t = std::move(Trainer::create(g, start_model(g, true, fine), small_samples(200), small_options(1))).value();
  ASSERT_TRUE(t->run(1, kGoOn, nullptr).ok());
  EXPECT_NEAR(t->status().bits, 4000, 800);  // by another estimate
}

TEST(Trainer, RoundedWeightsLieOnTheirGrid) {
  const auto t = trainer(small_options(20), true);
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

// What weights and biases learn in proportion to.
std::vector<at::Tensor> units_of(const Model& m) {
  at::manual_seed(3);
  const auto student = Student::create(m, {at::randn({4, 2, 8, 8})});
  EXPECT_TRUE(student.ok());
  return student.ok() ? student->units() : std::vector<at::Tensor>();
}

// Latents that round to zero add up to large values that the network never has; biases must not learn in proportion to them.
TEST(Trainer, BiasesMoveByTheRoundedNetwork) {
  Model latent = start_model(small_network(), false, 3), rounded = latent;
  rounded.graph = round_model(latent).graph;
  const auto x = units_of(latent), y = units_of(rounded);
  ASSERT_FALSE(x.empty());
  ASSERT_EQ(x.size(), y.size());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_TRUE(at::equal(x[i], y[i])) << i;
}

// Logits that all rise together change no answer; biases must not learn the faster for it, or they drift ever faster.
TEST(Trainer, BiasesMoveByWhatVaries) {
  const Model here = start_model(small_network(), false, 1);
  Model risen = here;
  ir::Value& bias = risen.graph.value(risen.graph.nodes.back().inputs[2]);
  for (int64_t i = 0; i < bias.constant->count(); ++i) bias.constant->set(i, bias.constant->at(i) + 100);
  const auto x = units_of(here), y = units_of(risen);
  ASSERT_FALSE(x.empty());
  ASSERT_EQ(x.size(), y.size());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_TRUE(at::allclose(x[i], y[i], 1e-3)) << i;
}

TEST(Trainer, RefusesWhatIsNoCheckpoint) {
  const std::string path = testing::TempDir() + "pith_trainer_damaged";
  const auto t = trainer(small_options(4));
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
  EXPECT_FALSE(Trainer::create(g, start_model(g, false, 1), small_samples(4), small_options(0)).ok());
  EXPECT_FALSE(Trainer::create(g, start_model(g, false, 1), small_samples(0), small_options(4)).ok());
}

TEST(Trainer, ComputesOnlyWhereThereIsSuchADevice) {
  const ir::Graph g = small_network();
  const auto with = [&](const std::string& device) {
    TrainOptions options = small_options(4);
    options.device = device;
    return Trainer::create(g, start_model(g, false, 1), small_samples(4), options).ok();
  };
  EXPECT_TRUE(with("cpu"));
  EXPECT_EQ(with("cuda"), at::hasCUDA());
  EXPECT_FALSE(with("gpu"));
  EXPECT_FALSE(with("meta"));
  EXPECT_TRUE(with("cpu"));
}

}  // namespace
}  // namespace pith::train
