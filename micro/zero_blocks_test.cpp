// Blocks of weights that are zero (ir/blocks.h) are zero after everything that rounds, and only they are.
#include "ir/blocks.h"

#include "ir/test_graph.h"
#include "micro/layerwise.h"
#include "micro/post_training.h"
#include "micro/quantize.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Op;
using ir::Tensor;

constexpr int64_t kChannels = 32;

// Zero blocks of the weights of every node, one after the other.
std::vector<std::vector<uint8_t>> masks(const Graph& g) {
  std::vector<std::vector<uint8_t>> found;
  for (const ir::Node& n : g.nodes) {
    if (const auto rows = ir::product_rows(g, n)) found.push_back(ir::zero_block_mask(*g.value(n.inputs[1]).constant, *rows));
  }
  return found;
}

// Two products, every third of their blocks zero, on inputs that all resemble each other, so that any weight makes up for any.
struct Net {
  Graph g;
  std::vector<std::vector<Tensor>> samples;

  Net(const ir::Shape& input, const std::vector<ir::Shape>& weights) {
    Random random(ir::test_seed());
    ir::Value x;
    x.name = "x", x.shape = input;
    g.inputs = {g.add_value(x)};
    ir::ValueId last = g.inputs[0];
    for (const ir::Shape& shape : weights) {
      const std::string name = "w" + std::to_string(g.nodes.size());
      std::vector<ir::ValueId> inputs = {last, g.add_constant(name, ir::random_f32(random, shape)), g.add_constant(name + ".b", ir::random_f32(random, {kChannels}))};
      if (shape.size() == 4) {
        last = ir::append_results(g, Op::kConv, inputs, {{"pads", ir::Ints{shape[2] / 2, shape[3] / 2, shape[2] / 2, shape[3] / 2}}})[0];
      } else {
        last = ir::append_results(g, Op::kGemm, inputs, {{"transB", int64_t{1}}})[0];
      }
      Tensor& w = *g.value(inputs[1]).constant;
      const ir::Blocks blocks{*ir::product_rows(g, g.nodes.back())};
      for (int64_t b = 0; b < blocks.down() * blocks.across(); b += 3) {
        const auto outputs = blocks.outputs(b / blocks.across()), elements = blocks.elements(b % blocks.across());
        for (int64_t i = 0; i < outputs.count * elements.count; ++i) w.set(blocks.rows.at(outputs.first + i / elements.count, elements.first + i % elements.count), 0);
      }
    }
    g.outputs = {last};
    EXPECT_TRUE(ir::verify(g).ok());
    for (int i = 0; i < 64; ++i) {
      Tensor t = ir::random_f32(random, input);
      auto values = t.mut<float>();
      const auto common = static_cast<float>(random.normal());
      for (float& v : values) v = 0.4f * v + common;
      samples.push_back({t});
    }
  }
};

Net pictures() { return Net({1, kChannels, 6, 6}, {{kChannels, kChannels, 1, 1}, {kChannels, kChannels, 3, 3}}); }

TEST(ZeroBlocks, SurviveRoundingAtAPriceOfBits) {
  const Net n = pictures();
  const auto table = level_table(n.g, n.samples, {}, {});
  ASSERT_TRUE(table.ok());
  std::map<std::string, int> levels;
  for (size_t u = 0; u < table->units.size(); ++u) levels[table->units[u].name] = table->levels[u][table->levels[u].size() / 3];
  for (bool trellis : {false, true}) {
    PostTrainingOptions o;
    o.may_be = {trellis, trellis};
    const auto rounded = round_post_training(n.g, n.samples, table->importance, levels, o);
    ASSERT_TRUE(rounded.ok());
    EXPECT_EQ(masks(rounded->graph), masks(n.g));
  }
}

TEST(ZeroBlocks, SurviveBitsOfEqualLength) {
  const Net n = pictures();
  for (int bits : {8, 3}) {
    for (double rate_weight : {0.0, 4.0}) {
      QuantizeOptions o;
      o.weight_bits = bits, o.rate_weight = rate_weight;
      const auto quantized = quantize(n.g, n.samples, o);
      ASSERT_TRUE(quantized.ok());
      EXPECT_EQ(masks(*quantized), masks(n.g)) << bits << " bits";
    }
  }
}

TEST(ZeroBlocks, SurviveRoundingLayerByLayer) {
  const Net n({4, kChannels}, {{kChannels, kChannels}, {kChannels, kChannels}});
  LayerwiseOptions o;
  o.bits_per_weight = 3;
  const auto rounded = round_layerwise(n.g, n.samples, o);
  ASSERT_TRUE(rounded.ok());
  EXPECT_EQ(masks(rounded->graph), masks(n.g));
}

}  // namespace
}  // namespace pith
