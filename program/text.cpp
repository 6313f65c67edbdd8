// A Program as text: one line per tensor, constant and operator, for people and for diffs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "program/program.h"
#include "program/schema.h"

namespace pith {
namespace {

constexpr const char* kDataTypes[] = {"u8", "f32", "i32", "i8"};

std::string operand(int32_t id) {
  if (id == kNone) return "-";
  return is_constant(id) ? fmt::format("c{}", id - kConstantBase) : fmt::format("t{}", id);
}

std::string operands(const std::vector<int32_t>& ids) {
  std::string out;
  for (int32_t id : ids) out += (out.empty() ? "" : " ") + operand(id);
  return out;
}

std::string affine(numerics::Affine a) { return fmt::format("2^({}/16) zero {}", a.scale_code, a.zero_point); }

void ports(std::string& out, const char* kind, const std::vector<ProgramPort>& list) {
  for (const ProgramPort& p : list) out += fmt::format("{} {} '{}' axes {}\n", kind, operand(p.tensor), p.name, fmt::join(p.permutation, ","));
}

}  // namespace

std::string to_text(const Program& program) {
  std::string out = fmt::format("arena {}\n", program.arena_bytes);
  for (const auto& [key, value] : program.metadata) out += fmt::format("metadata {} = {} bytes\n", key, value.size());
  ports(out, "input", program.inputs);
  ports(out, "output", program.outputs);
  for (const auto& [in, feeds] : program.state) out += fmt::format("state {} <- {}\n", operand(in), operand(feeds));
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    const ProgramTensor& t = program.tensors[i];
    if (t.alias_of != kNone) {
      out += fmt::format("t{} = t{}{} as {}\n", i, t.alias_of, t.alias_offset > 0 ? fmt::format(" from byte {}", t.alias_offset) : "", fmt::join(t.dims, "x"));
      continue;
    }
    out += fmt::format("t{} {} {} at {}{}\n", i, kDataTypes[t.dtype], fmt::join(t.dims, "x"), t.offset,
                       t.dtype == PITH_U8 ? " " + affine(t.affine) : "");
  }
  for (size_t i = 0; i < program.constants.size(); ++i) {
    const ProgramConstant& k = program.constants[i];
    out += fmt::format("c{} {} {}{}\n", i, kDataTypes[k.dtype], fmt::join(k.dims, "x"),
                       k.dtype == PITH_I8 ? fmt::format(" {} bits, {} scales", k.bits, k.scale_codes.size()) : "");
  }
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const ProgramOp& op = program.ops[i];
    out += fmt::format("{} {} = {} {}", i, operands(op.outputs), format::kOpcodeNames[op.opcode], operands(op.inputs));
    if (!op.ints.empty()) out += fmt::format(" [{}]", fmt::join(op.ints, " "));
    if (!op.reals.empty()) out += fmt::format(" [{}]", fmt::join(op.reals, " "));
    if (op.activation != numerics::Unary::kIdentity) {
      out += fmt::format(" then {}({}, {})", numerics::unary_name(op.activation), op.a, op.b);
      if (op.activation > numerics::Unary::kClip) out += " from " + affine(op.pre);
    }
    if (op.scratch_offset != 0) out += fmt::format(" scratch {}", op.scratch_offset);
    out += "\n";
  }
  return out;
}

}  // namespace pith
