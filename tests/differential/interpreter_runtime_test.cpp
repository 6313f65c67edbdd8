// Networks of random structure through the whole chain, executed twice: by the reference interpreter on the quantised
// Graph and by the runtime on the written file, for every instruction set and memory mode. Integers must agree bit for
// bit; the interpreter and the runtime share only numerics/. Before each run the arena is painted, in two colours: results
// must not depend on it, nothing beyond the arena may change, and what is touched must be what the plan says. Groups of
// layers chosen at random run in bands of rows, with the same results.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>

#include "base/random.h"
#include "coding/decode/levels.h"
#include "coding/encode/weights.h"
#include "compile/code_rows.h"
#include "compile/compile.h"
#include "compile/heads.h"
#include "compile/remake.h"
#include "compile/stream.h"
#include "ir/interpret.h"
#include "ir/test_graph.h"
#include "micro/quantize.h"
#include "numerics/scale.h"
#include "pith/pith.h"

namespace pith {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 11;
}

using ir::Graph;
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
  ValueId node(Op op, std::vector<ValueId> inputs, ir::Attributes attributes = {}, ir::Activation activation = {}) { return ir::append_node(graph, op, std::move(inputs), std::move(attributes), activation); }
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
  // What channels of coded rows look at, or nothing.
  std::vector<int64_t> some_lifting(int64_t channels) {
    std::vector<int64_t> lifting;
    const bool any = random.integer(0, 1) == 1;
    for (int64_t i = 0; any && i < 3 * channels; ++i) lifting.push_back(random.integer(0, i < channels ? std::min<int64_t>(i, 255) : i < 2 * channels ? 16 : 8));
    return lifting;
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

// The network that ends with a classifier.
Graph classified(Builder& b, ValueId x) {
  const int64_t size = b.graph.value(x).shape[1];
  x = b.node(Op::kGlobalAveragePool, {x});
  x = b.node(Op::kReshape, {x}, {{"shape", std::vector<int64_t>{1, size}}});
  x = b.node(Op::kGemm, {x, b.constant({size, 5000}, 0.2), b.constant({5000}, 0.1)});  // large enough to stay 8-bit
  b.graph.outputs = {x};
  return b.graph;
}

// Ten to fifteen random layers and a classifier. Channels are multiples of `step`; above 1 the input is 32 wide.
Graph random_network(uint64_t s, int64_t step = 1) {
  Builder b(s);
  const auto some = [&](int64_t low, int64_t high) { return (b.random.integer(low, high) + step - 1) / step * step; };
  const int64_t depth = b.random.integer(1, 4), rows = b.random.integer(12, 24);
  ValueId x = b.input({1, depth, rows, step > 1 ? 32 : b.random.integer(12, 24)});
  x = b.conv(x, some(4, 40), 3, 1, false);
  for (int64_t n = b.random.integer(6, 10); n > 0; --n) {
    const ir::Shape s4 = b.graph.value(x).shape;
    const bool room = s4[2] >= 6 && s4[3] >= 6;
    switch (b.random.integer(0, 10)) {
      case 0: x = b.conv(x, some(3, 50), 1, 1, false); break;
      case 1: if (room) x = b.conv(x, some(3, 50), 3, b.random.integer(1, 2), false); break;
      case 2: if (room) x = b.conv(x, 0, 3, b.random.integer(1, 2), true); break;
      case 3: x = b.node(Op::kAdd, {x, b.conv(x, s4[1], 1, 1, false)}, {}, b.some_activation()); break;
      case 4: x = b.node(Op::kConcat, {x, b.conv(x, some(1, 20), 1, 1, false)}, {{"axis", int64_t{1}}}); break;
      case 5: if (room) x = b.node(Op::kMaxPool, {x}, {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}}); break;
      case 6: if (room) x = b.node(Op::kAveragePool, {x}, {{"kernel_shape", std::vector<int64_t>{3, 3}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}}); break;
      case 7: x = b.node(Op::kMul, {x, b.node(Op::kSigmoid, {b.conv(b.node(Op::kGlobalAveragePool, {x}), s4[1], 1, 1, false)})}); break;
      case 8: if (s4[2] < 20) x = b.node(Op::kResize, {x}, {{"scales", std::vector<double>{1, 1, 2, 2}}, {"mode", std::string("nearest")}, {"coordinate_transformation_mode", std::string("asymmetric")}, {"nearest_mode", std::string("floor")}}); break;
      case 9: x = b.node(Op::kRecode, {x}, {{"row_bytes", 16 * std::max<int64_t>(1, s4[1] * s4[3] / 16 * b.random.integer(1, 8) / 8)}, {"lifting", b.some_lifting(s4[1])}}); break;
      default: x = b.node(Op::kHardSwish, {x}); break;
    }
  }
  return classified(b, b.conv(x, 40, 1, 1, false));
}

// Attention over 16 or 32 tokens with a residual, a normalisation and a wide layer behind it.
Graph random_attention(uint64_t s) {
  Builder b(s);
  const int64_t tokens = 16 * b.random.integer(1, 2), heads = b.random.integer(2, 4), depth = 16, wide = heads * depth;
  const auto dense = [&](ValueId x, int64_t outputs) {
    const int64_t inputs = b.graph.value(x).shape[1];
    return b.node(Op::kGemm, {x, b.constant({inputs, outputs}, 1.0 / std::sqrt(static_cast<double>(inputs))), b.constant({outputs}, 0.2)});
  };
  const auto split = [&](ValueId x, std::vector<int64_t> order) {
    return b.node(Op::kTranspose, {b.node(Op::kReshape, {x}, {{"shape", std::vector<int64_t>{tokens, heads, depth}}})}, {{"perm", std::move(order)}});
  };
  const ValueId x = b.input({tokens, wide});
  const ValueId q = split(dense(x, wide), {1, 0, 2}), k = split(dense(x, wide), {1, 2, 0}), v = split(dense(x, wide), {1, 0, 2});
  const ValueId weights = b.node(Op::kSoftmax, {b.node(Op::kMatMul, {q, k})}, {{"axis", int64_t{-1}}});
  const ValueId mixed = b.node(Op::kTranspose, {b.node(Op::kMatMul, {weights, v})}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
  ValueId y = dense(b.node(Op::kReshape, {mixed}, {{"shape", std::vector<int64_t>{tokens, wide}}}), wide);
  y = b.node(Op::kAdd, {x, y});
  y = b.node(Op::kAdd, {y, dense(b.node(Op::kTanh, {dense(y, 4 * wide)}), wide)});
  y = b.node(Op::kReshape, {y}, {{"shape", std::vector<int64_t>{1, tokens * wide}}});
  b.graph.outputs = {b.node(Op::kGemm, {y, b.constant({tokens * wide, 60}, 0.05), b.constant({60}, 0.1)})};
  return b.graph;
}

// A transformer's layer on codes: attention as one operator, residuals, normalisations by layer or RMS.
Graph random_transformer(uint64_t s) {
  Builder b(s);
  const int64_t tokens = b.random.integer(3, 40), heads = b.random.integer(1, 4), depth = b.random.integer(3, 70), wide = heads * depth;
  const bool rms = b.random.integer(0, 1) == 1;
  const auto dense = [&](ValueId x, int64_t outputs) {
    const int64_t inputs = b.graph.value(x).shape.back();
    return b.node(Op::kMatMul, {x, b.constant({inputs, outputs}, 1.5 / std::sqrt(static_cast<double>(inputs)))});
  };
  const auto norm = [&](ValueId x) {
    std::vector<ValueId> inputs = {x, b.constant({wide}, 1)};
    if (!rms) inputs.push_back(b.constant({wide}, 0.3));
    std::map<std::string, ir::Attribute> attributes = {{"axis", int64_t{-1}}, {"epsilon", 1e-5}};
    if (b.random.integer(0, 1) == 1) {
      std::vector<int64_t> spread;
      for (int64_t i = 0; i < wide; ++i) spread.push_back(std::max<int64_t>(0, b.random.integer(-20, 6)));
      attributes["spread"] = spread;
    }
    return b.node(rms ? Op::kRMSNormalization : Op::kLayerNormalization, inputs, attributes);
  };
  const ValueId x = b.input({1, tokens, wide});
  std::vector<ValueId> operands = {dense(x, wide), dense(x, wide), dense(x, wide)};
  if (b.random.integer(0, 1) == 1) operands.push_back(b.constant({1, 1, 1, tokens}, 2));
  const ValueId mixed = b.node(Op::kAttention, operands, {{"q_num_heads", heads}, {"kv_num_heads", heads}, {"is_causal", b.random.integer(0, 1)}});
  ValueId y = norm(b.node(Op::kAdd, {x, dense(mixed, wide)}));
  y = norm(b.node(Op::kAdd, {y, dense(b.node(Op::kGelu, {dense(y, 3 * wide)}), wide)}));
  b.graph.outputs = {dense(y, 4000)};  // large enough to stay 8-bit
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

constexpr size_t kBeyond = 256;  // bytes after an instance that nobody may touch

struct Painted {
  std::vector<uint8_t> codes, arena;
};

// Takes an output that goes by rows; N,H,W,C to N,C,H,W.
struct RowSink {
  pith_tensor port{};
  std::vector<uint8_t> codes;
  int32_t next = 0;

  static void take(void* context, int32_t index, int32_t row, int32_t rows, void* data) {
    RowSink& sink = *static_cast<RowSink*>(context);
    EXPECT_EQ(index, 0);
    EXPECT_EQ(row, sink.next);
    sink.next = row + rows;
    const int32_t channels = sink.port.dims[1], height = sink.port.dims[2], width = sink.port.dims[3];
    const uint8_t* from = static_cast<const uint8_t*>(data);
    for (int32_t y = row; y < row + rows; ++y)
      for (int32_t x = 0; x < width; ++x)
        for (int32_t c = 0; c < channels; ++c) sink.codes[static_cast<size_t>((c * height + y) * width + x)] = *from++;
  }
};

// One run on an arena that is all `colour` before the input is set.
Painted run_painted(const std::vector<uint8_t>& file, const Program& program, pith_mode mode, const Tensor& input, uint8_t colour) {
  Painted result;
  pith_sizes sizes;
  EXPECT_EQ(pith_probe(file.data(), file.size(), mode, 1, &sizes), PITH_OK) << pith_last_error().reason;
  const Memory m = memory(sizes.model_bytes), i = memory(sizes.instance_bytes + kBeyond);
  std::memset(i.get(), colour, sizes.instance_bytes + kBeyond);
  pith_model* model = nullptr;
  pith_instance* instance = nullptr;
  EXPECT_EQ(pith_load(file.data(), file.size(), mode, 1, m.get(), sizes.model_bytes, &model), PITH_OK) << pith_last_error().reason;
  EXPECT_EQ(pith_instance_create(model, i.get(), sizes.instance_bytes, &instance), PITH_OK);
  const size_t bytes = static_cast<size_t>(program.arena_bytes), all = bytes + PITH_OVERREAD;
  uint8_t* arena = static_cast<uint8_t*>(i.get()) + sizes.instance_bytes - (all + PITH_ALIGNMENT - 1) / PITH_ALIGNMENT * PITH_ALIGNMENT;
  std::memset(arena, colour, all);
  EXPECT_EQ(pith_set_input_f32(instance, 0, input.as<float>().data(), input.as<float>().size()), PITH_OK);
  RowSink sink;
  pith_model_output(model, 0, &sink.port);
  sink.codes.resize(sink.port.count);
  if (sink.port.rows > 0) {
    EXPECT_EQ(pith_set_row_sink(instance, 0, &RowSink::take, &sink), PITH_OK);
  }
  EXPECT_EQ(pith_run(instance), PITH_OK) << pith_last_error().reason;
  if (sink.port.rows > 0) {
    EXPECT_EQ(sink.next, sink.port.rows) << "rows that were never handed over";
  } else {
    EXPECT_EQ(pith_get_output_u8(instance, 0, sink.codes.data(), sink.codes.size()), PITH_OK);
  }
  result.codes = std::move(sink.codes);
  const uint8_t* end = static_cast<const uint8_t*>(i.get()) + sizes.instance_bytes + kBeyond;
  EXPECT_TRUE(std::all_of(static_cast<const uint8_t*>(arena + bytes), static_cast<const uint8_t*>(arena + all), [&](uint8_t b) { return b == colour; })) << "written beyond the arena";
  EXPECT_TRUE(std::all_of(end - kBeyond, end, [&](uint8_t b) { return b == colour; })) << "written beyond the instance";
  result.arena.assign(arena, arena + bytes);
  return result;
}

// The bytes of the first output, whatever its type.
std::vector<uint8_t> output_bytes(const Program& program, pith_mode mode, const Tensor& input, CodecChoice codec = CodecChoice::kFastest) {
  const auto file = write_program(program, codec);
  EXPECT_TRUE(file.ok()) << file.error().message;
  pith_sizes sizes;
  EXPECT_EQ(pith_probe(file->data(), file->size(), mode, 1, &sizes), PITH_OK) << pith_last_error().reason;
  const Memory m = memory(sizes.model_bytes), i = memory(sizes.instance_bytes);
  pith_model* model = nullptr;
  pith_instance* instance = nullptr;
  EXPECT_EQ(pith_load(file->data(), file->size(), mode, 1, m.get(), sizes.model_bytes, &model), PITH_OK);
  EXPECT_EQ(pith_instance_create(model, i.get(), sizes.instance_bytes, &instance), PITH_OK);
  EXPECT_EQ(pith_set_input_f32(instance, 0, input.as<float>().data(), input.as<float>().size()), PITH_OK);
  EXPECT_EQ(pith_run(instance), PITH_OK);
  pith_tensor t;
  pith_output(instance, 0, &t);
  const uint8_t* bytes = static_cast<const uint8_t*>(t.data);
  return {bytes, bytes + t.count * (t.type == PITH_TYPE_U8 ? 1 : 4)};
}

// Where the highest tensor and the highest scratch region end.
std::pair<int64_t, int64_t> planned_ends(const Program& p) {
  int64_t tensors = 0, scratch = 0;
  for (const StorageInterval& s : storage_intervals(p)) {
    int64_t& end = s.kind == "scratch" ? scratch : tensors;
    end = std::max(end, s.offset + s.bytes);
  }
  return {tensors, scratch};
}

// Every instruction set and memory mode gives `expected`, whatever lay in the arena before, and touches what was planned.
void expect_codes(const Program& program, CodecChoice codec, const Tensor& input, std::span<const uint8_t> expected) {
  const auto file = write_program(program, codec);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto [tensors, scratch] = planned_ends(program);
  EXPECT_EQ(program.arena_bytes, (std::max(tensors, scratch) + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT);
  for (int isa = 0; isa < PITH_ISA_COUNT; ++isa) {
    if (pith_set_isa(static_cast<pith_isa>(isa)) != PITH_OK) continue;
    for (const pith_mode mode : {PITH_MODE_SMALLEST, PITH_MODE_BALANCED, PITH_MODE_FASTEST}) {
      SCOPED_TRACE(std::string(pith_isa_name(static_cast<pith_isa>(isa))) + " mode " + std::to_string(mode));
      const Painted a = run_painted(*file, program, mode, input, 0xa5), b = run_painted(*file, program, mode, input, 0x5a);
      EXPECT_EQ(a.codes, b.codes) << "the result depends on what lay in memory before";
      ASSERT_EQ(a.codes.size(), expected.size());
      size_t different = 0;
      for (size_t i = 0; i < expected.size(); ++i) different += a.codes[i] != expected[i];
      EXPECT_EQ(different, 0u);
      int64_t highest = 0;  // bytes that were written differ from at least one colour
      for (size_t i = 0; i < a.arena.size(); ++i)
        if (a.arena[i] != 0xa5 || b.arena[i] != 0x5a) highest = static_cast<int64_t>(i) + 1;
      EXPECT_GE(highest, tensors);
      EXPECT_LE(highest, program.arena_bytes);
    }
  }
  pith_set_isa(PITH_ISA_BEST);
}

struct Case {
  Graph quantized;
  Tensor input;
  std::vector<uint8_t> codes;  // the interpreter's
};

void make_case(uint64_t trial, const Graph& g, Case& c) {
  Random random(seed() + trial);
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 4; ++i) samples.push_back({random_input(g, random)});
  QuantizeOptions options;
  options.weight_bits = static_cast<int>(random.integer(3, 8));
  const auto quantized = quantize(g, samples, options);
  ASSERT_TRUE(quantized.ok()) << quantized.error().message;
  const auto expected = ir::interpret(*quantized, samples[0]);
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  const auto codes = (*expected)[0].as<uint8_t>();
  c = {*quantized, samples[0][0], {codes.begin(), codes.end()}};
}

// A case, and its program before anything is placed.
void make_program(uint64_t trial, const Graph& g, Case& c, Program& program) {
  ASSERT_NO_FATAL_FAILURE(make_case(trial, g, c));
  ASSERT_TRUE(ir::canonicalize(c.quantized).ok());
  auto lowered = lower(c.quantized);
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  program = std::move(lowered).value();
}

void make_case(uint64_t trial, int64_t step, Case& c) { make_case(trial, random_network(seed() * 1000 + trial, step), c); }

TEST(InterpreterAndRuntime, AgreeWhereAttentionGoesHeadByHead) {
  int smaller = 0;
  for (uint64_t trial = 0; trial < 3; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    Case c;
    Program source;
    ASSERT_NO_FATAL_FAILURE(make_program(trial, random_attention(seed() * 1000 + trial), c, source));
    auto by_head = split_heads(source);
    ASSERT_TRUE(by_head.has_value());
    EXPECT_FALSE(split_heads(*by_head).has_value());
    ASSERT_TRUE(plan_arena(*by_head, {}, nullptr).ok());
    const auto sound = check_program(*by_head);
    ASSERT_TRUE(sound.ok()) << sound.error().message;
    const auto whole = compile(c.quantized, {});
    CompileOptions options;
    options.least = true;
    const auto least = compile(c.quantized, options);
    ASSERT_TRUE(whole.ok() && least.ok());
    EXPECT_LE(least->arena_bytes, whole->arena_bytes);
    smaller += least->arena_bytes < whole->arena_bytes;
    for (const pith_mode mode : {PITH_MODE_SMALLEST, PITH_MODE_BALANCED, PITH_MODE_FASTEST}) {
      const std::vector<uint8_t> expected = output_bytes(*whole, mode, c.input);
      EXPECT_EQ(output_bytes(*by_head, mode, c.input), expected);
      EXPECT_EQ(output_bytes(*least, mode, c.input), expected);
    }
  }
  EXPECT_GE(smaller, 1);
}

// One table in the file, read by rows and multiplied by: logits of a language model's embedding.
TEST(InterpreterAndRuntime, AgreeOnTiedEmbeddings) {
  Random random(seed());
  Graph g;
  ir::Value token;
  token.name = "token", token.dtype = ir::DType::kI64, token.shape = {1, 1};
  g.inputs = {g.add_value(token)};
  const ValueId table = g.add_constant("table", ir::random_f32(random, {40, 12}));
  const ValueId word = ir::append_node(g, Op::kGather, {table, g.inputs[0]}, {{"axis", int64_t{0}}});
  const ValueId row = ir::append_node(g, Op::kReshape, {word}, {{"shape", ir::Ints{1, 12}}});
  g.outputs = {ir::append_node(g, Op::kGemm, {row, table}, {{"transB", int64_t{1}}})};
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  Tensor input(ir::DType::kI64, {1, 1});
  input.set(0, 17);
  QuantizeOptions options;
  options.float_activations = options.code_parameters = true;
  options.correct_bias = options.round_by_covariance = false;
  options.weight_codes["table"] = {-48};
  const auto quantized = quantize(g, {{input}}, options);
  ASSERT_TRUE(quantized.ok()) << quantized.error().message;
  const auto expected = ir::interpret(*quantized, {input});
  const auto program = compile(*quantized, {});
  ASSERT_TRUE(expected.ok() && program.ok());
  EXPECT_EQ(program->constants.size(), 1u);
  for (const pith_mode mode : {PITH_MODE_SMALLEST, PITH_MODE_BALANCED, PITH_MODE_FASTEST}) {
    const std::vector<uint8_t> bytes = output_bytes(*program, mode, Tensor::f32({1, 1}, {17}));
    ASSERT_EQ(bytes.size(), 160u);
    for (size_t i = 0; i < 40; ++i) {
      float y;
      std::memcpy(&y, bytes.data() + 4 * i, 4);
      EXPECT_NEAR(y, (*expected)[0].at(static_cast<int64_t>(i)), 1e-5);
    }
  }
}

// Rows on the paths of a trellis, of a table so large that it is written in groups: decoded in any order. `levels`: multiples stand for them.
void expect_tables_agree(const coding::Levels& levels) {
  constexpr int64_t kRows = 700, kWidth = 96, kWords = 6;
  Random random(seed());
  std::vector<int32_t> integers;
  for (int64_t i = 0; i < kRows * kWidth; ++i) integers.push_back(std::clamp(static_cast<int>(std::lround(3 * random.normal())), -12, 12));
  coding::trellis_multiples(integers, kWidth);
  for (int32_t& q : integers) q = levels.weight(q);
  Tensor table(ir::DType::kF32, {kRows, kWidth}), input(ir::DType::kI64, {kWords, 1});
  for (size_t i = 0; i < integers.size(); ++i) table.set(static_cast<int64_t>(i), integers[i] * numerics::scale_value(-48));
  for (int64_t i = 0; i < kWords; ++i) input.set(i, static_cast<double>(random.integer(0, kRows - 1)));
  Graph g;
  ir::Value words;
  words.name = "words", words.dtype = ir::DType::kI64, words.shape = {kWords, 1};
  g.inputs = {g.add_value(words)};
  g.outputs = {ir::append_node(g, Op::kGather, {g.add_constant("table", table), g.inputs[0]}, {{"axis", int64_t{0}}})};
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  QuantizeOptions options;
  options.float_activations = options.code_parameters = true;
  options.weight_codes["table"] = {-48};
  const auto quantized = quantize(g, {{input}}, options);
  ASSERT_TRUE(quantized.ok()) << quantized.error().message;
  const auto program = compile(*quantized, {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  ASSERT_EQ(program->constants.size(), 1u);
  EXPECT_EQ(program->constants[0].integers, integers);
  const auto grids = write_program(*program, CodecChoice::kFastest), paths = write_program(*program, CodecChoice::kSmallest);
  ASSERT_TRUE(grids.ok() && paths.ok());
  EXPECT_LT(static_cast<double>(paths->size()), static_cast<double>(grids->size()) - 0.7 / 8 * static_cast<double>(integers.size()));
  Tensor ids(ir::DType::kF32, {kWords, 1});
  for (int64_t i = 0; i < kWords; ++i) ids.set(i, input.at(i));
  for (const pith_mode mode : {PITH_MODE_SMALLEST, PITH_MODE_BALANCED, PITH_MODE_FASTEST}) {
    const std::vector<uint8_t> bytes = output_bytes(*program, mode, ids, CodecChoice::kSmallest);
    ASSERT_EQ(bytes.size(), static_cast<size_t>(4 * kWords * kWidth));
    for (int64_t i = 0; i < kWords * kWidth; ++i) {
      float y;
      std::memcpy(&y, bytes.data() + 4 * i, 4);
      EXPECT_EQ(y, table.as<float>()[static_cast<size_t>(static_cast<int64_t>(input.at(i / kWidth)) * kWidth + i % kWidth)]);
    }
  }
}

TEST(InterpreterAndRuntime, AgreeOnTablesOfPaths) { expect_tables_agree({}); }

TEST(InterpreterAndRuntime, AgreeOnTablesOfLevels) {
  coding::Levels levels;
  levels.count = 2, levels.of[1] = 6, levels.of[2] = 11, levels.tail = 5;
  expect_tables_agree(levels);
}

TEST(InterpreterAndRuntime, AgreeOnTransformersInIntegers) {
  for (uint64_t trial = 0; trial < 3; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    Case c;
    ASSERT_NO_FATAL_FAILURE(make_case(trial, random_transformer(seed() * 1000 + trial), c));
    const auto program = compile(c.quantized, {});
    ASSERT_TRUE(program.ok()) << program.error().message;
    for (const ProgramOp& op : program->ops) {
      if (op.opcode == PITH_OPCODE_Attention || op.opcode == PITH_OPCODE_Norm) {
        EXPECT_EQ(program->tensors[static_cast<size_t>(op.outputs[0])].dtype, PITH_U8);
      }
    }
    expect_codes(*program, CodecChoice::kSmallest, c.input, c.codes);
    CompileOptions options;
    options.least = true;
    const auto least = compile(c.quantized, options);
    ASSERT_TRUE(least.ok()) << least.error().message;
    EXPECT_LE(least->arena_bytes, program->arena_bytes);
    EXPECT_EQ(output_bytes(*least, PITH_MODE_SMALLEST, c.input), c.codes);
  }
}

TEST(InterpreterAndRuntime, AgreeBitForBit) {
  for (uint64_t trial = 0; trial < 12; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    Case c;
    ASSERT_NO_FATAL_FAILURE(make_case(trial, 1, c));
    const auto program = compile(c.quantized, {});
    ASSERT_TRUE(program.ok()) << program.error().message;
    expect_codes(*program, trial % 2 == 0 ? CodecChoice::kSmallest : CodecChoice::kFastest, c.input, c.codes);
  }
}

// Blocks that widen and narrow again, as mobile networks have: wide rows are cheap to make again.
Graph narrow_and_wide(uint64_t s) {
  Builder b(s);
  ValueId x = b.input({1, 16, 32, 64});
  for (int block = 0; block < 3; ++block) {
    const ValueId wide = b.conv(x, 96, 1, 1, false);
    const ValueId spread = b.node(Op::kConv, {wide, b.constant({96, 1, 3, 3}, 0.5), b.constant({96}, 0.3)}, {{"group", int64_t{96}}, {"strides", std::vector<int64_t>(2, block == 2 ? 2 : 1)}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}}, b.some_activation());
    x = b.conv(spread, 16, 1, 1, false);
  }
  return classified(b, x);
}

int64_t macs(const Program& p) {
  int64_t sum = 0;
  for (const ProgramOp& op : p.ops) sum += op_macs(p, op);
  return sum;
}

TEST(InterpreterAndRuntime, AgreeWhereBordersAreMadeAgainForMemory) {
  for (uint64_t trial = 0; trial < 2; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    CompileOptions options;
    options.least = true;
    options.row_ports = trial % 2 == 1;
    Case c;
    Program source;
    ASSERT_NO_FATAL_FAILURE(make_program(trial, narrow_and_wide(seed() * 1000 + trial), c, source));
    Random random(seed() + trial);
    for (const Borders borders : {Borders::kPointsAgain, Borders::kWideAgain, Borders::kAllAgain}) {
      const size_t first = static_cast<size_t>(random.integer(0, 3)), last = first + static_cast<size_t>(random.integer(3, 6));
      auto bands = stream_rows(source, {{first, last, static_cast<int32_t>(random.integer(2, borders == Borders::kPointsAgain ? 80 : 32)), borders}}, options.row_ports);
      ASSERT_TRUE(bands.has_value());
      EXPECT_GE(macs(*bands), macs(source));
      if (borders != Borders::kPointsAgain) {  // these only where a window goes on by two rows
        EXPECT_GT(macs(*bands), macs(source));
      }
      ASSERT_TRUE(plan_arena(*bands, {}, nullptr).ok());
      expect_codes(*bands, CodecChoice::kFastest, c.input, c.codes);
    }
    MemoryReport report;
    const auto whole = compile(c.quantized, {}), kept = compile(c.quantized, options, &report);
    ASSERT_TRUE(whole.ok() && kept.ok());
    EXPECT_EQ(macs(*kept), macs(*whole));
    int64_t before = kept->arena_bytes;
    for (const double overhead : {0.2, 1.0, 3.0}) {
      options.macs_overhead = overhead;
      const auto again = compile(c.quantized, options, &report);
      ASSERT_TRUE(again.ok()) << again.error().message;
      EXPECT_LE(static_cast<double>(macs(*again)), (1 + overhead) * static_cast<double>(macs(*whole)));
      EXPECT_LE(again->arena_bytes, before);
      before = again->arena_bytes;
      int64_t more = 0;
      for (const MemoryMove& m : report.moves) more += m.macs;
      EXPECT_EQ(more, macs(*again) - macs(*whole));
      expect_codes(*again, CodecChoice::kFastest, c.input, c.codes);
    }
    std::cout << kept->arena_bytes << " bytes with kept borders, " << before << " with borders made again\n";
    if (options.row_ports) {  // else the input, whole, leaves nothing to gain
      EXPECT_LT(before, kept->arena_bytes);
    }
  }
}

// A wide tensor that waits while others come and go.
Graph wide_connection(uint64_t s) {
  Builder b(s);
  const ValueId x = b.conv(b.input({1, 16, 16, 16}), 16, 3, 1, false);
  const ValueId wide = b.conv(x, 96, 1, 1, false);
  ValueId y = b.conv(wide, 16, 1, 1, false);
  for (int i = 0; i < 2; ++i) {
    y = b.conv(b.conv(y, 96, 1, 1, false), 16, 1, 1, false);
    y = b.node(Op::kMul, {y, b.node(Op::kSigmoid, {b.conv(b.node(Op::kGlobalAveragePool, {y}), 16, 1, 1, false)})});  // no band goes through
  }
  return classified(b, b.conv(b.node(Op::kAdd, {b.conv(y, 96, 1, 1, false), wide}, {}, b.some_activation()), 40, 1, 1, false));
}

TEST(InterpreterAndRuntime, AgreeWhereTensorsAreMadeAgain) {
  int made = 0;
  for (uint64_t trial = 0; trial < 3; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    Case c;
    Program source;
    ASSERT_NO_FATAL_FAILURE(make_program(trial, trial == 0 ? wide_connection(seed() * 1000 + trial) : random_network(seed() * 1000 + trial, 16), c, source));
    const std::vector<Remade> proposals = remakable(source, macs(source));
    for (size_t i = 0; i < std::min<size_t>(proposals.size(), 2); ++i) {
      Program again = make_again(source, proposals[i]);
      ASSERT_TRUE(plan_arena(again, {}, nullptr).ok());
      EXPECT_EQ(macs(again), macs(source) + proposals[i].macs);
      expect_codes(again, CodecChoice::kFastest, c.input, c.codes);
      ++made;
    }
    CompileOptions options;
    options.least = true;
    const auto least = place(source, options);
    options.macs_overhead = 0.5;
    MemoryReport report;
    const auto again = place(source, options, &report);
    ASSERT_TRUE(least.ok() && again.ok());
    EXPECT_LE(again->arena_bytes, least->arena_bytes);
    EXPECT_LE(static_cast<double>(macs(*again)), 1.5 * static_cast<double>(macs(source)));
    if (trial == 0) {
      EXPECT_EQ(report.remade.size(), 1u);
      EXPECT_LT(again->arena_bytes, least->arena_bytes * 9 / 10);
    }
    expect_codes(*again, CodecChoice::kFastest, c.input, c.codes);
  }
  EXPECT_GE(made, 1);
}

TEST(InterpreterAndRuntime, AgreeWhereLayersRunInBands) {
  int streamed = 0, smaller = 0;
  for (uint64_t trial = 0; trial < 4; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    Case c;
    Program source;
    ASSERT_NO_FATAL_FAILURE(make_program(trial, random_network(seed() * 1000 + trial, 16), c, source));
    Random random(seed() + trial);
    for (int attempt = 0, done = 0; attempt < 60 && done < 3; ++attempt) {
      const int64_t count = static_cast<int64_t>(source.ops.size());
      const int64_t first = random.integer(0, count - 2), last = random.integer(first + 2, std::min(count, first + 9));
      const StreamGroup group{static_cast<size_t>(first), static_cast<size_t>(last), static_cast<int32_t>(random.integer(2, done % 3 == 1 ? 60 : 9)), done % 2 == 0 ? Borders::kAllAgain : static_cast<Borders>(random.integer(0, 2))};
      auto program = stream_rows(source, {group}, done % 2 == 1);
      if (!program) continue;
      SCOPED_TRACE("operators " + std::to_string(first) + " to " + std::to_string(last) + " in " + std::to_string(group.bands) + " bands, borders " + std::to_string(static_cast<int>(group.borders)));
      ASSERT_TRUE(plan_arena(*program, {}, nullptr).ok());
      const auto sound = check_program(*program);
      ASSERT_TRUE(sound.ok()) << sound.error().message;
      expect_codes(*program, CodecChoice::kSmallest, c.input, c.codes);
      ++streamed, ++done;
    }
    // under a limit, the compiler chooses groups itself
    MemoryReport report;
    const auto whole = compile(c.quantized, {}, &report);
    ASSERT_TRUE(whole.ok());
    CompileOptions options;
    options.ram = whole->arena_bytes * 4 / 5;
    options.row_ports = trial % 2 == 1;
    const auto fitted = compile(c.quantized, options, &report);
    if (!fitted.ok()) {
      EXPECT_EQ(fitted.error().code, ErrorCode::kDoesNotFit) << fitted.error().message;
      EXPECT_NE(fitted.error().message.find("--ram"), std::string::npos);
      continue;
    }
    EXPECT_LE(fitted->arena_bytes, options.ram);
    EXPECT_FALSE(report.groups.empty());
    expect_codes(*fitted, CodecChoice::kFastest, c.input, c.codes);
    ++smaller;
  }
  std::cout << streamed << " random groups, " << smaller << " of 4 networks in 4/5 of their memory\n";
  EXPECT_GE(streamed, 8);
  EXPECT_GE(smaller, 1);
}

// With rows large enough for anything the coded program computes the same; with fewer bits, bands change nothing, and the
// compiler codes what waits at the peak.
TEST(InterpreterAndRuntime, AgreeWhereActivationsWaitInCodedForm) {
  int smaller = 0;
  for (uint64_t trial = 0; trial < 4; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    Case c;
    Program source;
    ASSERT_NO_FATAL_FAILURE(make_program(trial, random_network(seed() * 1000 + trial, 16), c, source));
    std::vector<CodedTensor> roomy, tight;
    for (int32_t id : codable_tensors(source)) {
      const ProgramTensor& t = source.tensors[static_cast<size_t>(id)];
      roomy.push_back({id, 16 * ((t.dims[2] * t.dims[3] * 28 / 8 + 17) / 16)});
      tight.push_back({id, coded_row_bytes(t, 3)});
    }
    Program same = code_rows(source, roomy);
    ASSERT_TRUE(plan_arena(same, {}, nullptr).ok());
    ASSERT_TRUE(check_program(same).ok()) << check_program(same).error().message;
    expect_codes(same, CodecChoice::kFastest, c.input, c.codes);

    CompileOptions options;
    options.least = true;
    const auto least = place(source, options);
    options.coding.bits = 3;
    MemoryReport report;
    const auto coded = place(source, options, &report);
    ASSERT_TRUE(least.ok() && coded.ok());
    EXPECT_LE(coded->arena_bytes, least->arena_bytes);
    if (report.coded.empty()) continue;
    ++smaller;
    std::vector<CodedTensor> chosen;
    for (const CodedTensor& t : tight)
      if (std::any_of(report.coded.begin(), report.coded.end(), [&](const CodedActivation& a) { return a.name == source.tensors[static_cast<size_t>(t.tensor)].name; })) chosen.push_back(t);
    ASSERT_EQ(chosen.size(), report.coded.size());
    Program whole = code_rows(source, chosen);
    ASSERT_TRUE(plan_arena(whole, {}, nullptr).ok());
    const std::vector<uint8_t> expected = output_bytes(whole, PITH_MODE_FASTEST, c.input);
    expect_codes(*coded, CodecChoice::kFastest, c.input, expected);
  }
  EXPECT_GE(smaller, 1);
}

}  // namespace
}  // namespace pith
