// Keys without their means and of equal spread: the network answers as before, and 4 bits hold them better.
#include "micro/center_keys.h"

#include "ir/test_graph.h"
#include "numerics/cache_rows.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

constexpr int64_t kHeads = 2, kShared = 2, kDepth = 8, kSlots = 12, kWidth = 10;

ValueId input(Graph& g, const char* name, ir::Shape shape, ir::DType dtype = ir::DType::kF32) {
  ir::Value v;
  v.name = name;
  v.shape = std::move(shape);
  v.dtype = dtype;
  g.inputs.push_back(g.add_value(std::move(v)));
  return g.inputs.back();
}

// One attention over remembered keys and values. Keys have means up to 20 times their spread, and channels of different spread.
Graph step(Random& random, double softcap = 0) {
  Graph g;
  const ValueId x = input(g, "x", {1, kWidth}), slot = input(g, "slot", {1}, ir::DType::kI64);
  const ValueId keys = input(g, "keys", {1, kHeads, kSlots, kDepth}), values = input(g, "values", {1, kHeads, kSlots, kDepth});
  std::vector<int64_t> slots(static_cast<size_t>(kSlots));
  for (size_t i = 0; i < slots.size(); ++i) slots[i] = static_cast<int64_t>(i);
  const auto heads = [&](const char* name, int64_t count, double mean, double skew) {
    Tensor w = ir::random_f32(random, {kWidth, count * kDepth}), b = ir::random_f32(random, {count * kDepth}, -mean, mean);
    for (int64_t i = 0; i < w.count(); ++i) w.set(i, w.at(i) * std::exp2(skew * static_cast<double>(i % kDepth)));
    const ValueId y = ir::append_node(g, Op::kMatMul, {x, g.add_constant(std::string(name) + ".w", w), g.add_constant(std::string(name) + ".b", b)});
    return ir::append_node(g, Op::kReshape, {y}, {{"shape", std::vector<int64_t>{1, count, 1, kDepth}}});
  };
  const ValueId mask = ir::append_node(g, Op::kEqual, {g.add_constant("slots", Tensor::i64({1, 1, kSlots, 1}, slots)), slot});
  const ValueId query = heads("q", kHeads * kShared, 1, 0);
  const ValueId k = ir::append_node(g, Op::kWhere, {mask, heads("k", kHeads, 20, -0.4), keys}), v = ir::append_node(g, Op::kWhere, {mask, heads("v", kHeads, 1, 0), values});
  std::map<std::string, ir::Attribute> attributes;
  if (softcap > 0) attributes["softcap"] = softcap;
  const ValueId y = ir::append_node(g, Op::kAttention, {query, k, v}, attributes);
  g.outputs = {y, k, v};
  g.state = {{keys, k}, {values, v}};
  return g;
}

// What the graph answers with all slots taken, one after the other; `states` are those before each step.
std::vector<Tensor> answers(const Graph& g, const std::vector<Tensor>& xs, std::vector<std::vector<Tensor>>* states = nullptr) {
  Tensor keys(ir::DType::kF32, {1, kHeads, kSlots, kDepth}), values = keys;
  std::vector<Tensor> found;
  for (size_t i = 0; i < xs.size(); ++i) {
    const std::vector<Tensor> fed = {xs[i], Tensor::i64({1}, {static_cast<int64_t>(i) % kSlots}), keys, values};
    if (states != nullptr) states->push_back(fed);
    const auto y = ir::interpret(g, fed);
    EXPECT_TRUE(y.ok()) << y.error().message;
    keys = y.value()[1], values = y.value()[2];
    if (i >= static_cast<size_t>(kSlots)) found.push_back(y.value()[0]);
  }
  return found;
}

std::vector<Tensor> inputs(Random& random) {
  std::vector<Tensor> xs;
  for (int i = 0; i < 3 * kSlots; ++i) xs.push_back(ir::random_f32(random, {1, kWidth}));
  return xs;
}

// The squared error that 4 bits leave, of all rows, as a share of the keys' spread.
double coding_error(Tensor& keys) {
  double error = 0, power = 0;
  const auto x = keys.as<float>();
  std::vector<double> mean(static_cast<size_t>(kHeads * kDepth), 0.0);
  for (size_t i = 0; i < x.size(); ++i) mean[i / static_cast<size_t>(kSlots * kDepth) * kDepth + i % kDepth] += x[i] / static_cast<double>(kSlots);
  for (size_t r = 0; r < x.size(); r += kDepth) {
    uint8_t row[numerics::cache_row_bytes(kDepth, 4)];
    float back[kDepth];
    numerics::encode_cache_row(x.data() + r, kDepth, 4, row);
    numerics::decode_cache_row(row, kDepth, 4, back);
    for (size_t d = 0; d < kDepth; ++d) {
      error += std::pow(back[d] - static_cast<double>(x[r + d]), 2);
      power += std::pow(static_cast<double>(x[r + d]) - mean[r / static_cast<size_t>(kSlots * kDepth) * kDepth + d], 2);
    }
  }
  return error / power;
}

TEST(CenterKeys, LeavesTheNetworkAsItWas) {
  Random random(ir::test_seed() + 70);
  const Graph g = step(random);
  const std::vector<Tensor> xs = inputs(random);
  std::vector<std::vector<Tensor>> samples;
  const std::vector<Tensor> want = answers(g, xs, &samples);
  Tensor before = samples.back()[2];
  Graph centered = g;
  const auto changed = center_keys(centered, samples);
  ASSERT_TRUE(changed.ok()) << changed.error().message;
  EXPECT_EQ(*changed, 1);
  const std::vector<Tensor> got = answers(centered, xs);
  for (size_t i = 0; i < want.size(); ++i) {
    for (int64_t k = 0; k < want[i].count(); ++k) ASSERT_NEAR(want[i].at(k), got[i].at(k), 2e-4) << "PITH_SEED=" << ir::test_seed();
  }
  Tensor& after = samples.back()[2];
  EXPECT_LT(coding_error(after), 0.1 * coding_error(before)) << "PITH_SEED=" << ir::test_seed();
  const auto y = ir::interpret(centered, samples.back());  // the samples' states are the changed graph's
  ASSERT_TRUE(y.ok());
  for (int64_t k = 0; k < want.back().count(); ++k) EXPECT_NEAR(want.back().at(k), y.value()[0].at(k), 2e-4);
}

TEST(CenterKeys, WithoutSamplesOrWithCappedScoresNothingMoves) {
  Random random(ir::test_seed() + 71);
  const std::vector<Tensor> xs = inputs(random);
  Graph capped = step(random, 20.0);
  std::vector<std::vector<Tensor>> samples;
  answers(capped, xs, &samples);
  const auto none = center_keys(capped, samples);  // a cap sees what is added to all scores
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, 0);
  Graph g = step(random);
  const std::vector<Tensor> want = answers(g, xs);
  samples.clear();
  ASSERT_TRUE(center_keys(g, samples).ok());
  const std::vector<Tensor> got = answers(g, xs);
  for (int64_t k = 0; k < want.back().count(); ++k) EXPECT_NEAR(want.back().at(k), got.back().at(k), 1e-5);
}

}  // namespace
}  // namespace pith
