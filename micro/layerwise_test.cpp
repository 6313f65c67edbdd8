// Factors of inverses, sensitivities, and whole networks rounded layer after layer: a price buys what was asked for, and
// knowing what products read is worth more than rounding to nearest.
#include "micro/layerwise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "coding/encode/weights.h"
#include "ir/interpret.h"
#include "micro/round.h"
#include "numerics/scale.h"

namespace pith {
namespace {

using ir::DType;
using ir::Graph;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

TEST(Factor, UTransposedTimesUIsTheInverse) {
  Random random(3);
  const int64_t n = 9;
  std::vector<double> a(n * n), h(n * n, 0.0);
  for (double& x : a) x = random.normal();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t k = 0; k < n; ++k) h[i * n + j] += a[k * n + i] * a[k * n + j];
    }
    h[i * n + i] += 0.1;
  }
  const auto u = feedback_factor(h, n);
  ASSERT_EQ(u.size(), static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double product = 0;  // (U' U H)[i][j]
      for (int64_t k = 0; k < n; ++k) {
        for (int64_t m = 0; m < n; ++m) product += u[k * n + i] * u[k * n + m] * h[m * n + j];
      }
      EXPECT_NEAR(product, i == j ? 1 : 0, 1e-8);
      EXPECT_TRUE(j >= i || u[i * n + j] == 0);
    }
  }
}

TEST(Factor, RefusesWhatIsNotPositiveDefinite) {
  EXPECT_TRUE(feedback_factor(std::vector<double>{1, 2, 2, 1}, 2).empty());
  EXPECT_TRUE(feedback_factor(std::vector<double>{0}, 1).empty());
}

// words -> product -> Gelu -> product -> pooled vector, with words that come in two kinds: often and seldom.
struct Network {
  Graph graph;
  std::vector<std::vector<Tensor>> samples, others;
  std::vector<double> counts;
};

Tensor normal(Random& random, ir::Shape shape, double size) {
  Tensor t(DType::kF32, std::move(shape));
  for (float& x : t.mut<float>()) x = static_cast<float>(size * random.normal());
  return t;
}

Network network() {
  constexpr int64_t kWords = 40, kWidth = 24, kHidden = 48, kLength = 16;
  Random random(5);
  Network net;
  Graph& g = net.graph;
  ir::Value ids;
  ids.name = "ids";
  ids.dtype = DType::kI64;
  ids.shape = {1, kLength};
  const ValueId input = g.add_value(ids);
  g.inputs = {input};
  const auto node = [&](Op op, const char* name, std::vector<ValueId> inputs, ir::Shape shape, std::map<std::string, ir::Attribute> attributes = {}) {
    ir::Value v;
    v.name = name;
    v.shape = std::move(shape);
    ir::Node n;
    n.op = op;
    n.name = name;
    n.inputs = std::move(inputs);
    n.attributes = std::move(attributes);
    n.outputs = {g.add_value(std::move(v))};
    g.nodes.push_back(n);
    return n.outputs[0];
  };
  const ValueId table = g.add_constant("table", normal(random, {kWords, kWidth}, 1)), up = g.add_constant("up", normal(random, {kWidth, kHidden}, 0.2)),
                bias = g.add_constant("bias", normal(random, {kHidden}, 0.2)), down = g.add_constant("down", normal(random, {kHidden, kWidth}, 0.2));
  const ValueId words = node(Op::kGather, "words", {table, input}, {1, kLength, kWidth}, {{"axis", int64_t{0}}});
  const ValueId hidden = node(Op::kGelu, "gelu", {node(Op::kMatMul, "up.y", {words, up, bias}, {1, kLength, kHidden})}, {1, kLength, kHidden});
  g.outputs = {node(Op::kMatMul, "down.y", {hidden, down}, {1, kLength, kWidth})};
  net.counts.assign(kWords, 0.0);
  for (int s = 0; s < 96; ++s) {
    Tensor t(DType::kI64, {1, kLength});
    for (int64_t i = 0; i < kLength; ++i) {
      const int64_t word = random.uniform() < 0.9 ? random.integer(0, 9) : random.integer(10, kWords - 1);
      t.set(i, static_cast<double>(word));
      net.counts[static_cast<size_t>(word)] += 1;
    }
    (s < 64 ? net.samples : net.others).push_back({t});
  }
  return net;
}

double error_of(const Graph& a, const Graph& b, const std::vector<std::vector<Tensor>>& samples) {
  double error = 0, power = 0;
  for (const auto& s : samples) {
    const auto x = ir::interpret(a, s), y = ir::interpret(b, s);
    if (!x.ok() || !y.ok()) return 1e9;
    for (int64_t i = 0; i < (*x)[0].count(); ++i) {
      error += ((*x)[0].at(i) - (*y)[0].at(i)) * ((*x)[0].at(i) - (*y)[0].at(i));
      power += (*x)[0].at(i) * (*x)[0].at(i);
    }
  }
  return error / power;
}

TEST(Layerwise, TheLengthIsNearWhatWasAskedFor) {
  const Network net = network();
  double previous = 0;
  for (double bits : {5.0, 3.0, 1.5}) {
    LayerwiseOptions options;
    options.bits_per_weight = bits;
    options.row_counts = net.counts;
    const auto rounded = round_layerwise(net.graph, net.samples, options);
    ASSERT_TRUE(rounded.ok());
    EXPECT_EQ(rounded->weights, 40 * 24 + 2 * 24 * 48);
    EXPECT_NEAR(rounded->bits / rounded->weights, bits, 0.08 * bits);
    const double error = error_of(net.graph, rounded->graph, net.others);
    EXPECT_GT(error, previous);
    EXPECT_LT(error, 8 * std::exp2(-2 * bits));
    previous = error;
  }
}

TEST(Layerwise, AStepReachesTheLargestWeight) {  // of 8-bit integers, however fine a grid its price would buy
  Network net = network();
  for (ir::Value& v : net.graph.values) {
    if (v.name == "up") v.constant->mut<float>()[5] = 12;  // sixty deviations
    if (v.name == "table") v.constant->mut<float>()[7] = -40;
  }
  LayerwiseOptions options;
  options.bits_per_weight = 7;
  options.row_counts = net.counts;
  const auto rounded = round_layerwise(net.graph, net.samples, options);
  ASSERT_TRUE(rounded.ok());
  for (size_t i = 0; i < net.graph.values.size(); ++i) {
    const ir::Value &before = net.graph.values[i], &after = rounded->graph.values[i];
    if (before.name != "up" && before.name != "table") continue;
    const int64_t at = before.name == "up" ? 5 : 7;
    EXPECT_NEAR(after.constant->at(at) / before.constant->at(at), 1, 0.02) << before.name;
  }
}

// Rows of outputs, in steps.
std::vector<int32_t> integers_of(const ir::Value& v, const std::vector<int16_t>& codes, bool transposed) {
  const int64_t a = v.shape[0], b = v.shape[1];
  std::vector<int32_t> q(static_cast<size_t>(a * b));
  for (int64_t i = 0; i < a * b; ++i) {
    const int64_t to = transposed ? i : i % b * a + i / b;
    q[static_cast<size_t>(to)] = static_cast<int32_t>(std::lround(v.constant->at(i) / numerics::scale_value(codes[codes.size() == 1 ? 0 : static_cast<size_t>(i / b)])));
  }
  return q;
}

TEST(Layerwise, PathsAreTakenWhereTheyPay) {
  const Network net = network();
  for (double bits : {4.0, 2.5}) {
    LayerwiseOptions options;
    options.bits_per_weight = bits;
    options.row_counts = net.counts;
    const auto paths = round_layerwise(net.graph, net.samples, options);
    options.may_be = {false, false};
    const auto grids = round_layerwise(net.graph, net.samples, options);
    ASSERT_TRUE(paths.ok() && grids.ok());
    const auto at_equal_length = [&](const Layerwise& r) { return error_of(net.graph, r.graph, net.others) * std::exp2(2 * r.bits / r.weights); };
    EXPECT_LT(at_equal_length(*paths), 0.9 * at_equal_length(*grids)) << bits;
    for (const char* name : {"table", "up", "down"}) {
      for (const ir::Value& v : paths->graph.values) {
        if (v.name != name) continue;
        const std::vector<int32_t> q = integers_of(v, paths->weight_codes.at(name), v.name == "table");
        EXPECT_FALSE(coding::trellis_rows(q, v.shape[v.name == "table" ? 1 : 0]).empty()) << name << " follows no path at " << bits;
      }
    }
  }
}

TEST(Layerwise, WeightsLieOnTheirGrids) {
  const Network net = network();
  LayerwiseOptions options;
  options.row_counts = net.counts;
  const auto rounded = round_layerwise(net.graph, net.samples, options);
  ASSERT_TRUE(rounded.ok());
  for (const ir::Value& v : rounded->graph.values) {
    const auto codes = rounded->weight_codes.find(v.name);
    if (codes == rounded->weight_codes.end()) continue;
    for (int64_t i = 0; i < v.constant->count(); ++i) {
      const size_t row = codes->second.size() == 1 ? 0 : static_cast<size_t>(i / v.shape[1]);
      const double q = v.constant->at(i) / numerics::scale_value(codes->second[row]);
      EXPECT_NEAR(q, std::round(q), 1e-4);
    }
  }
  ASSERT_EQ(rounded->weight_codes.count("table"), 1u);
  const auto& codes = rounded->weight_codes.at("table");
  EXPECT_LT(codes[0], codes[39]) << "seldom read rows have the coarser step";
}

TEST(Layerwise, RefusesNetworksWithoutProducts) {
  Graph g;
  ir::Value x;
  x.name = "x";
  x.shape = {1, 4};
  const ValueId in = g.add_value(x);
  ir::Node n;
  n.op = Op::kRelu;
  n.inputs = {in};
  n.outputs = {g.add_value(x)};
  g.nodes = {n};
  g.inputs = {in};
  g.outputs = n.outputs;
  EXPECT_FALSE(round_layerwise(g, {{Tensor(DType::kF32, {1, 4})}}, {}).ok());
  EXPECT_FALSE(round_layerwise(network().graph, {}, {}).ok());
}

}  // namespace
}  // namespace pith
