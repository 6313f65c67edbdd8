#include "sim/functional/functional.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "program/schema.h"
#include "sim/functional/operand.h"

namespace pith::sim {

using numerics::Affine;
using numerics::Unary;

namespace {

int64_t count_of(const std::vector<int32_t>& dims) {
  int64_t n = 1;
  for (int32_t d : dims) n *= d;
  return n;
}
bool clamps(Unary f) { return f == Unary::kIdentity || f == Unary::kRelu || f == Unary::kClip; }

std::vector<uint8_t> constant_bytes(const ProgramConstant& k) {
  std::vector<uint8_t> bytes;
  const auto put = [&](const auto& values) {
    bytes.resize(values.size() * sizeof values[0]);
    if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  };
  if (k.dtype == PITH_F32) put(k.reals);
  if (k.dtype == PITH_I32) put(k.integers);
  if (k.dtype == PITH_U8) put(std::vector<uint8_t>(k.integers.begin(), k.integers.end()));
  return bytes;
}

// Weights as floats, for float operators only.
std::vector<uint8_t> weight_floats(const ProgramConstant& k) {
  const size_t rows = k.dims.empty() ? 1 : static_cast<size_t>(k.dims[0]), length = k.integers.size() / std::max<size_t>(rows, 1);
  std::vector<float> values(k.integers.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const double scale = numerics::scale_value(k.scale_codes[k.scale_codes.size() > 1 ? i / length : 0]);
    values[i] = static_cast<float>(k.integers[i] * scale);
  }
  std::vector<uint8_t> bytes(values.size() * 4);
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// A port's elements, all of them or rows [row, row + rows) of its physical second dimension:
// body(index within those rows, logical index).
template <typename Body>
void each_element(const std::vector<int32_t>& dims, const ProgramPort& port, int64_t row, int64_t rows, const Body& body) {
  const size_t rank = dims.size();
  std::vector<int64_t> logical_dims(rank), strides(rank);
  for (size_t i = 0; i < rank; ++i) logical_dims[static_cast<size_t>(port.permutation[i])] = dims[i];
  int64_t stride = 1;
  for (size_t i = rank; i-- > 0;) strides[i] = stride, stride *= logical_dims[i];
  std::vector<int32_t> part = dims;
  if (rank > 1 && rows > 0) part[1] = static_cast<int32_t>(rows);
  for (int64_t p = 0; p < count_of(part); ++p) {
    int64_t rest = p, logical = 0;
    for (size_t i = rank; i-- > 0;) {
      logical += (rest % part[i] + (i == 1 ? row : 0)) * strides[static_cast<size_t>(port.permutation[i])];
      rest /= part[i];
    }
    body(p, logical);
  }
}

void store(uint8_t* at, int dtype, Affine affine, int64_t index, float v) {
  if (dtype == PITH_U8) {
    at[index] = numerics::quantize_u8(v, affine);
  } else if (dtype == PITH_F32) {
    std::memcpy(at + 4 * index, &v, 4);
  } else {
    const int32_t i = numerics::round_half_up(v);
    std::memcpy(at + 4 * index, &i, 4);
  }
}

bool hands_rows(int opcode) { return opcode == PITH_OPCODE_RowsIn || opcode == PITH_OPCODE_RowsOut; }
size_t element_bytes(const ProgramTensor& t) { return static_cast<size_t>(pith::element_bytes(t.dtype)); }

}  // namespace

Finish finish_of(const ProgramOp& op, Affine out) {
  Finish f;
  f.raw = out;
  if (op.activation == Unary::kRelu) f.low = out.zero_point;
  if (op.activation == Unary::kClip) {
    f.low = numerics::quantize_u8(op.a, out);
    f.high = std::max<int32_t>(f.low, numerics::quantize_u8(op.b, out));
  }
  if (!clamps(op.activation)) {
    f.raw = op.pre;
    f.table.emplace();
    numerics::build_table(op.activation, op.a, op.b, op.pre, out, f.table->data());
  }
  return f;
}

Table moved_table(const ProgramOp& op, Affine from, Affine to) {
  Table t;
  if (op.activation == Unary::kIdentity && from == to) {
    for (int q = 0; q < 256; ++q) t[static_cast<size_t>(q)] = static_cast<uint8_t>(q);
  } else if (clamps(op.activation)) {
    numerics::build_table(op.activation, op.a, op.b, from, to, t.data());
  } else {
    Table first, second;
    numerics::build_table(Unary::kIdentity, 0, 0, from, op.pre, first.data());
    numerics::build_table(op.activation, op.a, op.b, op.pre, to, second.data());
    for (size_t q = 0; q < 256; ++q) t[q] = second[first[q]];
  }
  return t;
}

void activate(const ProgramOp& op, float* y, int64_t n) {
  if (op.activation == Unary::kIdentity) return;
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(numerics::apply_unary(op.activation, y[i], op.a, op.b));
}

int64_t broadcast_offset(int64_t index, const std::vector<int32_t>& over, const std::vector<int32_t>& dims) {
  int64_t offset = 0, stride = 1;
  for (size_t i = over.size(); i-- > 0;) {
    const int64_t at = index % over[i];
    index /= over[i];
    if (dims[i] != 1) offset += at * stride;
    stride *= dims[i];
  }
  return offset;
}

Execute find_operator(int opcode) {
  switch (opcode) {
#define PITH_SIM_CASE(name)    \
  case PITH_OPCODE_##name:     \
    return execute_##name;
    PITH_SIM_OPERATORS(PITH_SIM_CASE)
#undef PITH_SIM_CASE
    default:
      return nullptr;
  }
}

Result<Functional> Functional::create(const Program& program) {
  std::set<std::string> missing;
  for (const ProgramOp& op : program.ops) {
    if (!find_operator(op.opcode) && !hands_rows(op.opcode)) missing.insert(format::kOpcodeNames[op.opcode]);
  }
  if (!missing.empty())
    return error(ErrorCode::kUnsupported, fmt::format("the virtual chip has no {}; cut the network before it and leave the rest to the CPU", fmt::join(missing, ", ")));
  Functional f(program);
  f.arena_.assign(static_cast<size_t>(program.arena_bytes) + 16, 0);
  for (const ProgramConstant& k : program.constants) f.constants_.push_back(constant_bytes(k));
  for (const ProgramOp& op : program.ops) {
    for (int32_t id : op.inputs) {
      if (!is_constant(id) || program.constants[static_cast<size_t>(id - kConstantBase)].dtype != PITH_I8) continue;
      const bool integer = op.inputs[0] != kNone && !is_constant(op.inputs[0]) && program.tensors[static_cast<size_t>(op.inputs[0])].dtype == PITH_U8;
      auto& bytes = f.constants_[static_cast<size_t>(id - kConstantBase)];
      if (!integer && bytes.empty()) bytes = weight_floats(program.constants[static_cast<size_t>(id - kConstantBase)]);
    }
  }
  f.rows_ = row_ports(program);
  f.row_inputs_.resize(program.inputs.size());
  f.row_outputs_.resize(program.outputs.size());
  for (const auto& [in, out] : program.state) {
    const ProgramTensor& t = program.tensors[static_cast<size_t>(in)];
    const size_t bytes = static_cast<size_t>(count_of(t.dims)) * element_bytes(t);
    std::memset(f.arena_.data() + t.offset, t.dtype == PITH_U8 ? t.affine.zero_point : 0, bytes);
  }
  return f;
}

Result<void> Functional::set_input(size_t index, std::span<const float> values) {
  if (index >= program_->inputs.size()) return usage_error(fmt::format("the network has {} inputs, not {}", program_->inputs.size(), index + 1));
  const ProgramPort& port = program_->inputs[index];
  const ProgramTensor& t = program_->tensors[static_cast<size_t>(port.tensor)];
  const std::vector<int32_t> dims = whole_dims(port, rows_.inputs[index]);
  if (static_cast<int64_t>(values.size()) != count_of(dims))
    return usage_error(fmt::format("input '{}' takes {} values, not {}", port.name, count_of(dims), values.size()));
  if (rows_.inputs[index] > 0) {
    row_inputs_[index].assign(values.begin(), values.end());
    return {};
  }
  uint8_t* at = arena_.data() + t.offset;
  each_element(dims, port, 0, 0, [&](int64_t p, int64_t l) { store(at, t.dtype, t.affine, p, values[static_cast<size_t>(l)]); });
  return {};
}

// The dimensions of all that goes through a port: its tensor's, or those of so many rows.
std::vector<int32_t> Functional::whole_dims(const ProgramPort& port, int32_t rows) const {
  std::vector<int32_t> dims = program_->tensors[static_cast<size_t>(port.tensor)].dims;
  if (rows > 0) dims[1] = rows;
  return dims;
}

void Functional::rows_in(const ProgramOp& op) {
  const size_t index = static_cast<size_t>(op.ints[0]);
  const ProgramTensor& t = program_->tensors[static_cast<size_t>(op.outputs[0])];
  const std::vector<float>& values = row_inputs_[index];
  each_element(whole_dims(program_->inputs[index], rows_.inputs[index]), program_->inputs[index], op.ints[1], t.dims[1],
               [&](int64_t p, int64_t l) { store(arena_.data() + t.offset, t.dtype, t.affine, p, values[static_cast<size_t>(l)]); });
}

void Functional::rows_out(const ProgramOp& op) {
  const size_t index = static_cast<size_t>(op.ints[0]);
  const ProgramTensor& t = program_->tensors[static_cast<size_t>(op.inputs[0])];
  const std::vector<int32_t> dims = whole_dims(program_->outputs[index], rows_.outputs[index]);
  const size_t element = element_bytes(t);
  std::vector<uint8_t>& whole = row_outputs_[index];
  whole.resize(static_cast<size_t>(count_of(dims)) * element);
  each_element(dims, program_->outputs[index], op.ints[1], t.dims[1],
               [&](int64_t p, int64_t l) { std::memcpy(whole.data() + static_cast<size_t>(l) * element, arena_.data() + t.offset + static_cast<size_t>(p) * element, element); });
}

Result<void> Functional::run(const Observer& observer) {
  for (size_t i = 0; i < rows_.inputs.size(); ++i) {
    if (rows_.inputs[i] > 0 && row_inputs_[i].empty()) return usage_error(fmt::format("input '{}' was given no values", program_->inputs[i].name));
  }
  const auto operand = [&](int32_t id) {
    Operand o;
    if (id == kNone) return o;
    if (is_constant(id)) {
      const ProgramConstant& k = program_->constants[static_cast<size_t>(id - kConstantBase)];
      o.dtype = k.dtype, o.dims = k.dims, o.affine = k.affine;
      o.bytes = constants_[static_cast<size_t>(id - kConstantBase)].data();
      if (k.dtype == PITH_I8) o.weights = &k;
      return o;
    }
    const ProgramTensor& t = program_->tensors[static_cast<size_t>(id)];
    o.dtype = t.dtype, o.dims = t.dims, o.affine = t.affine;
    o.bytes = arena_.data() + t.offset;
    return o;
  };
  for (size_t i = 0; i < program_->ops.size(); ++i) {
    if (observer && i > 0) observer(i - 1, true);
    if (observer) observer(i, false);
    if (hands_rows(program_->ops[i].opcode)) {
      program_->ops[i].opcode == PITH_OPCODE_RowsIn ? rows_in(program_->ops[i]) : rows_out(program_->ops[i]);
      continue;
    }
    Call call{program_->ops[i], {}, {}};
    for (int32_t id : call.op.inputs) call.in.push_back(operand(id));
    for (int32_t id : call.op.outputs) call.out.push_back(operand(id));
    if (const auto reason = find_operator(call.op.opcode)(call))
      return error(ErrorCode::kUnsupported, fmt::format("operator {} ({}): {}", i, format::kOpcodeNames[call.op.opcode], *reason));
  }
  if (observer && !program_->ops.empty()) observer(program_->ops.size() - 1, true);
  for (const auto& [in, out] : program_->state) {
    const ProgramTensor &to = program_->tensors[static_cast<size_t>(in)], &from = program_->tensors[static_cast<size_t>(out)];
    std::memmove(arena_.data() + to.offset, arena_.data() + from.offset, static_cast<size_t>(count_of(to.dims)) * (to.dtype == PITH_U8 ? 1 : 4));
  }
  return {};
}

std::vector<uint8_t> Functional::output_bytes(size_t index) const {
  if (rows_.outputs[index] > 0) return row_outputs_[index];
  const ProgramPort& port = program_->outputs[index];
  const ProgramTensor& t = program_->tensors[static_cast<size_t>(port.tensor)];
  const size_t element = element_bytes(t);
  std::vector<uint8_t> bytes(static_cast<size_t>(count_of(t.dims)) * element);
  each_element(t.dims, port, 0, 0, [&](int64_t p, int64_t l) {
    std::memcpy(bytes.data() + static_cast<size_t>(l) * element, arena_.data() + t.offset + static_cast<size_t>(p) * element, element);
  });
  return bytes;
}

std::vector<float> Functional::output(size_t index) const {
  const ProgramTensor& t = program_->tensors[static_cast<size_t>(program_->outputs[index].tensor)];
  const std::vector<uint8_t> bytes = output_bytes(index);
  std::vector<float> values(bytes.size() / element_bytes(t));
  for (size_t i = 0; i < values.size(); ++i) {
    if (t.dtype == PITH_U8) {
      values[i] = static_cast<float>(numerics::dequantize(bytes[i], t.affine));
    } else if (t.dtype == PITH_F32) {
      std::memcpy(&values[i], bytes.data() + 4 * i, 4);
    } else {
      int32_t v;
      std::memcpy(&v, bytes.data() + 4 * i, 4);
      values[i] = static_cast<float>(v);
    }
  }
  return values;
}

}  // namespace pith::sim
