// Two executors of one file: the virtual chip's functional simulator and the runtime, on random programs of every
// operator that chips support. Integers must agree bit for bit, floats within the rounding of sums.
#include <gtest/gtest.h>

#include <memory>

#include "compile/compile.h"
#include "compile/stream.h"
#include "numerics/cache_rows.h"
#include "pith/pith.h"
#include "program/schema.h"
#include "runtime/testing/sample_program.h"
#include "sim/functional/functional.h"
#include "sim/functional/operand.h"

namespace pith {
namespace {

using numerics::Affine;
using numerics::Unary;
using testing::Maker;

struct Free {
  void operator()(void* p) const { std::free(p); }
};

// The runtime's outputs on the written file, as stored.
std::vector<std::vector<uint8_t>> run_file(const Program& p, const std::vector<std::vector<float>>& inputs, int runs) {
  const auto file = write_program(p, CodecChoice::kSmallest);
  EXPECT_TRUE(file.ok()) << file.error().message;
  if (!file.ok()) return {};
  pith_sizes sizes;
  EXPECT_EQ(pith_probe(file->data(), file->size(), PITH_MODE_FASTEST, 1, &sizes), PITH_OK) << pith_last_error().reason << "\n" << to_text(p);
  const auto take = [](size_t n) { return std::unique_ptr<void, Free>(std::aligned_alloc(64, (n + 63) / 64 * 64 + 64)); };
  const auto m = take(sizes.model_bytes), i = take(sizes.instance_bytes);
  pith_model* model = nullptr;
  pith_instance* instance = nullptr;
  EXPECT_EQ(pith_load(file->data(), file->size(), PITH_MODE_FASTEST, 1, m.get(), sizes.model_bytes, &model), PITH_OK) << pith_last_error().reason;
  if (!model) return {};
  EXPECT_EQ(pith_instance_create(model, i.get(), sizes.instance_bytes, &instance), PITH_OK);
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (p.tensors[static_cast<size_t>(p.inputs[k].tensor)].dtype == PITH_I32) {
      const std::vector<int32_t> whole(inputs[k].begin(), inputs[k].end());
      EXPECT_EQ(pith_set_input_i32(instance, static_cast<int32_t>(k), whole.data(), whole.size()), PITH_OK);
    } else {
      EXPECT_EQ(pith_set_input_f32(instance, static_cast<int32_t>(k), inputs[k].data(), inputs[k].size()), PITH_OK);
    }
  }
  for (int r = 0; r < runs; ++r) EXPECT_EQ(pith_run(instance), PITH_OK);
  std::vector<std::vector<uint8_t>> outputs;
  for (size_t k = 0; k < p.outputs.size(); ++k) {
    pith_tensor t;
    const int32_t index = static_cast<int32_t>(k);
    pith_model_output(model, index, &t);
    const int dtype = p.tensors[static_cast<size_t>(p.outputs[k].tensor)].dtype;
    std::vector<uint8_t> bytes(t.count * (dtype == PITH_U8 ? 1 : 4));
    pith_status got = PITH_OK;
    if (dtype == PITH_U8) got = pith_get_output_u8(instance, index, bytes.data(), t.count);
    if (dtype == PITH_F32) got = pith_get_output_f32(instance, index, reinterpret_cast<float*>(bytes.data()), t.count);
    if (dtype == PITH_I32) got = pith_get_output_i32(instance, index, reinterpret_cast<int32_t*>(bytes.data()), t.count);
    EXPECT_EQ(got, PITH_OK);
    outputs.push_back(bytes);
  }
  return outputs;
}

void expect_same(const Program& p, Random& random, int runs = 1) {
  std::vector<std::vector<float>> inputs;
  auto chip = sim::Functional::create(p);
  ASSERT_TRUE(chip.ok()) << chip.error().message;
  for (size_t k = 0; k < p.inputs.size(); ++k) {
    const ProgramTensor& t = p.tensors[static_cast<size_t>(p.inputs[k].tensor)];
    size_t n = 1;
    for (int32_t d : t.dims) n *= static_cast<size_t>(d);
    std::vector<float> values(n);
    for (float& v : values) {
      if (t.dtype == PITH_U8) v = static_cast<float>(numerics::dequantize(static_cast<int32_t>(random.integer(0, 255)), t.affine));
      if (t.dtype == PITH_F32) v = static_cast<float>(random.normal());
      if (t.dtype == PITH_I32) v = static_cast<float>(random.integer(-3, 3));
    }
    ASSERT_TRUE(chip->set_input(k, values).ok());
    inputs.push_back(values);
  }
  for (int r = 0; r < runs; ++r) {
    const auto done = chip->run();
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  const auto expected = run_file(p, inputs, runs);
  for (size_t k = 0; k < expected.size(); ++k) {
    const auto got = chip->output_bytes(k);
    ASSERT_EQ(got.size(), expected[k].size());
    if (p.tensors[static_cast<size_t>(p.outputs[k].tensor)].dtype != PITH_F32) {
      ASSERT_EQ(got, expected[k]) << to_text(p);
      continue;
    }
    for (size_t i = 0; i + 4 <= got.size(); i += 4) {
      float a, b;
      std::memcpy(&a, got.data() + i, 4);
      std::memcpy(&b, expected[k].data() + i, 4);
      ASSERT_NEAR(a, b, 2e-5 * std::max(1.0, std::abs(static_cast<double>(b)))) << "at " << i / 4 << "\n" << to_text(p);
    }
  }
}

// One operator between input and output tensors, with some activation.
class Trial {
 public:
  explicit Trial(uint64_t s) { m.random = Random(s); }
  Maker m;
  int32_t dim(int low, int high) { return static_cast<int32_t>(m.random.integer(low, high)); }
  Affine affine() { return {static_cast<int16_t>(m.random.integer(-80, -60)), static_cast<uint8_t>(m.random.integer(0, 255))}; }
  int32_t in(int dtype, std::vector<int32_t> dims) {
    const int32_t t = m.tensor(dtype, dims, dtype == PITH_U8 ? affine() : Affine{});
    m.p.inputs.push_back(port("x" + std::to_string(t), t, dims.size()));
    return t;
  }
  int32_t out(int dtype, std::vector<int32_t> dims) {
    const int32_t t = m.tensor(dtype, dims, dtype == PITH_U8 ? affine() : Affine{});
    m.p.outputs.push_back(port("y" + std::to_string(t), t, dims.size()));
    return t;
  }
  int32_t bias(int dtype, int32_t n) {
    if (m.random.integer(0, 3) == 0) return kNone;
    if (dtype == PITH_U8) return m.integers({n}, testing::biases(m.random, n));
    ProgramConstant k;
    k.dtype = PITH_F32;
    k.dims = {n};
    for (int32_t i = 0; i < n; ++i) k.reals.push_back(static_cast<float>(m.random.normal()));
    m.p.constants.push_back(k);
    return kConstantBase + static_cast<int32_t>(m.p.constants.size() - 1);
  }
  // Some weights zero, as after pruning.
  int32_t sparse(std::vector<int32_t> dims) {
    const int32_t id = m.weights(std::move(dims));
    for (int32_t& w : m.p.constants.back().integers) w = m.random.integer(0, 3) ? 0 : w;
    return id;
  }
  void activate(ProgramOp& op) {
    const Unary some[] = {Unary::kIdentity, Unary::kRelu, Unary::kClip, Unary::kSilu, Unary::kLeakyRelu};
    op.activation = some[m.random.integer(0, 4)];
    op.a = op.activation == Unary::kLeakyRelu ? 0.1f : op.activation == Unary::kSilu ? 1.0f : 0.0f;
    op.b = op.activation == Unary::kClip ? 6.0f : 0.0f;
    if (op.activation > Unary::kClip) op.pre = affine();
  }
  int dtype() { return m.random.integer(0, 2) ? int{PITH_U8} : int{PITH_F32}; }

 private:
  static ProgramPort port(std::string name, int32_t t, size_t rank) {
    ProgramPort p{std::move(name), t, {}};
    for (size_t i = 0; i < rank; ++i) p.permutation.push_back(static_cast<int32_t>(i));
    return p;
  }
};

void conv(Trial& t, bool transposed) {
  const int type = t.dtype(), kernel = t.dim(1, 3), stride = t.dim(1, 2), pad = t.dim(0, kernel / 2), groups = t.dim(0, 3) == 0 ? 2 : 1;
  const int32_t depth = t.dim(1, 9), rows = t.dim(1, 20), size = t.dim(4, 9);
  const int32_t x = t.in(type, {1, size, size, depth * groups});
  const int32_t to = transposed ? (size - 1) * stride - 2 * pad + kernel : (size + 2 * pad - kernel) / stride + 1;
  const int32_t w = transposed ? t.sparse({rows, kernel, kernel, depth * groups}) : t.sparse({rows * groups, kernel, kernel, depth});
  t.activate(t.m.op(transposed ? PITH_OPCODE_ConvTranspose2d : PITH_OPCODE_Conv2d, {x, w, t.bias(type, rows * groups)}, {t.out(type, {1, to, to, rows * groups})},
                    {stride, stride, 1, 1, pad, pad, pad, pad, groups}));
}
void dense(Trial& t) {
  const int type = t.dtype();
  const int32_t n = t.dim(1, 300), o = t.dim(1, 40), rows = t.dim(1, 5);
  t.activate(t.m.op(PITH_OPCODE_Dense, {t.in(type, {rows, n}), t.sparse({o, n}), t.bias(type, o)}, {t.out(type, {rows, o})}));
}
void matmul(Trial& t) {
  const int type = t.dtype();
  const int32_t r = t.dim(1, 9), k = t.dim(1, 40), n = t.dim(1, 20), batch = t.dim(1, 3), ta = t.dim(0, 1), tb = t.dim(0, 1);
  const int32_t a = t.in(type, ta ? std::vector<int32_t>{batch, k, r} : std::vector<int32_t>{batch, r, k});
  const int32_t b = t.in(type, tb ? std::vector<int32_t>{1, n, k} : std::vector<int32_t>{1, k, n});
  t.activate(t.m.op(PITH_OPCODE_MatMul, {a, b, kNone}, {t.out(type, {batch, r, n})}, {ta, tb}, {type == PITH_U8 ? 1.0f : 0.5f}));
}
void pool(Trial& t) {
  const int type = t.dtype();
  const int32_t size = t.dim(4, 9), c = t.dim(1, 20), kernel = t.dim(1, 3), stride = t.dim(1, 2), pad = kernel / 2, to = (size + 2 * pad - kernel) / stride + 1;
  t.activate(t.m.op(PITH_OPCODE_Pool2d, {t.in(type, {1, size, size, c})}, {t.out(type, {1, to, to, c})}, {t.dim(0, 1), kernel, kernel, stride, stride, 1, 1, pad, pad, pad, pad, t.dim(0, 1)}));
}
void binary(Trial& t) {
  const int type = t.dtype(), kinds[] = {PITH_BINARY_ADD, PITH_BINARY_SUB, PITH_BINARY_MUL, PITH_BINARY_PRELU};
  const int32_t c = t.dim(1, 20), r = t.dim(1, 9);
  t.activate(t.m.op(PITH_OPCODE_Binary, {t.in(type, {1, r, c}), t.in(type, {1, t.dim(0, 1) ? r : 1, t.dim(0, 1) ? c : 1})}, {t.out(type, {1, r, c})}, {kinds[t.dim(0, 3)]}));
}
void unary(Trial& t) {
  const int type = t.dtype();
  const int32_t n = t.dim(1, 400);
  t.activate(t.m.op(PITH_OPCODE_Unary, {t.in(type, {n})}, {t.out(type, {n})}, {static_cast<int32_t>(t.dim(0, 1) ? Unary::kTanh : Unary::kHardSwish)}, {0, 0}));
}
void resize(Trial& t) {
  const int type = t.dtype();
  const int32_t size = t.dim(2, 7), c = t.dim(1, 9), factor = t.dim(1, 3);
  const float s = static_cast<float>(factor);
  t.activate(t.m.op(PITH_OPCODE_Resize2d, {t.in(type, {1, size, size, c})}, {t.out(type, {1, size * factor, size * factor, c})}, {t.dim(0, 1), t.dim(0, 4), t.dim(0, 3), 0, 0, 0},
                    {s, s, -0.75f, 0, 0, 0, 1, 1}));
}
void reduce(Trial& t) {
  const int type = t.dtype(), kinds[] = {PITH_REDUCE_MEAN, PITH_REDUCE_MAX, PITH_REDUCE_MIN};
  const int32_t a = t.dim(1, 9), b = t.dim(1, 9), c = t.dim(1, 9), mask = t.dim(1, 7);
  t.activate(t.m.op(PITH_OPCODE_Reduce, {t.in(type, {a, b, c})}, {t.out(type, {mask & 1 ? 1 : a, mask & 2 ? 1 : b, mask & 4 ? 1 : c})}, {kinds[t.dim(0, 2)], mask}));
}
void copy(Trial& t) {  // a transposition of two axes into a part of y
  const int32_t a = t.dim(1, 9), b = t.dim(1, 9);
  const int32_t x = t.in(PITH_U8, {a, b}), y = t.out(PITH_U8, {2 * b, a});
  t.m.op(PITH_OPCODE_Fill, {}, {y}, {}, {0.25f});
  t.activate(t.m.op(PITH_OPCODE_Copy, {x}, {y}, {2, b, a, 0, 0, 0, 0, 0, 1, b, 0, 0, 0, 0, a, 2 * a, 1, 0, 0, 0, 0}));
}
void rows(Trial& t) {  // into coded form and back
  const int32_t h = t.dim(1, 4), w = t.dim(1, 12), c = t.dim(1, 20);
  const int32_t x = t.in(PITH_U8, {1, h, w, c});
  const Affine meaning = t.m.p.tensors[static_cast<size_t>(x)].affine;
  const int32_t coded = t.m.tensor(PITH_U8, {1, h, 1, static_cast<int32_t>(t.dim(1, 4 * w * c))}, meaning), y = t.out(PITH_U8, {1, h, w, c});
  t.m.p.tensors[static_cast<size_t>(y)].affine = meaning;
  t.m.op(PITH_OPCODE_EncodeRows, {x}, {coded});
  t.m.op(PITH_OPCODE_DecodeRows, {coded}, {y});
}
void lifted_rows(Trial& t) {  // with channels that look at each other
  const int32_t h = t.dim(1, 4), w = t.dim(1, 12), c = t.dim(1, 20);
  const int32_t x = t.in(PITH_U8, {1, h, w, c});
  const Affine meaning = t.m.p.tensors[static_cast<size_t>(x)].affine;
  const int32_t coded = t.m.tensor(PITH_U8, {1, h, 1, static_cast<int32_t>(t.dim(1, 2 * w * c))}, meaning), y = t.out(PITH_U8, {1, h, w, c});
  t.m.p.tensors[static_cast<size_t>(y)].affine = meaning;
  ProgramConstant lifting;
  lifting.dtype = PITH_U8;
  lifting.dims = {3, c};
  for (int32_t i = 0; i < 3 * c; ++i) lifting.integers.push_back(t.dim(0, i < c ? i : i < 2 * c ? 16 : 8));
  t.m.p.constants.push_back(lifting);
  const int32_t id = kConstantBase + static_cast<int32_t>(t.m.p.constants.size() - 1);
  t.m.op(PITH_OPCODE_EncodeLiftedRows, {x, id}, {coded});
  t.m.op(PITH_OPCODE_DecodeLiftedRows, {coded, id}, {y});
}
void coded_product(Trial& t) {  // of rows in coded form
  const int32_t h = t.dim(1, 4), w = t.dim(1, 30), c = t.dim(1, 20), o = t.dim(1, 20);
  const int32_t x = t.in(PITH_U8, {1, h, w, c});
  const Affine meaning = t.m.p.tensors[static_cast<size_t>(x)].affine;
  const int32_t coded = t.m.tensor(PITH_U8, {1, h, 1, static_cast<int32_t>(t.dim(1, w * c))}, meaning);
  t.m.op(PITH_OPCODE_EncodeRows, {x}, {coded});
  t.activate(t.m.op(PITH_OPCODE_CodedConv2d, {coded, t.sparse({o, 1, 1, c}), t.bias(PITH_U8, o)}, {t.out(PITH_U8, {1, h, w, o})}));
}
void remember(Trial& t) {  // some rows replaced, then attention on what is remembered
  const int32_t heads = t.dim(1, 3), rows = t.dim(1, 40), depth = t.dim(1, 40), width = t.dim(1, 40),
                group = t.dim(1, 3), queries = t.dim(1, 2);
  const int32_t key_bits = 4 * t.dim(1, 2), value_bits = 4 * t.dim(1, 2);
  const int32_t condition = t.in(PITH_I32, {1, 1, rows, 1});
  const auto table = [&](std::vector<int32_t> dims, bool codes, int16_t scale) {
    ProgramConstant k;
    k.dtype = codes ? PITH_I8 : PITH_F32;
    k.dims = dims;
    if (codes) k.scale_codes = {scale};
    for (int32_t i = 0; i < dims[0] * dims[1]; ++i)
      codes ? k.integers.push_back(t.dim(-127, 127)) : k.reals.push_back(static_cast<float>(t.m.random.uniform() * 2 - 1));
    t.m.p.constants.push_back(std::move(k));
    return kConstantBase + static_cast<int32_t>(t.m.p.constants.size() - 1);
  };
  const bool about_levels = t.dim(0, 1) == 1, turned = depth > 1 && t.dim(0, 2) > 0;
  ProgramConstant levels;
  levels.dims = {2, heads, depth};
  levels.scale_codes = {-96, -60};
  for (int32_t i = 0; i < 2 * heads * depth; ++i) levels.integers.push_back(i < heads * depth ? 1 << t.dim(0, 6) : t.dim(-127, 127));
  if (about_levels) t.m.p.constants.push_back(levels);
  const int32_t levels_id = kConstantBase + static_cast<int32_t>(t.m.p.constants.size()) - 1;
  const auto cache = [&](int32_t size, int32_t bits, bool keys) {
    const std::vector<int32_t> dims = {1, heads, rows, numerics::cache_row_bytes(size, bits)};
    const int32_t past = t.m.tensor(PITH_U8, dims), next = t.m.tensor(PITH_U8, dims);
    const int32_t row = t.in(PITH_F32, {1, heads, 1, size});
    if (keys && about_levels)
      t.m.op(PITH_OPCODE_RememberKeys, {past, row, condition, levels_id}, {next}, {bits});
    else
      t.m.op(PITH_OPCODE_RememberRows, {past, row, condition}, {next}, {bits});
    t.m.p.state.emplace_back(past, next);
    return next;
  };
  const int32_t k = cache(depth, key_bits, true), v = cache(width, value_bits, false);
  std::vector<int32_t> operands = {t.in(PITH_F32, {1, heads * group, queries, depth}), k, v, t.dim(0, 1) ? t.in(PITH_F32, {1, 1, 1, rows}) : kNone},
                       how = {key_bits, value_bits};
  if (about_levels) {
    const int32_t rotated = depth % 16 == 0 ? depth : 2 * t.dim(1, std::max(1, depth / 2)), entries = t.dim(1, 9);
    const bool codes = t.dim(0, 1) == 1;
    operands.insert(operands.end(), {levels_id, kNone, kNone, kNone});
    how.insert(how.end(), {t.dim(0, 1), turned ? rotated : 0});
    if (turned) operands[5] = table({entries, rotated / 2}, codes, -112), operands[6] = table({entries, rotated / 2}, codes, -112), operands[7] = t.in(PITH_I32, {1, 1, rows, 1});
  }
  t.m.op(about_levels ? PITH_OPCODE_TurnedAttention : PITH_OPCODE_CachedAttention, operands, {t.out(PITH_F32, {1, heads * group, queries, width})}, how,
         {0.2f, t.dim(0, 1) ? 3.0f : 0.0f});
}
void gather(Trial& t) {
  const int32_t a = t.dim(1, 5), b = t.dim(1, 5), c = t.dim(1, 9), n = t.dim(1, 6);
  t.activate(t.m.op(PITH_OPCODE_Gather, {t.in(PITH_U8, {a, b, c}), t.in(PITH_I32, {n})}, {t.out(PITH_U8, {a, n, c})}, {0, 1, 0}));
}
void convert(Trial& t) {
  const int32_t n = t.dim(1, 99);
  const int from = t.dtype(), to = t.dtype();
  t.m.op(PITH_OPCODE_Convert, {t.in(from, {n})}, {t.out(to, {n})});
}
void select(Trial& t) {
  const int32_t r = t.dim(1, 9), c = t.dim(1, 9);
  t.activate(t.m.op(PITH_OPCODE_Where, {t.in(PITH_I32, {r, 1}), t.in(PITH_U8, {r, c}), t.in(PITH_U8, {1, c})}, {t.out(PITH_U8, {r, c})}));
}
void arg(Trial& t) {
  const int32_t r = t.dim(1, 9), c = t.dim(1, 9);
  t.m.op(PITH_OPCODE_ArgReduce, {t.in(t.dtype(), {r, c})}, {t.out(PITH_I32, {r, 1})}, {t.dim(0, 1), 1, t.dim(0, 1)});
}
void lines(Trial& t) {  // softmax, normalisations and sums along an axis
  const int32_t a = t.dim(1, 4), b = t.dim(1, 9), c = 4 * t.dim(1, 5);
  if (t.dim(0, 3) == 0) {  // codes
    t.m.op(PITH_OPCODE_Norm, {t.in(PITH_U8, {a, b, c}), t.bias(PITH_F32, c), t.bias(PITH_F32, c)}, {t.out(PITH_U8, {a, b, c})}, {t.dim(0, 1), 2, 1}, {1e-3f});
    return;
  }
  const int32_t x = t.in(PITH_F32, {a, b, c}), y = t.out(PITH_F32, {a, b, c});
  switch (t.dim(0, 3)) {
    case 0: t.m.op(PITH_OPCODE_Softmax, {x}, {y}, {t.dim(0, 1), t.dim(0, 2)}); break;
    case 1: t.m.op(PITH_OPCODE_Norm, {x, t.bias(PITH_F32, c), t.bias(PITH_F32, c)}, {y}, {t.dim(0, 3), 2, 2}, {1e-3f}); break;
    case 2: t.m.op(PITH_OPCODE_LocalNorm, {x}, {y}, {t.dim(1, 5)}, {1e-2f, 0.75f, 1}); break;
    default: t.m.op(PITH_OPCODE_CumSum, {x}, {y}, {t.dim(0, 2), t.dim(0, 1), t.dim(0, 1)});
  }
}
void recurrent(Trial& t) {
  const int32_t steps = t.dim(1, 5), batch = t.dim(1, 2), inputs = t.dim(1, 9), hidden = t.dim(1, 9), kind = t.dim(0, 2), directions = t.dim(0, 2);
  const int32_t n = directions == 2 ? 2 : 1, gates = kind == 0 ? 4 : kind == 1 ? 3 : 1, rows = n * gates * hidden;
  const int32_t tanh = static_cast<int32_t>(Unary::kTanh), sigmoid = static_cast<int32_t>(Unary::kSigmoid);
  t.m.op(PITH_OPCODE_Recurrent, {t.in(PITH_F32, {steps, batch, inputs}), t.sparse({rows, inputs}), t.sparse({rows, hidden}), t.bias(PITH_F32, 2 * rows), kNone, kNone, kNone},
         {t.out(PITH_F32, {steps, n, batch, hidden}), t.out(PITH_F32, {n, batch, hidden}), kNone}, {kind, hidden, directions, t.dim(0, 1), kind == 2 ? tanh : sigmoid, tanh, tanh, 0}, {0});
}
void attention(Trial& t) {
  const int32_t heads = t.dim(1, 2), queries = t.dim(1, 6), keys = t.dim(1, 6), depth = t.dim(1, 9);
  if (t.dim(0, 1)) {  // codes
    t.m.op(PITH_OPCODE_Attention, {t.in(PITH_U8, {1, heads * 2, queries, depth}), t.in(PITH_U8, {1, heads, keys, depth}), t.in(PITH_U8, {1, heads, keys, depth}), kNone, kNone, kNone},
           {t.out(PITH_U8, {1, heads * 2, queries, depth}), kNone, kNone}, {t.dim(0, 1)}, {0.3f, 0});
    return;
  }
  t.m.op(PITH_OPCODE_Attention, {t.in(PITH_F32, {1, heads * 2, queries, depth}), t.in(PITH_F32, {1, heads, keys, depth}), t.in(PITH_F32, {1, heads, keys, depth}), kNone, kNone, kNone},
         {t.out(PITH_F32, {1, heads * 2, queries, depth}), kNone, kNone}, {0}, {0.3f, t.dim(0, 1) ? 5.0f : 0.0f});
}

TEST(ChipAndRuntime, AgreeOnEveryOperator) {
  const std::pair<const char*, void (*)(Trial&)> makers[] = {{"conv", [](Trial& t) { conv(t, false); }},
                                                             {"transposed", [](Trial& t) { conv(t, true); }},
                                                             {"dense", dense},
                                                             {"matmul", matmul},
                                                             {"pool", pool},
                                                             {"binary", binary},
                                                             {"unary", unary},
                                                             {"resize", resize},
                                                             {"reduce", reduce},
                                                             {"copy", copy},
                                                             {"rows", rows}, {"lifted rows", lifted_rows},
                                                             {"remember", remember}, {"coded product", coded_product},
                                                             {"gather", gather},
                                                             {"convert", convert},
                                                             {"where", select},
                                                             {"arg", arg},
                                                             {"lines", lines},
                                                             {"recurrent", recurrent},
                                                             {"attention", attention}};
  std::vector<bool> seen(PITH_OPCODE_COUNT);
  for (const auto& [name, make] : makers) {
    for (uint64_t trial = 0; trial < 60; ++trial) {
      SCOPED_TRACE(std::string(name) + " PITH_SEED=" + std::to_string(testing::seed()) + " trial " + std::to_string(trial));
      Trial t(testing::seed() * 1000 + trial);
      make(t);
      for (const ProgramOp& op : t.m.p.ops) seen[static_cast<size_t>(op.opcode)] = true;
      expect_same(t.m.p, t.m.random);
      if (HasFatalFailure()) return;
    }
  }
  for (int k = 0; k < PITH_OPCODE_COUNT; ++k) EXPECT_EQ(seen[static_cast<size_t>(k)], sim::find_operator(k) != nullptr) << format::kOpcodeNames[k];
}

TEST(ChipAndRuntime, AgreeOnASmallNetwork) {
  Random random(testing::seed());
  expect_same(testing::network(), random);
}

// Three convolutions in bands whose rows come from the caller and go to it, against the same network whole.
TEST(ChipAndRuntime, BandsWithPortsByRowsComputeTheSame) {
  for (uint64_t trial = 0; trial < 20; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(testing::seed()) + " trial " + std::to_string(trial));
    Trial t(testing::seed() * 77 + trial);
    const int32_t size = 16 * t.dim(1, 2), depth = 4 * t.dim(1, 3);
    int32_t x = t.in(PITH_U8, {1, size, 16, depth});
    for (int layer = 0; layer < 3; ++layer) {
      const int32_t y = layer < 2 ? t.m.tensor(PITH_U8, {1, size, 16, depth}, t.affine()) : t.out(PITH_U8, {1, size, 16, depth});
      t.activate(t.m.op(PITH_OPCODE_Conv2d, {x, t.sparse({depth, 3, 3, depth}), t.bias(PITH_U8, depth)}, {y}, {1, 1, 1, 1, 1, 1, 1, 1, 1}));
      x = y;
    }
    auto bands = stream_rows(t.m.p, {{0, 3, 4}}, true);
    ASSERT_TRUE(bands.has_value());
    ASSERT_TRUE(plan_arena(*bands, {}, nullptr).ok());
    ASSERT_GT(row_ports(*bands).inputs[0], 0);
    ASSERT_GT(row_ports(*bands).outputs[0], 0);
    ASSERT_TRUE(check_program(*bands).ok()) << check_program(*bands).error().message;
    std::vector<float> values(static_cast<size_t>(size) * 16 * static_cast<size_t>(depth));
    for (float& v : values) v = static_cast<float>(numerics::dequantize(static_cast<int32_t>(t.m.random.integer(0, 255)), t.m.p.tensors[0].affine));
    std::vector<uint8_t> results[2];
    const Program* programs[] = {&t.m.p, &*bands};
    for (int k = 0; k < 2; ++k) {
      auto chip = sim::Functional::create(*programs[k]);
      ASSERT_TRUE(chip.ok());
      ASSERT_EQ(chip->run().ok(), k == 0);  // no picture, no rows
      ASSERT_TRUE(chip->set_input(0, values).ok());
      const auto done = chip->run();
      ASSERT_TRUE(done.ok()) << done.error().message;
      results[k] = chip->output_bytes(0);
    }
    ASSERT_EQ(results[0], results[1]);
    ASSERT_EQ(run_file(t.m.p, {values}, 1)[0], results[1]);
  }
}

TEST(ChipAndRuntime, WhatTheChipLacksIsNamed) {
  Maker m;
  const int32_t boxes = m.tensor(PITH_F32, {1, 4, 4}), scores = m.tensor(PITH_F32, {1, 2, 4}), y = m.tensor(PITH_I32, {8, 3});
  m.op(PITH_OPCODE_Nms, {boxes, scores}, {y}, {0, 2}, {0.5f, 0.1f});
  const auto chip = sim::Functional::create(m.p);
  ASSERT_FALSE(chip.ok());
  EXPECT_EQ(chip.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(chip.error().message.find("Nms"), std::string::npos) << chip.error().message;
}

}  // namespace
}  // namespace pith
