// Programs made by hand, for tests of files and of the C interface.
#pragma once

#include <cstdlib>
#include <vector>

#include "base/random.h"
#include "program/program.h"

namespace pith::testing {

inline uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 5;
}

class Maker {
 public:
  Program p;
  Random random{seed()};

  int32_t tensor(int dtype, std::vector<int32_t> dims, numerics::Affine affine = {}) {
    ProgramTensor t;
    t.dtype = dtype;
    t.dims = std::move(dims);
    t.affine = affine;
    t.offset = p.arena_bytes;
    int64_t bytes = dtype == PITH_U8 ? 1 : 4;
    for (int32_t d : t.dims) bytes *= d;
    p.arena_bytes = (p.arena_bytes + bytes + 15) / 16 * 16;
    p.tensors.push_back(t);
    return static_cast<int32_t>(p.tensors.size() - 1);
  }
  int32_t weights(std::vector<int32_t> dims) {
    ProgramConstant k;
    k.dims = std::move(dims);
    int64_t n = 1;
    for (int32_t d : k.dims) n *= d;
    for (int64_t i = 0; i < n; ++i) k.integers.push_back(static_cast<int32_t>(random.integer(-90, 90)));
    for (int32_t r = 0; r < k.dims[0]; ++r) k.scale_codes.push_back(static_cast<int16_t>(random.integer(-130, -110)));
    return add(std::move(k));
  }
  int32_t integers(std::vector<int32_t> dims, std::vector<int32_t> values) {
    ProgramConstant k;
    k.dtype = PITH_I32;
    k.dims = std::move(dims);
    k.integers = std::move(values);
    return add(std::move(k));
  }
  ProgramOp& op(int opcode, std::vector<int32_t> inputs, std::vector<int32_t> outputs, std::vector<int32_t> ints = {},
                std::vector<float> reals = {}) {
    ProgramOp o;
    o.opcode = opcode;
    o.inputs = std::move(inputs), o.outputs = std::move(outputs), o.ints = std::move(ints), o.reals = std::move(reals);
    const int64_t bytes = scratch_bytes(p, o);
    if (bytes > 0) o.scratch_offset = p.arena_bytes;
    p.arena_bytes += bytes;
    p.ops.push_back(std::move(o));
    return p.ops.back();
  }

 private:
  int32_t add(ProgramConstant k) {
    p.constants.push_back(std::move(k));
    return kConstantBase + static_cast<int32_t>(p.constants.size() - 1);
  }
};

inline std::vector<int32_t> biases(Random& r, int32_t n) {
  std::vector<int32_t> b;
  for (int32_t i = 0; i < n; ++i) b.push_back(static_cast<int32_t>(r.integer(-3000, 3000)));
  return b;
}

// Two convolutions, a depthwise one, a mean and a classifier.
inline Program network() {
  Maker m;
  const int32_t x = m.tensor(PITH_U8, {1, 20, 18, 3}, {-96, 7});
  const int32_t a = m.tensor(PITH_U8, {1, 10, 9, 40}, {-70, 0}), b = m.tensor(PITH_U8, {1, 10, 9, 40}, {-64, 120});
  const int32_t c = m.tensor(PITH_U8, {1, 1, 1, 40}, {-70, 120}), y = m.tensor(PITH_U8, {1, 1, 1, 11}, {-50, 100});
  m.op(PITH_OPCODE_Conv2d, {x, m.weights({40, 3, 3, 3}), m.integers({40}, biases(m.random, 40))}, {a},
       {2, 2, 1, 1, 1, 1, 1, 1, 1})
      .activation = numerics::Unary::kRelu;
  ProgramOp& depthwise =
      m.op(PITH_OPCODE_Conv2d, {a, m.weights({40, 3, 3, 1}), kNone}, {b}, {1, 1, 1, 1, 1, 1, 1, 1, 40});
  depthwise.activation = numerics::Unary::kSilu;
  depthwise.a = 1;
  depthwise.pre = {-66, 110};
  m.op(PITH_OPCODE_Reduce, {b}, {c}, {PITH_REDUCE_MEAN, 6});
  m.op(PITH_OPCODE_Dense, {c, m.weights({11, 40}), m.integers({11}, biases(m.random, 11))}, {y});
  m.p.inputs = {{"image", x, {0, 2, 3, 1}}};
  m.p.outputs = {{"scores", y, {0, 2, 3, 1}}};
  m.p.metadata = {{"head", "classifier"}, {"labels", "cat\ndog\nhorse"}};
  return m.p;
}

}  // namespace pith::testing
