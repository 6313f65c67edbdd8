// What a Program promises, checked before it is written and after it is read: whoever executes a checked program need
// not look again. Shapes follow the opcodes; memory is checked by liveness, operator by operator.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "numerics/cache_rows.h"
#include "numerics/row_lifting.h"
#include "program/check_memory.h"
#include "program/program.h"
#include "program/schema.h"
#include "program/scratch.h"

namespace pith {
namespace {

using Dims = std::vector<int32_t>;

int64_t count(const Dims& dims) {
  int64_t n = 1;
  for (int32_t d : dims) n *= d;
  return n;
}

std::string op_label(const Program& p, size_t index) {
  return fmt::format("operator {} ({})", index, format::kOpcodeNames[p.ops[index].opcode]);
}

// Dimensions of an operand; empty for an absent one.
const Dims& dims_of(const Program& p, int32_t id) {
  static const Dims none;
  if (id == kNone) return none;
  return is_constant(id) ? p.constants[static_cast<size_t>(id - kConstantBase)].dims : p.tensors[static_cast<size_t>(id)].dims;
}
int dtype_of(const Program& p, int32_t id) {
  return is_constant(id) ? p.constants[static_cast<size_t>(id - kConstantBase)].dtype : p.tensors[static_cast<size_t>(id)].dtype;
}

// One spatial dimension of a convolution or pooling; -1 when the window doesn't fit.
int64_t window_outputs(int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_low, int64_t pad_high) {
  if (kernel < 1 || stride < 1 || dilation < 1 || pad_low < 0 || pad_high < 0) return -1;
  if (kernel > (1 << 20) || stride > (1 << 20) || dilation > (1 << 20) || pad_low > (1 << 20) || pad_high > (1 << 20)) return -1;
  const int64_t reach = dilation * (kernel - 1) + 1, padded = size + pad_low + pad_high;
  return padded < reach ? -1 : (padded - reach) / stride + 1;
}

Dims broadcast(const Dims& a, const Dims& b) {
  if (a.size() != b.size()) return {};
  Dims out(a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && a[i] != 1 && b[i] != 1) return {};
    out[i] = a[i] == 1 ? b[i] : a[i];
  }
  return out;
}

Dims conv_dims(const Program& p, const ProgramOp& op) {
  const Dims &x = dims_of(p, op.inputs[0]), &w = dims_of(p, op.inputs[1]);
  if (x.size() != 4 || w.size() != 4) return {};
  const auto& s = op.ints;
  const int64_t h = window_outputs(x[1], w[1], s[0], s[2], s[4], s[6]), width = window_outputs(x[2], w[2], s[1], s[3], s[5], s[7]);
  if (h < 0 || width < 0) return {};
  return {x[0], static_cast<int32_t>(h), static_cast<int32_t>(width), w[0]};
}

Dims matmul_dims(const Program& p, const ProgramOp& op) {
  Dims a = dims_of(p, op.inputs[0]), b = dims_of(p, op.inputs[1]);
  if (a.size() < 2 || a.size() != b.size()) return {};
  const size_t n = a.size();
  if (op.ints[0]) std::swap(a[n - 1], a[n - 2]);
  if (op.ints[1]) std::swap(b[n - 1], b[n - 2]);
  if (a[n - 1] != b[n - 2]) return {};
  Dims out = broadcast(Dims(a.begin(), a.end() - 2), Dims(b.begin(), b.end() - 2));
  if (out.size() != n - 2) return {};
  out.push_back(a[n - 2]);
  out.push_back(b[n - 1]);
  return out;
}

// Operators whose output has the dimensions of input 0.
bool keeps_dims(int opcode) {
  switch (opcode) {
    case PITH_OPCODE_Unary: case PITH_OPCODE_Softmax: case PITH_OPCODE_Norm: case PITH_OPCODE_LocalNorm:
    case PITH_OPCODE_Rotary: case PITH_OPCODE_Convert: case PITH_OPCODE_CumSum: case PITH_OPCODE_Scatter:
    case PITH_OPCODE_ReverseSequence:
    case PITH_OPCODE_RememberRows: case PITH_OPCODE_RememberKeys:
      return true;
    default:
      return false;
  }
}

Result<void> check_axis(const Program& p, size_t index, int32_t axis, size_t rank) {
  if (axis < 0 || static_cast<size_t>(axis) >= rank)
    return usage_error(fmt::format("{}: axis {} is outside rank {}; the file is damaged or was written wrongly", op_label(p, index), axis, rank));
  return {};
}

Error bad(const Program& p, size_t index, std::string_view what) {
  return usage_error(fmt::format("{}: {}; the file is damaged or was written wrongly", op_label(p, index), what));
}

// Copy must stay inside both tensors: lowest and highest element that the affine loops reach.
Result<void> check_copy(const Program& p, size_t index) {
  const ProgramOp& op = p.ops[index];
  const int32_t* v = op.ints.data();
  if (v[0] < 0 || v[0] > PITH_MAX_RANK) return bad(p, index, "rank of the copy");
  for (int side = 0; side < 2; ++side) {
    const int32_t* s = v + (side == 0 ? format::kCopySourceOffset : format::kCopyTargetOffset);
    int64_t low = s[0], high = s[0];
    for (int i = 0; i < v[0]; ++i) {
      const int64_t extent = v[format::kCopyExtents + i];
      if (extent < 1) return bad(p, index, "an extent of the copy is not positive");
      const int64_t reach = (extent - 1) * int64_t{s[1 + i]};
      if (std::llabs(reach) > (int64_t{1} << 40)) return bad(p, index, "a stride of the copy");
      (reach < 0 ? low : high) += reach;
    }
    if (low < 0 || high >= count(dims_of(p, side == 0 ? op.inputs[0] : op.outputs[0])))
      return bad(p, index, side == 0 ? "the copy reads outside its input" : "the copy writes outside its output");
  }
  if (dtype_of(p, op.inputs[0]) != dtype_of(p, op.outputs[0])) return bad(p, index, "the copy changes the data type");
  return {};
}

// 255 * 127 * reduction and the bias must fit 32 bits for 8-bit products.
Result<void> check_accumulator(const Program& p, size_t index) {
  const ProgramOp& op = p.ops[index];
  if (dtype_of(p, op.inputs[0]) != PITH_U8 || op.inputs[1] == kNone || !is_constant(op.inputs[1])) return {};
  const ProgramConstant& w = p.constants[static_cast<size_t>(op.inputs[1] - kConstantBase)];
  if (w.dtype != PITH_I8) return bad(p, index, "8-bit input without integer weights");
  const bool transposed = op.opcode == PITH_OPCODE_ConvTranspose2d;
  const int64_t rows = w.dims.empty() ? 1 : w.dims[0];
  const int64_t length = rows > 0 ? static_cast<int64_t>(w.integers.size()) / rows : 0;
  const int32_t bias_id = op.inputs.size() > 2 ? op.inputs[2] : kNone;
  if (bias_id != kNone && (!is_constant(bias_id) || p.constants[static_cast<size_t>(bias_id - kConstantBase)].dtype != PITH_I32))
    return bad(p, index, "8-bit input without an integer bias");
  for (int64_t r = 0; r < rows; ++r) {
    int64_t sum = 0;
    for (int64_t k = 0; k < length; ++k) sum += std::abs(w.integers[static_cast<size_t>(r * length + k)]);
    int64_t bias = 0;
    if (bias_id != kNone) {
      const auto& b = p.constants[static_cast<size_t>(bias_id - kConstantBase)].integers;
      if (transposed) {
        for (int32_t x : b) bias = std::max<int64_t>(bias, std::llabs(int64_t{x}));
      } else {
        bias = std::llabs(int64_t{b[static_cast<size_t>(r)]});
      }
    }
    if (sum * 255 * 2 + bias >= (int64_t{1} << 31)) return bad(p, index, fmt::format("the sums of output channel {} can leave 32 bits", r));
  }
  return {};
}

// A picture and its rows in coded form.
Result<void> check_coded_rows(const Program& p, size_t index, int32_t plain_id, int32_t coded_id) {
  if (is_constant(plain_id) || is_constant(coded_id)) return bad(p, index, "a constant among coded rows");
  const ProgramTensor &plain = p.tensors[static_cast<size_t>(plain_id)], &coded = p.tensors[static_cast<size_t>(coded_id)];
  if (plain.dtype != PITH_U8 || coded.dtype != PITH_U8 || plain.affine != coded.affine) return bad(p, index, "rows and their coded form aren't 8-bit of one meaning");
  const bool fits = plain.dims.size() == 4 && coded.dims.size() == 4 && plain.dims[0] == 1 && coded.dims[0] == 1 && coded.dims[2] == 1 && plain.dims[1] == coded.dims[1] && coded.dims[3] >= 1;
  if (!fits) return bad(p, index, "rows and their coded form don't fit each other");
  if (count(plain.dims) > INT32_MAX) return bad(p, index, "its tensor is too large");
  return {};
}

// What the channels of such rows look at.
Result<void> check_lifting(const Program& p, size_t index, int32_t plain_id) {
  const int32_t id = p.ops[index].inputs[1];
  const Dims& plain = dims_of(p, plain_id);
  if (!is_constant(id) || dtype_of(p, id) != PITH_U8 || dims_of(p, id) != Dims{3, plain[3]}) return bad(p, index, "its lifting isn't three rows of bytes, one for each channel");
  const std::vector<int32_t>& integers = p.constants[static_cast<size_t>(id - kConstantBase)].integers;
  const std::vector<uint8_t> bytes(integers.begin(), integers.end());
  if (!numerics::RowLifting{bytes.data(), plain[3]}.sound()) return bad(p, index, "a channel of its lifting looks at one that isn't there, or through a multiplier above 2");
  return {};
}

Result<void> check_operands(const Program& p, size_t index) {
  const ProgramOp& op = p.ops[index];
  if (op.opcode < 0 || op.opcode >= PITH_OPCODE_COUNT) return usage_error(fmt::format("operator {}: unknown opcode {}", index, op.opcode));
  const format::Schema& schema = format::kSchemas[op.opcode];
  if (op.inputs.size() != schema.inputs || op.outputs.size() != schema.outputs || op.ints.size() != schema.ints || op.reals.size() != schema.reals)
    return bad(p, index, "its operands don't fit the opcode");
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const int32_t id = op.inputs[i];
    if (id == kNone && !(schema.optional_inputs >> i & 1)) return bad(p, index, "a required input is absent");
    const bool fits = id == kNone || (is_constant(id) ? id - kConstantBase < static_cast<int32_t>(p.constants.size())
                                                      : id >= 0 && id < static_cast<int32_t>(p.tensors.size()));
    if (!fits) return bad(p, index, "an input that doesn't exist");
  }
  bool any = false;
  for (size_t i = 0; i < op.outputs.size(); ++i) {
    const int32_t id = op.outputs[i];
    if (id == kNone && !(schema.optional_outputs >> i & 1)) return bad(p, index, "a required output is absent");
    if (id != kNone && (id < 0 || id >= static_cast<int32_t>(p.tensors.size()))) return bad(p, index, "an output that doesn't exist");
    any = any || id != kNone;
  }
  if (!any && schema.outputs > 0) return bad(p, index, "it has no output");
  return {};
}

bool cache_bits(const ProgramOp& op) {
  const auto last = op.ints.begin() + (op.opcode == PITH_OPCODE_TurnedAttention ? 2 : static_cast<int64_t>(op.ints.size()));
  return std::all_of(op.ints.begin(), last, [](int32_t bits) { return bits == 4 || bits == 8; });
}

// Remembered keys' levels, and the tables that turn them.
bool check_levels(const Program& p, int32_t id, int32_t heads, int32_t depth) {
  return is_constant(id) && dims_of(p, id) == Dims{2, heads, depth} && (dtype_of(p, id) == PITH_F32 || dtype_of(p, id) == PITH_I8);
}

Result<void> check_turned(const Program& p, size_t index) {
  const ProgramOp& op = p.ops[index];
  const Dims &q = dims_of(p, op.inputs[0]), &k = dims_of(p, op.inputs[1]);
  if (!check_levels(p, op.inputs[4], k[1], q[3])) return bad(p, index, "its keys' levels don't fit");
  const int32_t cosines = op.inputs[5], sines = op.inputs[6], positions = op.inputs[7], rotated = op.ints[3];
  if (cosines == kNone && sines == kNone && positions == kNone) return {};
  if (!is_constant(cosines) || !is_constant(sines) || positions == kNone || is_constant(positions)) return bad(p, index, "it turns keys by something else than tables and their positions");
  const Dims& table = dims_of(p, cosines);
  const bool fits = table.size() == 2 && table[0] >= 1 && rotated >= 2 && rotated <= q[3] && int64_t{table[1]} * 2 == rotated && dims_of(p, sines) == table;
  for (int32_t id : {cosines, sines})
    if (dtype_of(p, id) != PITH_F32 && dtype_of(p, id) != PITH_I8) return bad(p, index, "its tables are no numbers");
  if (!fits || dtype_of(p, positions) != PITH_I32 || dims_of(p, positions) != Dims{1, 1, k[2], 1}) return bad(p, index, "its tables and positions don't fit");
  return {};
}

Result<void> check_shapes(const Program& p, size_t index) {
  const ProgramOp& op = p.ops[index];
  const std::vector<Dims> derived = derived_dims(p, op);
  for (size_t i = 0; i < derived.size(); ++i) {
    if (op.outputs[i] == kNone) continue;
    if (derived[i] != dims_of(p, op.outputs[i]))
      return bad(p, index, fmt::format("output {} is {} and should be {}", i, fmt::join(dims_of(p, op.outputs[i]), "x"), fmt::join(derived[i], "x")));
  }
  const size_t rank = op.inputs.empty() ? 0 : dims_of(p, op.inputs[0]).size();
  switch (op.opcode) {
    case PITH_OPCODE_Conv2d: {
      const Dims &x = dims_of(p, op.inputs[0]), &w = dims_of(p, op.inputs[1]);
      const int32_t groups = op.ints[8];
      if (conv_dims(p, op).empty()) return bad(p, index, "input, weights and parameters don't fit each other");
      if (groups < 1 || w[0] % groups != 0 || int64_t{w[3]} * groups != x[3]) return bad(p, index, "groups don't divide the channels");
      if (op.inputs[2] != kNone && dims_of(p, op.inputs[2]) != Dims{w[0]}) return bad(p, index, "the bias doesn't have one value per channel");
      return check_accumulator(p, index);
    }
    case PITH_OPCODE_ConvTranspose2d: {
      const Dims &x = dims_of(p, op.inputs[0]), &w = dims_of(p, op.inputs[1]), &y = dims_of(p, op.outputs[0]);
      const int32_t groups = op.ints[8];
      if (x.size() != 4 || w.size() != 4 || y.size() != 4) return bad(p, index, "ranks aren't 4");
      if (groups < 1 || w[3] != x[3] || x[3] % groups != 0 || y[0] != x[0] || int64_t{w[0]} * groups != y[3]) return bad(p, index, "channels don't fit");
      for (int i = 0; i < 8; ++i) {
        if (op.ints[static_cast<size_t>(i)] < (i < 4 ? 1 : 0) || op.ints[static_cast<size_t>(i)] > (1 << 20)) return bad(p, index, "a parameter");
      }
      if (op.inputs[2] != kNone && dims_of(p, op.inputs[2]) != Dims{y[3]}) return bad(p, index, "the bias doesn't have one value per channel");
      return check_accumulator(p, index);
    }
    case PITH_OPCODE_Dense: {
      const Dims &x = dims_of(p, op.inputs[0]), &w = dims_of(p, op.inputs[1]);
      if (w.size() != 2 || x.empty() || x.back() != w[1]) return bad(p, index, "input and weights don't fit each other");
      if (op.inputs[2] != kNone && dims_of(p, op.inputs[2]) != Dims{w[0]}) return bad(p, index, "the bias doesn't have one value per output");
      return check_accumulator(p, index);
    }
    case PITH_OPCODE_MatMul:
      if (matmul_dims(p, op).empty()) return bad(p, index, "the matrices don't fit each other");
      return {};
    case PITH_OPCODE_Pool2d:
      if (derived.empty() || derived[0].empty()) return bad(p, index, "input and window don't fit each other");
      return {};
    case PITH_OPCODE_Binary:
      if (op.ints[0] < 0 || op.ints[0] >= PITH_BINARY_COUNT) return bad(p, index, "an unknown kind");
      if (derived[0].empty() && !dims_of(p, op.outputs[0]).empty()) return bad(p, index, "dimensions don't broadcast");
      return {};
    case PITH_OPCODE_Unary:
      if (op.ints[0] < 0 || op.ints[0] >= numerics::kUnaryCount) return bad(p, index, "an unknown function");
      return {};
    case PITH_OPCODE_Copy:
      return check_copy(p, index);
    case PITH_OPCODE_Reduce:
      if (op.ints[0] < 0 || op.ints[0] >= PITH_REDUCE_COUNT) return bad(p, index, "an unknown kind");
      return {};
    case PITH_OPCODE_Softmax: case PITH_OPCODE_ArgReduce: case PITH_OPCODE_CumSum: case PITH_OPCODE_TopK:
    case PITH_OPCODE_Norm:
      return check_axis(p, index, op.opcode == PITH_OPCODE_CumSum ? op.ints[0] : op.ints[1], rank);
    case PITH_OPCODE_Gather:
      if (op.ints[0] != 2) return check_axis(p, index, op.ints[1], rank);
      return {};
    case PITH_OPCODE_EncodeRows:
      return check_coded_rows(p, index, op.inputs[0], op.outputs[0]);
    case PITH_OPCODE_DecodeRows:
      return check_coded_rows(p, index, op.outputs[0], op.inputs[0]);
    case PITH_OPCODE_EncodeLiftedRows:
      PITH_CHECK_OK(check_coded_rows(p, index, op.inputs[0], op.outputs[0]));
      return check_lifting(p, index, op.inputs[0]);
    case PITH_OPCODE_DecodeLiftedRows:
      PITH_CHECK_OK(check_coded_rows(p, index, op.outputs[0], op.inputs[0]));
      return check_lifting(p, index, op.outputs[0]);
    case PITH_OPCODE_CodedConv2d: {
      const Dims &x = dims_of(p, op.inputs[0]), &w = dims_of(p, op.inputs[1]), &y = dims_of(p, op.outputs[0]);
      if (is_constant(op.inputs[0]) || !is_constant(op.inputs[1]) || dtype_of(p, op.inputs[0]) != PITH_U8 || dtype_of(p, op.outputs[0]) != PITH_U8) return bad(p, index, "its rows aren't 8-bit, or its weights no constant");
      const bool fits = x.size() == 4 && w.size() == 4 && y.size() == 4 && x[0] == 1 && x[2] == 1 && w[1] == 1 && w[2] == 1 && y == Dims{1, x[1], y[2], w[0]};
      if (!fits || int64_t{w[3]} * x[1] * y[2] > INT32_MAX) return bad(p, index, "coded rows, weights and output don't fit each other");
      if (op.inputs[2] != kNone && dims_of(p, op.inputs[2]) != Dims{w[0]}) return bad(p, index, "the bias doesn't have one value per channel");
      return check_accumulator(p, index);
    }
    case PITH_OPCODE_RememberRows:
    case PITH_OPCODE_RememberKeys: {
      const Dims &past = dims_of(p, op.inputs[0]), &x = dims_of(p, op.inputs[1]), &condition = dims_of(p, op.inputs[2]);
      const bool fits = cache_bits(op) && past.size() == 4 && x.size() == 4 && past[0] == 1 &&
                        x == Dims{1, past[1], 1, x[3]} && condition == Dims{1, 1, past[2], 1} &&
                        past[3] == numerics::cache_row_bytes(x[3], op.ints[0]);
      if (!fits || dtype_of(p, op.inputs[0]) != PITH_U8 || dtype_of(p, op.inputs[1]) != PITH_F32 ||
          dtype_of(p, op.inputs[2]) != PITH_I32)
        return bad(p, index, "what it remembers doesn't fit");
      if (op.opcode == PITH_OPCODE_RememberKeys && !check_levels(p, op.inputs[3], past[1], x[3])) return bad(p, index, "its keys' levels don't fit");
      return {};
    }
    case PITH_OPCODE_CachedAttention:
    case PITH_OPCODE_TurnedAttention: {
      const Dims &q = dims_of(p, op.inputs[0]), &k = dims_of(p, op.inputs[1]), &v = dims_of(p, op.inputs[2]),
                 &y = dims_of(p, op.outputs[0]);
      if (!cache_bits(op) || q.size() != 4 || k.size() != 4 || v.size() != 4 || y.size() != 4)
        return bad(p, index, "its operands don't have rank 4, or its bits aren't 4 or 8");
      const bool fits = q[0] == 1 && k[0] == 1 && v == Dims{1, k[1], k[2], v[3]} && q[1] % k[1] == 0 &&
                        y == Dims{1, q[1], q[2], y[3]} && k[3] == numerics::cache_row_bytes(q[3], op.ints[0]) &&
                        v[3] == numerics::cache_row_bytes(y[3], op.ints[1]);
      if (!fits || dtype_of(p, op.inputs[0]) != PITH_F32 || dtype_of(p, op.inputs[1]) != PITH_U8 ||
          dtype_of(p, op.inputs[2]) != PITH_U8)
        return bad(p, index, "queries, keys and values don't fit");
      if (op.opcode == PITH_OPCODE_TurnedAttention) return check_turned(p, index);
      return {};
    }
    case PITH_OPCODE_Resize2d: case PITH_OPCODE_GridSample2d:
      if (rank != 4 || dims_of(p, op.outputs[0]).size() != 4) return bad(p, index, "ranks aren't 4");
      return {};
    default:
      return {};
  }
}

// Every port that goes by rows gets each of its rows once, from the first to the last, in parts that differ only in height.
Result<void> check_row_ports(const Program& p) {
  RowPorts rows{std::vector<int32_t>(p.inputs.size(), 0), std::vector<int32_t>(p.outputs.size(), 0)};
  for (size_t i = 0; i < p.ops.size(); ++i) {
    const ProgramOp& op = p.ops[i];
    if (op.opcode != PITH_OPCODE_RowsIn && op.opcode != PITH_OPCODE_RowsOut) continue;
    const bool in = op.opcode == PITH_OPCODE_RowsIn;
    const std::vector<ProgramPort>& ports = in ? p.inputs : p.outputs;
    const int32_t port = op.ints[0], id = in ? op.outputs[0] : op.inputs[0];
    if (port < 0 || static_cast<size_t>(port) >= ports.size()) return bad(p, i, "there is no such input or output");
    if (is_constant(id)) return bad(p, i, "a constant handed over by rows");
    const ProgramTensor &part = p.tensors[static_cast<size_t>(id)], &whole = p.tensors[static_cast<size_t>(ports[static_cast<size_t>(port)].tensor)];
    const bool fits = part.dims.size() == 4 && whole.dims.size() == 4 && part.dims[0] == 1 && whole.dims[0] == 1 && part.dims[2] == whole.dims[2] && part.dims[3] == whole.dims[3];
    if (!fits || part.dtype != whole.dtype || part.affine != whole.affine) return bad(p, i, "its rows aren't those of its input or output");
    int32_t& next = (in ? rows.inputs : rows.outputs)[static_cast<size_t>(port)];
    if (op.ints[1] != next || next > (1 << 24)) return bad(p, i, fmt::format("it begins at row {} where row {} is the next", op.ints[1], next));
    next += part.dims[1];
  }
  return {};
}

}  // namespace

RowPorts row_ports(const Program& p) {
  RowPorts rows{std::vector<int32_t>(p.inputs.size(), 0), std::vector<int32_t>(p.outputs.size(), 0)};
  for (const ProgramOp& op : p.ops) {
    if (op.opcode != PITH_OPCODE_RowsIn && op.opcode != PITH_OPCODE_RowsOut) continue;
    const bool in = op.opcode == PITH_OPCODE_RowsIn;
    std::vector<int32_t>& ports = in ? rows.inputs : rows.outputs;
    const Dims& part = dims_of(p, in ? op.outputs[0] : op.inputs[0]);
    if (op.ints[0] >= 0 && static_cast<size_t>(op.ints[0]) < ports.size() && part.size() == 4) ports[static_cast<size_t>(op.ints[0])] += part[1];
  }
  return rows;
}

std::vector<Dims> derived_dims(const Program& p, const ProgramOp& op) {
  const auto dims = [&](size_t i) -> const Dims& { return dims_of(p, op.inputs[i]); };
  if (keeps_dims(op.opcode)) return {dims(0)};
  switch (op.opcode) {
    case PITH_OPCODE_Conv2d:
      return {conv_dims(p, op)};
    case PITH_OPCODE_Dense: {
      Dims y = dims(0);
      if (!y.empty() && !dims(1).empty()) y.back() = dims(1)[0];
      return {y};
    }
    case PITH_OPCODE_MatMul:
      return {matmul_dims(p, op)};
    case PITH_OPCODE_Pool2d: {
      const Dims& x = dims(0);
      const auto& s = op.ints;
      if (x.size() != 4) return {};
      // a padded window may overhang below and right (ceil_mode): the high pads say how far
      const int64_t h = window_outputs(x[1], s[1], s[3], s[5], s[7], s[9]), w = window_outputs(x[2], s[2], s[4], s[6], s[8], s[10]);
      if (h < 0 || w < 0) return {};
      return {{x[0], static_cast<int32_t>(h), static_cast<int32_t>(w), x[3]}};
    }
    case PITH_OPCODE_Binary:
      return {broadcast(dims(0), dims(1))};
    case PITH_OPCODE_Where:
      return {broadcast(broadcast(dims(0), dims(1)), dims(2))};
    case PITH_OPCODE_Reduce: {
      Dims y = dims(0);
      for (size_t i = 0; i < y.size(); ++i) {
        if (op.ints[1] >> i & 1) y[i] = 1;
      }
      return {y};
    }
    case PITH_OPCODE_ArgReduce: {
      Dims y = dims(0);
      if (op.ints[1] >= 0 && static_cast<size_t>(op.ints[1]) < y.size()) y[static_cast<size_t>(op.ints[1])] = 1;
      return {y};
    }
    default:
      return {};
  }
}

int64_t op_macs(const Program& p, const ProgramOp& op) {
  const auto outputs = [&] { return count(dims_of(p, op.outputs[0])); };
  switch (op.opcode) {
    case PITH_OPCODE_Conv2d: case PITH_OPCODE_CodedConv2d: {
      const Dims& w = dims_of(p, op.inputs[1]);
      return outputs() * w[1] * w[2] * w[3];
    }
    case PITH_OPCODE_ConvTranspose2d: {
      const Dims &w = dims_of(p, op.inputs[1]), &x = dims_of(p, op.inputs[0]);
      return count(x) * w[0] * w[1] * w[2];
    }
    case PITH_OPCODE_Dense:
      return outputs() * dims_of(p, op.inputs[1])[1];
    case PITH_OPCODE_MatMul: {
      const Dims& a = dims_of(p, op.inputs[0]);
      return outputs() * a[a.size() - (op.ints[0] ? 2 : 1)];
    }
    case PITH_OPCODE_Recurrent: {
      const Dims& x = dims_of(p, op.inputs[0]);
      const int64_t steps = int64_t{x[0]} * x[1];
      return steps * (count(dims_of(p, op.inputs[1])) + count(dims_of(p, op.inputs[2])));
    }
    case PITH_OPCODE_Attention:
    case PITH_OPCODE_CachedAttention:
    case PITH_OPCODE_TurnedAttention: {
      const Dims &q = dims_of(p, op.inputs[0]), &k = dims_of(p, op.inputs[1]);
      return q.size() == 4 && k.size() == 4 ? 2 * count(q) * k[2] : 0;
    }
    default:
      return 0;
  }
}

int64_t scratch_bytes(const Program& p, const ProgramOp& op) {
  const auto shapes = [&](const std::vector<int32_t>& ids) {
    std::vector<pith_operand_shape> out;
    if (ids.empty()) out.push_back({-1, 0, nullptr, 0});  // Fill: an absent first operand
    for (int32_t id : ids) {
      const Dims& d = dims_of(p, id);
      out.push_back({id == kNone ? -1 : dtype_of(p, id), static_cast<int32_t>(d.size()), d.data(), id != kNone && is_constant(id)});
    }
    return out;
  };
  const std::vector<pith_operand_shape> inputs = shapes(op.inputs), outputs = shapes(op.outputs);
  const int64_t bytes = pith_scratch_bytes(static_cast<uint32_t>(op.opcode), op.ints.data(), inputs.data(), outputs.data());
  return (bytes + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT;
}

Result<void> check_program(const Program& p) {
  for (size_t i = 0; i < p.tensors.size(); ++i) {
    const ProgramTensor& t = p.tensors[i];
    int64_t n = 1;
    for (int32_t d : t.dims) {
      if (d < 1 || (n *= d) > INT32_MAX) return usage_error(fmt::format("tensor {} has impossible dimensions {}; the file is damaged", i, fmt::join(t.dims, "x")));
    }
    if (t.alias_of != kNone) {
      const ProgramTensor* root = t.alias_of >= 0 && t.alias_of < static_cast<int32_t>(i) ? &p.tensors[static_cast<size_t>(t.alias_of)] : nullptr;
      if (!root || root->alias_of != kNone || root->dtype != t.dtype || root->affine != t.affine || t.alias_offset < 0 ||
          t.alias_offset % PITH_ARENA_ALIGNMENT != 0 || root->offset + t.alias_offset != t.offset || t.alias_offset + tensor_bytes(t) > tensor_bytes(*root))
        return usage_error(fmt::format("tensor {} doesn't fit the tensor whose memory it shares; the file is damaged", i));
    }
    if (t.dims.size() > PITH_MAX_RANK || t.dtype < 0 || t.dtype > PITH_I32) return usage_error(fmt::format("tensor {} has rank {} and data type {}, which the format doesn't have", i, t.dims.size(), t.dtype));
  }
  for (size_t i = 0; i < p.constants.size(); ++i) {
    const ProgramConstant& k = p.constants[i];
    const size_t n = static_cast<size_t>(count(k.dims));
    const size_t rows = k.dims.empty() ? 1 : static_cast<size_t>(k.dims[0]);
    bool ok = k.dims.size() <= PITH_MAX_RANK && std::all_of(k.dims.begin(), k.dims.end(), [](int32_t d) { return d >= 1; }) &&
              (k.dtype == PITH_F32 ? k.reals.size() == n : k.integers.size() == n);
    if (k.dtype == PITH_I8) {
      ok = ok && k.bits >= 2 && k.bits <= 8 && (k.scale_codes.size() == 1 || k.scale_codes.size() == rows);
      const int limit = ok ? (1 << (k.bits - 1)) - 1 : 0;
      ok = ok && std::all_of(k.integers.begin(), k.integers.end(), [&](int32_t q) { return q >= -limit && q <= limit; });
    } else if (k.dtype == PITH_U8) {
      ok = ok && std::all_of(k.integers.begin(), k.integers.end(), [](int32_t q) { return q >= 0 && q <= 255; });
    }
    if (!ok) return usage_error(fmt::format("constant {} '{}' doesn't hold what it announces; the file is damaged", i, k.name));
  }
  for (size_t i = 0; i < p.ops.size(); ++i) {
    PITH_CHECK_OK(check_operands(p, i));
    PITH_CHECK_OK(check_shapes(p, i));
  }
  for (const auto* ports : {&p.inputs, &p.outputs}) {
    for (const ProgramPort& port : *ports) {
      if (port.tensor < 0 || port.tensor >= static_cast<int32_t>(p.tensors.size())) return usage_error(fmt::format("input or output '{}' names no tensor; the file is damaged", port.name));
      const size_t rank = p.tensors[static_cast<size_t>(port.tensor)].dims.size();
      std::vector<int32_t> axes = port.permutation;
      std::sort(axes.begin(), axes.end());
      for (size_t i = 0; i < axes.size(); ++i) {
        if (axes.size() != rank || axes[i] != static_cast<int32_t>(i)) return usage_error(fmt::format("input or output '{}' has a bad axis order; the file is damaged", port.name));
      }
      if (rank > 0 && axes.empty()) return usage_error(fmt::format("input or output '{}' has no axis order; the file is damaged", port.name));
    }
  }
  for (const auto& [in, out] : p.state) {
    const int32_t n = static_cast<int32_t>(p.tensors.size());
    if (in < 0 || out < 0 || in >= n || out >= n || p.tensors[static_cast<size_t>(in)].dims != p.tensors[static_cast<size_t>(out)].dims ||
        p.tensors[static_cast<size_t>(in)].dtype != p.tensors[static_cast<size_t>(out)].dtype)
      return usage_error("a state's input and output differ; the file is damaged");
  }
  PITH_CHECK_OK(check_row_ports(p));
  return check_memory(p);
}

}  // namespace pith
