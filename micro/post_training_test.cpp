// Compression without retraining: coarser where it matters less, errors made up for, means kept.
#include "micro/post_training.h"

#include "ir/test_graph.h"
#include "micro/quantize.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Op;
using ir::Tensor;

// Convolution, depthwise convolution, convolution, with ReLU between; inputs whose channels resemble each other.
struct Net {
  Graph g;
  std::vector<std::vector<Tensor>> samples;
};

ir::ValueId add(Graph& g, Random& random, ir::ValueId x, ir::Shape w, int64_t group, bool relu) {
  ir::Node n;
  n.op = Op::kConv;
  n.name = "layer" + std::to_string(g.nodes.size());
  n.attributes = {{"group", group}, {"pads", ir::Ints{w[2] / 2, w[3] / 2, w[2] / 2, w[3] / 2}}};
  n.inputs = {x, g.add_constant("w" + std::to_string(g.nodes.size()), ir::random_f32(random, w)), g.add_constant("b" + std::to_string(g.nodes.size()), ir::random_f32(random, {w[0]}))};
  if (relu) n.activation.function = numerics::Unary::kRelu;
  ir::Value v;
  v.name = n.name + ".y";
  n.outputs = {g.add_value(v)};
  g.nodes.push_back(n);
  return n.outputs[0];
}

Net net() {
  Net made;
  Random random(ir::test_seed());
  ir::Value x;
  x.name = "x", x.shape = {1, 4, 8, 8};
  made.g.inputs = {made.g.add_value(x)};
  ir::ValueId y = add(made.g, random, made.g.inputs[0], {12, 4, 3, 3}, 1, true);
  y = add(made.g, random, y, {12, 1, 3, 3}, 12, true);
  made.g.outputs = {add(made.g, random, y, {6, 12, 1, 1}, 1, false)};
  EXPECT_TRUE(ir::infer_shapes(made.g).ok());
  for (int i = 0; i < 24; ++i) {
    Tensor t = ir::random_f32(random, x.shape);
    auto values = t.mut<float>();
    for (size_t k = 64; k < values.size(); ++k) values[k] = 0.3f * values[k] + 0.7f * values[k - 64] + 0.5f;
    made.samples.push_back({t});
  }
  return made;
}

double error_of(const Net& n, const Graph& student) {
  double error = 0, power = 0;
  for (const auto& s : n.samples) {
    const auto a = ir::interpret(n.g, s), b = ir::interpret(student, s);
    for (int64_t i = 0; i < a->at(0).count(); ++i) {
      error += std::pow(a->at(0).at(i) - b->at(0).at(i), 2);
      power += std::pow(a->at(0).at(i), 2);
    }
  }
  return error / power;
}

std::map<std::string, int> levels_for(const LevelTable& t, double bytes, double* loss = nullptr) {
  const auto chosen = allocate(t.units, {bytes, -1, -1});
  EXPECT_TRUE(chosen.ok());
  std::map<std::string, int> levels;
  for (size_t u = 0; u < t.units.size(); ++u) levels[t.units[u].name] = t.levels[u][chosen->option[u]];
  if (loss) *loss = chosen->loss;
  return levels;
}

TEST(PostTraining, TheTableFallsWithThePrice) {
  const Net n = net();
  const auto prepared = prepare_post_training(n.g);
  const auto table = level_table(*prepared, n.samples, {}, {});
  ASSERT_TRUE(table.ok());
  ASSERT_EQ(table->units.size(), 3u);
  for (const Unit& u : table->units) {
    for (size_t i = 1; i < u.options.size(); ++i) EXPECT_LE(u.options[i].spent.bytes, u.options[i - 1].spent.bytes * 1.02 + 1) << u.name;
    EXPECT_GT(u.options.back().loss, 4 * u.options.front().loss);
  }
}

TEST(PostTraining, FewerBytesCostMoreAndCompensationPays) {
  const Net n = net();
  const auto prepared = prepare_post_training(n.g);
  const auto table = level_table(*prepared, n.samples, {}, {});
  ASSERT_TRUE(table.ok());
  double before = 0;
  for (double bytes : {500.0, 300.0, 180.0}) {
    const auto levels = levels_for(*table, bytes);
    const auto with = round_post_training(*prepared, n.samples, table->importance, levels, {});
    PostTrainingOptions plain;
    plain.compensate = false;
    const auto without = round_post_training(*prepared, n.samples, table->importance, levels, plain);
    ASSERT_TRUE(with.ok() && without.ok());
    const double error = error_of(n, with->graph);
    EXPECT_LT(error, error_of(n, without->graph) * 1.1);
    EXPECT_GT(error, before);
    EXPECT_LT(error, 0.2);
    before = error;
    double bits = 0;
    for (const RoundedLayer& l : with->layers) bits += l.bits;
    EXPECT_NEAR(bits / 8, bytes, 0.2 * bytes);
  }
}

// At the same prices, paths lose less of what a bit is worth, and what is written follows them.
TEST(PostTraining, PathsAreTakenWhereTheyPay) {
  const Net n = net();
  const auto prepared = prepare_post_training(n.g);
  const auto table = level_table(*prepared, n.samples, {}, {});
  const auto levels = levels_for(*table, 300);
  PostTrainingOptions grids;
  grids.may_be = {false, false};
  const auto paths = round_post_training(*prepared, n.samples, table->importance, levels, {}), even = round_post_training(*prepared, n.samples, table->importance, levels, grids);
  ASSERT_TRUE(paths.ok() && even.ok());
  double bargain = 0, bits = 0;
  int on_paths = 0;
  for (size_t i = 0; i < even->layers.size(); ++i) {
    const RoundedLayer &a = paths->layers[i], &b = even->layers[i];
    const double price = 0.7 * std::exp2(0.5 * b.level);
    bargain += a.bits + a.loss / price - b.bits - b.loss / price;
    bits += b.bits;
    on_paths += paths->codes.at(a.name) != even->codes.at(a.name);
  }
  EXPECT_LT(bargain, -0.02 * bits);
  EXPECT_GE(on_paths, 2);
}

TEST(PostTraining, QuantiseKeepsTheGrids) {
  const Net n = net();
  const auto prepared = prepare_post_training(n.g);
  const auto table = level_table(*prepared, n.samples, {}, {});
  const auto rounded = round_post_training(*prepared, n.samples, table->importance, levels_for(*table, 400), {});
  ASSERT_TRUE(rounded.ok());
  QuantizeOptions o;
  o.equalize = o.correct_bias = o.round_by_covariance = false;
  o.weight_codes = rounded->codes;
  const auto q = quantize(rounded->graph, n.samples, o);
  ASSERT_TRUE(q.ok());
  int found = 0;
  for (const ir::Value& v : q->values) {
    const auto real = std::find_if(rounded->graph.values.begin(), rounded->graph.values.end(), [&](const ir::Value& r) { return r.name == v.name && rounded->codes.count(v.name); });
    if (real == rounded->graph.values.end() || !v.constant) continue;
    ++found;
    ir::expect_near(ir::dequantized(v, *v.constant), *real->constant, 1e-6);
  }
  EXPECT_EQ(found, 3);
}

TEST(PostTraining, GradientsMoveBitsToWhereTheyMatter) {
  const Net n = net();
  const auto prepared = prepare_post_training(n.g);
  ir::SquaredGradients gradients;
  for (const ir::Value& v : prepared->values) {
    if (!v.constant || v.shape.size() < 2) continue;
    Tensor t(ir::DType::kF32, v.shape);
    for (float& x : t.mut<float>()) x = v.name == "w0" ? 1.0f : 1e-4f;
    gradients[v.name] = t;
  }
  const auto equal = level_table(*prepared, n.samples, {}, {}), told = level_table(*prepared, n.samples, gradients, {});
  ASSERT_TRUE(equal.ok() && told.ok());
  const auto bits_of_first = [&](const LevelTable& t) {
    const auto r = round_post_training(*prepared, n.samples, t.importance, levels_for(t, 300), {});
    EXPECT_TRUE(r.ok()) << r.error().message;
    return r->layers[0].bits;
  };
  EXPECT_GT(bits_of_first(*told), 1.15 * bits_of_first(*equal));
}

TEST(PostTraining, ANetworkWithoutProductsIsRefused) {
  Random random(1);
  const Graph g = ir::one_node(Op::kRelu, {ir::random_f32(random, {1, 4})});
  const auto table = level_table(g, {{ir::random_f32(random, {1, 4})}}, {}, {});
  ASSERT_FALSE(table.ok());
  EXPECT_NE(table.error().message.find("no product"), std::string::npos);
}

}  // namespace
}  // namespace pith
