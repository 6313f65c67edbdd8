// See mutate_program.h.
#include "tests/fuzz/mutate_program.h"

#include <algorithm>
#include <iterator>

#include "compile/compile.h"
#include "micro/quantize.h"
#include "program/schema.h"
#include "tests/differential/operator_cases.h"

namespace pith::fuzz {
namespace {

template <typename T>
T& pick(std::vector<T>& v, Random& r) {
  return v[static_cast<size_t>(r.integer(0, static_cast<int64_t>(v.size()) - 1))];
}

int32_t odd_integer(Random& r) {
  constexpr int32_t kOdd[] = {0, 1, -1, 2, 3, 4, 5, 7, 8, 63, 255, 256, 65536, 1 << 20, INT32_MAX, INT32_MIN, INT32_MAX - 7};
  return kOdd[r.integer(0, static_cast<int64_t>(std::size(kOdd)) - 1)];
}

float odd_real(Random& r) {
  constexpr float kOdd[] = {0, 1, -1, 0.5f, 2, 1e-30f, 3e38f, -3e38f, 1e-5f, __builtin_inff(), -__builtin_inff(), __builtin_nanf("")};
  return kOdd[r.integer(0, static_cast<int64_t>(std::size(kOdd)) - 1)];
}

int64_t count(const std::vector<int32_t>& dims) {
  int64_t n = 1;
  for (const int32_t d : dims) n = std::min<int64_t>(n * d, 1 << 20);
  return n;
}

numerics::Affine odd_affine(Random& r) {
  return {static_cast<int16_t>(r.integer(numerics::kScaleCodeMin, numerics::kScaleCodeMax)), static_cast<uint8_t>(r.integer(0, 255))};
}

void mutate_dims(std::vector<int32_t>& dims, Random& r, int32_t most) {
  switch (r.integer(0, 4)) {
    case 0:
      if (dims.size() < PITH_MAX_RANK) dims.insert(dims.begin() + r.integer(0, static_cast<int64_t>(dims.size())), 1);
      break;
    case 1:
      if (!dims.empty()) dims.erase(dims.begin() + r.integer(0, static_cast<int64_t>(dims.size()) - 1));
      break;
    case 2:
      if (dims.size() > 1) std::swap(pick(dims, r), pick(dims, r));
      break;
    default:
      if (!dims.empty()) pick(dims, r) = r.integer(0, 7) == 0 ? std::clamp(odd_integer(r), 0, most) : static_cast<int32_t>(r.integer(1, 9));
  }
}

int32_t any_operand(const Program& p, Random& r) {
  const int64_t tensors = static_cast<int64_t>(p.tensors.size()), constants = static_cast<int64_t>(p.constants.size());
  const int64_t at = r.integer(-1, tensors + constants - 1);
  return static_cast<int32_t>(at < tensors ? at : kConstantBase + at - tensors);
}

int32_t any_tensor(const Program& p, Random& r) { return static_cast<int32_t>(r.integer(0, static_cast<int64_t>(p.tensors.size()) - 1)); }

void mutate_op(Program& p, Random& r) {
  ProgramOp& op = pick(p.ops, r);
  switch (r.integer(0, 9)) {
    case 0: {
      op.opcode = static_cast<int>(r.integer(0, PITH_OPCODE_COUNT - 1));
      const format::Schema& s = format::kSchemas[op.opcode];
      const int32_t spare = any_tensor(p, r);
      op.inputs.resize(s.inputs, r.integer(0, 1) == 0 ? kNone : spare);
      op.outputs.resize(s.outputs, kNone);
      op.ints.resize(s.ints, 1);
      op.reals.resize(s.reals, 0.5f);
      break;
    }
    case 1:
    case 2:
      if (!op.inputs.empty()) pick(op.inputs, r) = any_operand(p, r);
      break;
    case 3:
      if (!op.outputs.empty()) pick(op.outputs, r) = r.integer(0, 3) == 0 ? kNone : any_tensor(p, r);
      break;
    case 4:
      if (!op.reals.empty()) pick(op.reals, r) = odd_real(r);
      break;
    case 5:
      op.activation = static_cast<numerics::Unary>(r.integer(0, numerics::kUnaryCount - 1));
      op.a = odd_real(r), op.b = odd_real(r), op.pre = odd_affine(r);
      break;
    case 6: op.scratch_offset = r.integer(0, p.arena_bytes / PITH_ARENA_ALIGNMENT + 1) * PITH_ARENA_ALIGNMENT; break;
    default:
      if (!op.ints.empty()) pick(op.ints, r) = r.integer(0, 1) == 0 ? odd_integer(r) : static_cast<int32_t>(r.integer(-1, 9));
  }
}

void mutate_tensor(Program& p, Random& r) {
  ProgramTensor& t = pick(p.tensors, r);
  switch (r.integer(0, 5)) {
    case 0: t.dtype = static_cast<int>(r.integer(0, PITH_I32)); break;
    case 1: t.offset = r.integer(0, p.arena_bytes / PITH_ARENA_ALIGNMENT + 1) * PITH_ARENA_ALIGNMENT; break;
    case 2: t.affine = odd_affine(r); break;
    default: mutate_dims(t.dims, r, INT32_MAX);
  }
}

void mutate_constant(Program& p, Random& r) {
  ProgramConstant& k = pick(p.constants, r);
  switch (r.integer(0, 4)) {
    case 0: k.affine = odd_affine(r); break;
    case 1:
      if (!k.integers.empty()) pick(k.integers, r) = k.dtype == PITH_I32 ? odd_integer(r) : static_cast<int32_t>(r.integer(0, 1));
      if (!k.reals.empty()) pick(k.reals, r) = odd_real(r);
      break;
    case 2:
      for (int16_t& code : k.scale_codes) code = odd_affine(r).scale_code;
      break;
    default: mutate_dims(k.dims, r, 4096);
  }
  if (count(k.dims) > 1 << 16) k.dims = {4};
  const size_t n = static_cast<size_t>(std::max<int64_t>(count(k.dims), 0));
  if (k.dtype == PITH_F32) k.reals.resize(n, 1.0f);
  else k.integers.resize(n, 1);
  const size_t rows = k.dims.empty() ? 1 : static_cast<size_t>(k.dims[0]);
  if (k.scale_codes.size() > 1) k.scale_codes.resize(std::max<size_t>(rows, 1), -90);
}

void mutate_frame(Program& p, Random& r) {
  switch (r.integer(0, 5)) {
    case 0: p.arena_bytes = std::max<int64_t>(0, p.arena_bytes + r.integer(-9, 99) * PITH_ARENA_ALIGNMENT); break;
    case 1:
      if (!p.inputs.empty()) pick(p.inputs, r).tensor = any_tensor(p, r);
      break;
    case 2:
      if (!p.outputs.empty()) pick(p.outputs, r).tensor = any_tensor(p, r);
      break;
    case 3: p.state.emplace_back(any_tensor(p, r), any_tensor(p, r)); break;
    case 4:
      if (p.ops.size() > 1) std::swap(pick(p.ops, r), pick(p.ops, r));
      break;
    default:
      if (!p.ops.empty() && p.ops.size() < 30) p.ops.push_back(pick(p.ops, r));
  }
}

// Everything in a place of its own, so that the checks of memory don't hide what lies behind them.
void place(Program& p) {
  int64_t end = 0;
  for (ProgramTensor& t : p.tensors) {
    if (t.alias_of != kNone) {
      t.offset = p.tensors[static_cast<size_t>(t.alias_of)].offset;
      continue;
    }
    t.offset = end;
    end = (end + count(t.dims) * 4 + 15) / 16 * 16;
  }
  for (ProgramOp& op : p.ops) op.scratch_offset = end;
  p.arena_bytes = end + 4096;
}

}  // namespace

std::vector<Program> seed_programs() {
  Random random(29);
  std::vector<Program> found;
  CompileOptions quick;
  quick.planner_steps = 200;
  for (const testing::OperatorCase& c : testing::operator_cases(random)) {
    auto program = compile(c.graph, quick);
    if (program.ok()) found.push_back(std::move(*program));
    const auto quantized = quantize(c.graph, c.samples, {});
    if (!quantized.ok()) continue;
    program = compile(*quantized, quick);
    if (program.ok()) found.push_back(std::move(*program));
  }
  for (size_t i = 0; i < found.size(); i += 5) found[i].metadata = {{"head", "classifier"}, {"labels", "cat\ndog"}};
  return found;
}

void mutate(Program& p, Random& random) {
  for (int64_t changes = random.integer(1, 3); changes > 0; --changes) {
    const int64_t what = random.integer(0, 9);
    if (what < 5 && !p.ops.empty()) mutate_op(p, random);
    else if (what < 7 && !p.tensors.empty()) mutate_tensor(p, random);
    else if (what < 9 && !p.constants.empty()) mutate_constant(p, random);
    else if (!p.tensors.empty()) mutate_frame(p, random);
  }
  if (random.integer(0, 2) != 0) place(p);
}

}  // namespace pith::fuzz
