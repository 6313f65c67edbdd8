// Networks of random structure through the whole chain, executed twice: by the reference interpreter on the quantised
// Graph and by the runtime on the written file, for every instruction set and memory mode. Integers must agree bit for
// bit; the interpreter and the runtime share only numerics/.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "base/random.h"
#include "compile/compile.h"
#include "ir/interpret.h"
#include "micro/quantize.h"
#include "pith/pith.h"

namespace pith {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 11;
}

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

class Builder {
 public:
  explicit Builder(uint64_t s) : random(s) {}

  ValueId input(ir::Shape shape) {
    ir::Value v;
    v.name = "input";
    v.shape = std::move(shape);
    graph.inputs.push_back(graph.add_value(std::move(v)));
    return graph.inputs[0];
  }
  ValueId node(Op op, std::vector<ValueId> inputs, std::map<std::string, ir::Attribute> attributes = {}, ir::Activation activation = {}) {
    Node n;
    n.op = op;
    n.name = "node" + std::to_string(graph.nodes.size());
    n.inputs = std::move(inputs);
    n.attributes = std::move(attributes);
    n.activation = activation;
    ir::Value v;
    v.name = n.name + ".out";
    n.outputs = {graph.add_value(std::move(v))};
    graph.nodes.push_back(n);
    EXPECT_TRUE(ir::infer_shapes(graph, graph.nodes.back()).ok()) << ir::op_name(op);
    return n.outputs[0];
  }
  ValueId constant(ir::Shape shape, double width) {
    Tensor t(ir::DType::kF32, std::move(shape));
    for (float& x : t.mut<float>()) x = static_cast<float>(random.normal() * width);
    return graph.add_constant("constant" + std::to_string(graph.values.size()), t);
  }
  ir::Activation some_activation() {
    using numerics::Unary;
    switch (random.integer(0, 4)) {
      case 0: return {};
      case 1: return {Unary::kRelu, 0, 0, {}};
      case 2: return {Unary::kClip, 0, 6, {}};
      case 3: return {Unary::kSilu, 1, 0, {}};
      default: return {Unary::kLeakyRelu, 0.1, 0, {}};
    }
  }
  ValueId conv(ValueId x, int64_t outputs, int64_t kernel, int64_t stride, bool depthwise) {
    const int64_t channels = graph.value(x).shape[1], pad = random.integer(0, kernel / 2);
    const int64_t groups = depthwise ? channels : 1;
    if (depthwise) outputs = channels;
    const double width = 1.5 / std::sqrt(static_cast<double>(channels / groups * kernel * kernel));
    return node(Op::kConv, {x, constant({outputs, channels / groups, kernel, kernel}, width), constant({outputs}, 0.3)},
                {{"group", groups}, {"strides", std::vector<int64_t>{stride, stride}}, {"pads", std::vector<int64_t>{pad, pad, pad, pad}}}, some_activation());
  }

  Random random;
  Graph graph;
};

// Ten to fifteen random layers and a classifier.
Graph random_network(uint64_t s) {
  Builder b(s);
  ValueId x = b.input({1, b.random.integer(1, 4), b.random.integer(12, 24), b.random.integer(12, 24)});
  x = b.conv(x, b.random.integer(4, 40), 3, 1, false);
  for (int64_t n = b.random.integer(6, 10); n > 0; --n) {
    const ir::Shape s4 = b.graph.value(x).shape;
    const bool room = s4[2] >= 6 && s4[3] >= 6;
    switch (b.random.integer(0, 9)) {
      case 0: x = b.conv(x, b.random.integer(3, 50), 1, 1, false); break;
      case 1: if (room) x = b.conv(x, b.random.integer(3, 50), 3, b.random.integer(1, 2), false); break;
      case 2: if (room) x = b.conv(x, 0, 3, b.random.integer(1, 2), true); break;
      case 3: x = b.node(Op::kAdd, {x, b.conv(x, s4[1], 1, 1, false)}, {}, b.some_activation()); break;
      case 4: x = b.node(Op::kConcat, {x, b.conv(x, b.random.integer(1, 20), 1, 1, false)}, {{"axis", int64_t{1}}}); break;
      case 5: if (room) x = b.node(Op::kMaxPool, {x}, {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}}); break;
      case 6: if (room) x = b.node(Op::kAveragePool, {x}, {{"kernel_shape", std::vector<int64_t>{3, 3}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}}); break;
      case 7: x = b.node(Op::kMul, {x, b.node(Op::kSigmoid, {b.conv(b.node(Op::kGlobalAveragePool, {x}), s4[1], 1, 1, false)})}); break;
      case 8: if (s4[2] < 20) x = b.node(Op::kResize, {x}, {{"scales", std::vector<double>{1, 1, 2, 2}}, {"mode", std::string("nearest")}, {"coordinate_transformation_mode", std::string("asymmetric")}, {"nearest_mode", std::string("floor")}}); break;
      default: x = b.node(Op::kHardSwish, {x}); break;
    }
  }
  x = b.conv(x, 40, 1, 1, false);
  const int64_t size = b.graph.value(x).shape[1];
  x = b.node(Op::kGlobalAveragePool, {x});
  x = b.node(Op::kReshape, {x}, {{"shape", std::vector<int64_t>{1, size}}});
  x = b.node(Op::kGemm, {x, b.constant({size, 5000}, 0.2), b.constant({5000}, 0.1)});  // large enough to stay 8-bit
  b.graph.outputs = {x};
  return b.graph;
}

Tensor random_input(const Graph& g, Random& random) {
  Tensor t(ir::DType::kF32, g.value(g.inputs[0]).shape);
  for (float& v : t.mut<float>()) v = static_cast<float>(random.normal());
  return t;
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;
Memory memory(size_t bytes) { return Memory(std::aligned_alloc(64, (bytes + 63) / 64 * 64)); }

std::vector<uint8_t> run_file(const std::vector<uint8_t>& file, pith_mode mode, const Tensor& input) {
  pith_sizes sizes;
  EXPECT_EQ(pith_probe(file.data(), file.size(), mode, 1, &sizes), PITH_OK) << pith_last_error().reason;
  const Memory m = memory(sizes.model_bytes), i = memory(sizes.instance_bytes);
  pith_model* model = nullptr;
  pith_instance* instance = nullptr;
  EXPECT_EQ(pith_load(file.data(), file.size(), mode, 1, m.get(), sizes.model_bytes, &model), PITH_OK) << pith_last_error().reason;
  EXPECT_EQ(pith_instance_create(model, i.get(), sizes.instance_bytes, &instance), PITH_OK);
  EXPECT_EQ(pith_set_input_f32(instance, 0, input.as<float>().data(), input.as<float>().size()), PITH_OK);
  EXPECT_EQ(pith_run(instance), PITH_OK) << pith_last_error().reason;
  pith_tensor t;
  pith_model_output(model, 0, &t);
  std::vector<uint8_t> codes(t.count);
  EXPECT_EQ(pith_get_output_u8(instance, 0, codes.data(), codes.size()), PITH_OK);
  return codes;
}

TEST(InterpreterAndRuntime, AgreeBitForBit) {
  for (uint64_t trial = 0; trial < 12; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    const Graph g = random_network(seed() * 1000 + trial);
    Random random(seed() + trial);
    std::vector<std::vector<Tensor>> samples;
    for (int i = 0; i < 4; ++i) samples.push_back({random_input(g, random)});
    QuantizeOptions options;
    options.weight_bits = static_cast<int>(random.integer(3, 8));
    const auto quantized = quantize(g, samples, options);
    ASSERT_TRUE(quantized.ok()) << quantized.error().message;
    const auto program = compile(*quantized, {});
    ASSERT_TRUE(program.ok()) << program.error().message;
    const auto file = write_program(*program, trial % 2 == 0 ? CodecChoice::kSmallest : CodecChoice::kFastest);
    ASSERT_TRUE(file.ok()) << file.error().message;
    const auto expected = ir::interpret(*quantized, samples[0]);
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    const auto codes = (*expected)[0].as<uint8_t>();
    for (int isa = 0; isa < PITH_ISA_COUNT; ++isa) {
      if (pith_set_isa(static_cast<pith_isa>(isa)) != PITH_OK) continue;
      for (const pith_mode mode : {PITH_MODE_SMALLEST, PITH_MODE_FASTEST}) {
        const std::vector<uint8_t> got = run_file(*file, mode, samples[0][0]);
        ASSERT_EQ(got.size(), codes.size());
        size_t different = 0;
        for (size_t i = 0; i < got.size(); ++i) different += got[i] != codes[i];
        EXPECT_EQ(different, 0u) << pith_isa_name(static_cast<pith_isa>(isa)) << " mode " << mode;
      }
    }
    pith_set_isa(PITH_ISA_BEST);
  }
}

}  // namespace
}  // namespace pith
