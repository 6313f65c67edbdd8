// The walk beside the original, and the moments of what rows read, against plain sums.
#include "ir/side_by_side.h"

#include "ir/test_graph.h"

namespace pith::ir {
namespace {

Graph two_convolutions(Random& random) {
  Graph g = one_node(Op::kConv, {random_f32(random, {1, 3, 6, 5}), random_f32(random, {4, 3, 3, 3}), random_f32(random, {4})}, {{"pads", Ints{1, 1, 1, 1}}}, 1, {1, 2});
  Node n;
  n.op = Op::kConv;
  n.name = "second";
  n.attributes = {{"group", int64_t{4}}};
  n.inputs = {g.nodes[0].outputs[0], g.add_constant("w2", random_f32(random, {4, 1, 2, 3}))};
  Value v;
  v.name = "y";
  n.outputs = {g.add_value(v)};
  g.nodes.push_back(n);
  g.outputs = n.outputs;
  EXPECT_TRUE(infer_shapes(g).ok());
  return g;
}

TEST(SideBySide, TheStudentReadsWhatItsEarlierLayersMake) {
  Random random(test_seed());
  const Graph g = two_convolutions(random);
  Graph student = g;
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 3; ++i) samples.push_back({random_f32(random, {1, 3, 6, 5})});
  const auto walked = walk_side_by_side(g, student, samples, [&](size_t k, const SideBySide& inputs) -> Result<void> {
    EXPECT_EQ(inputs.original.size(), 3u);
    if (k == 0) {
      expect_near(inputs.original[2], inputs.student[2], 0);
      for (float& w : student.value(student.nodes[0].inputs[1]).constant->mut<float>()) w *= 2;
      for (float& b : student.value(student.nodes[0].inputs[2]).constant->mut<float>()) b *= 2;
    } else {
      for (int64_t i = 0; i < inputs.original[1].count(); ++i) EXPECT_NEAR(inputs.student[1].at(i), 2 * inputs.original[1].at(i), 1e-4);
    }
    return {};
  });
  EXPECT_TRUE(walked.ok());
  EXPECT_NE(student.value(g.nodes[0].inputs[1]).constant->at(0), g.value(g.nodes[0].inputs[1]).constant->at(0));
}

TEST(SideBySide, MomentsAreThoseOfWhatARowReads) {
  Random random(test_seed() + 1);
  const Graph g = two_convolutions(random);
  Graph student = g;
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 4; ++i) samples.push_back({random_f32(random, {1, 3, 6, 5})});
  // E[(w . x)^2] - E[w . x]^2 = w' C w: the variance of the outputs without bias
  const auto walked = walk_side_by_side(g, student, samples, [&](size_t k, const SideBySide& inputs) -> Result<void> {
    const Node& n = g.nodes[k];
    const auto rows = product_rows(g, n);
    EXPECT_TRUE(rows);
    const auto m = read_moments(g, student, n, n, inputs, 1000, true);
    EXPECT_TRUE(m.ok());
    const Tensor& w = *g.value(n.inputs[1]).constant;
    for (int64_t o = 0; o < rows->outputs; ++o) {
      double sum = 0, squares = 0, count = 0;
      for (const Tensor& x : inputs.original) {
        const Tensor bias(DType::kF32, {4});
        std::vector<const Tensor*> operands{&x, &w};
        if (n.inputs.size() > 2) operands.push_back(&bias);
        const auto y = interpret_node(g, n, operands);
        const int64_t plane = y->at(0).count() / rows->outputs;
        for (int64_t i = 0; i < plane; ++i, ++count) {
          const double v = y->at(0).at(o * plane + i);
          sum += v, squares += v * v;
        }
      }
      EXPECT_EQ(m->count, count);
      double variance = 0, crossed = 0, mean = 0;
      const int64_t group = rows->group(o);
      for (int64_t i = 0; i < rows->width; ++i) {
        mean += w.at(rows->at(o, i)) * m->mean[static_cast<size_t>(group * rows->width + i)];
        for (int64_t j = 0; j < rows->width; ++j) {
          variance += w.at(rows->at(o, i)) * w.at(rows->at(o, j)) * m->covariance_of(group)[static_cast<size_t>(i * rows->width + j)];
          crossed += w.at(rows->at(o, i)) * w.at(rows->at(o, j)) * m->cross_of(group)[static_cast<size_t>(i * rows->width + j)];
        }
      }
      EXPECT_NEAR(mean, sum / count, 1e-4);
      EXPECT_NEAR(variance, squares / count - sum * sum / count / count, 1e-3);
      EXPECT_NEAR(crossed, variance, 1e-6);
    }
    return {};
  });
  EXPECT_TRUE(walked.ok());
}

TEST(SideBySide, RefusesGraphsOfOtherForm) {
  Random random(1);
  const Graph g = two_convolutions(random);
  Graph shorter = g;
  shorter.nodes.pop_back();
  EXPECT_FALSE(walk_side_by_side(g, shorter, {}, [](size_t, const SideBySide&) -> Result<void> { return {}; }).ok());
}

}  // namespace
}  // namespace pith::ir
