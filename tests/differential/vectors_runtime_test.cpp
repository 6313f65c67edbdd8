// A network that is rounded to vectors out of books, written with them and run by the runtime: the interpreter's answers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "compile/compile.h"
#include "ir/interpret.h"
#include "ir/side_by_side.h"
#include "ir/test_graph.h"
#include "micro/post_training.h"
#include "micro/quantize.h"
#include "runtime/include/pith/pith.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Op;
using ir::Tensor;

ir::ValueId convolution(Graph& g, Random& random, ir::ValueId x, ir::Shape w) {
  ir::Node n;
  n.op = Op::kConv;
  n.name = "layer" + std::to_string(g.nodes.size());
  n.attributes = {{"pads", ir::Ints{w[2] / 2, w[3] / 2, w[2] / 2, w[3] / 2}}};
  n.inputs = {x, g.add_constant("w" + std::to_string(g.nodes.size()), ir::random_f32(random, w)), g.add_constant("b" + std::to_string(g.nodes.size()), ir::random_f32(random, {w[0]}))};
  n.activation.function = numerics::Unary::kRelu;
  ir::Value v;
  v.name = n.name + ".y";
  n.outputs = {g.add_value(v)};
  g.nodes.push_back(n);
  return n.outputs[0];
}

std::vector<uint8_t> run(const std::vector<uint8_t>& file, pith_mode mode, const Tensor& input) {
  pith_sizes sizes;
  EXPECT_EQ(pith_probe(file.data(), file.size(), mode, 1, &sizes), PITH_OK) << pith_last_error().reason;
  const auto memory = [](size_t bytes) { return std::unique_ptr<uint8_t[], void (*)(void*)>(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)), std::free); };
  const auto m = memory(sizes.model_bytes), i = memory(sizes.instance_bytes);
  pith_model* model = nullptr;
  pith_instance* instance = nullptr;
  EXPECT_EQ(pith_load(file.data(), file.size(), mode, 1, m.get(), sizes.model_bytes, &model), PITH_OK);
  EXPECT_EQ(pith_instance_create(model, i.get(), sizes.instance_bytes, &instance), PITH_OK);
  EXPECT_EQ(pith_set_input_f32(instance, 0, input.as<float>().data(), input.as<float>().size()), PITH_OK);
  EXPECT_EQ(pith_run(instance), PITH_OK);
  pith_tensor t;
  pith_output(instance, 0, &t);
  std::vector<uint8_t> codes(t.count);
  EXPECT_EQ(pith_get_output_u8(instance, 0, codes.data(), codes.size()), PITH_OK);
  return codes;
}

TEST(Vectors, TheRuntimeAnswersAsTheInterpreter) {
  Random random(ir::test_seed());
  Graph g;
  ir::Value x;
  x.name = "x", x.shape = {1, 17, 6, 6};  // rows that end in the middle of a vector
  g.inputs = {g.add_value(x)};
  ir::ValueId y = convolution(g, random, g.inputs[0], {48, 17, 3, 3});
  y = convolution(g, random, y, {40, 48, 3, 3});
  g.outputs = {convolution(g, random, y, {32, 40, 1, 1})};
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 24; ++i) samples.push_back({ir::random_f32(random, x.shape)});
  const auto prepared = prepare_post_training(g);
  ASSERT_TRUE(prepared.ok());
  const auto table = level_table(*prepared, samples, {}, {});
  ASSERT_TRUE(table.ok());
  std::map<std::string, int> levels;
  for (size_t u = 0; u < table->units.size(); ++u) levels[table->units[u].name] = table->levels[u][table->levels[u].size() * 2 / 3];
  PostTrainingOptions how;
  how.may_be = {false, false, true};
  const auto rounded = round_post_training(*prepared, samples, table->importance, levels, how);
  ASSERT_TRUE(rounded.ok()) << rounded.error().message;
  QuantizeOptions options;
  options.equalize = options.correct_bias = options.round_by_covariance = false;
  options.weight_codes = rounded->codes;
  options.integer_outputs = true;
  const auto quantized = quantize(rounded->graph, samples, options);
  ASSERT_TRUE(quantized.ok()) << quantized.error().message;
  const auto program = compile(*quantized, {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  WrittenSizes sizes;
  const auto file = write_program(*program, CodecChoice::kFastest, &sizes);
  ASSERT_TRUE(file.ok());
  double weights = 0, bits = 0;  // of the largest: no more than an index of ten bits for each four or two
  for (size_t k = 0; k < program->constants.size(); ++k) {
    if (program->constants[k].dtype != PITH_I8 || static_cast<double>(program->constants[k].integers.size()) < weights) continue;
    weights = static_cast<double>(program->constants[k].integers.size());
    bits = 8.0 * static_cast<double>(sizes.constants[k]);
    EXPECT_GT(*std::max_element(program->constants[k].integers.begin(), program->constants[k].integers.end()), 20) << "not a grid of so few bits";
  }
  EXPECT_LT(bits, 3.5 * weights);
  for (size_t s = 0; s < 3; ++s) {
    const auto expected = ir::interpret(*quantized, samples[s]);
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    const auto codes = (*expected)[0].as<uint8_t>();
    for (const pith_mode mode : {PITH_MODE_SMALLEST, PITH_MODE_BALANCED, PITH_MODE_FASTEST}) {
      EXPECT_EQ(run(*file, mode, samples[s][0]), std::vector<uint8_t>(codes.begin(), codes.end())) << "mode " << mode;
    }
  }
}

}  // namespace
}  // namespace pith
