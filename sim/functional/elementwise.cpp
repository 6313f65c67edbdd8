// Unary, Binary, Where, Convert, Fill, Copy, Gather: one result from one place of each operand.
#include "numerics/table_row.h"
#include "program/schema.h"
#include "sim/functional/operand.h"

namespace pith::sim {
namespace {

using numerics::Unary;

int32_t to_integer(double x) {  // towards zero, saturated; NaN is zero
  if (x != x) return 0;
  return x <= -2147483648.0 ? INT32_MIN : x >= 2147483647.0 ? INT32_MAX : static_cast<int32_t>(x);
}

bool compares(int64_t kind) { return kind >= PITH_BINARY_EQUAL && kind <= PITH_BINARY_XOR; }

template <typename T>
bool compare(int64_t kind, T a, T b) {
  switch (kind) {
    case PITH_BINARY_EQUAL: return a == b;
    case PITH_BINARY_LESS: return a < b;
    case PITH_BINARY_LESS_EQUAL: return a <= b;
    case PITH_BINARY_GREATER: return a > b;
    case PITH_BINARY_GREATER_EQUAL: return a >= b;
    case PITH_BINARY_AND: return a != 0 && b != 0;
    case PITH_BINARY_OR: return a != 0 || b != 0;
    default: return (a != 0) != (b != 0);
  }
}

bool real_binary(int64_t kind, float a, float b, float& y) {
  switch (kind) {
    case PITH_BINARY_ADD: y = a + b; return true;
    case PITH_BINARY_SUB: y = a - b; return true;
    case PITH_BINARY_MUL: y = a * b; return true;
    case PITH_BINARY_DIV: y = a / b; return true;
    case PITH_BINARY_POW: y = b == 2 ? a * a : static_cast<float>(numerics::pow(a, b)); return true;
    case PITH_BINARY_MIN: y = a != a || b != b ? a + b : a < b ? a : b; return true;
    case PITH_BINARY_MAX: y = a != a || b != b ? a + b : a > b ? a : b; return true;
    case PITH_BINARY_PRELU: y = a < 0 ? a * b : a; return true;
    default: return false;
  }
}

bool integer_binary(int64_t kind, int32_t a, int32_t b, int32_t& y) {  // wraps around
  const uint32_t ua = static_cast<uint32_t>(a), ub = static_cast<uint32_t>(b);
  switch (kind) {
    case PITH_BINARY_ADD: y = static_cast<int32_t>(ua + ub); return true;
    case PITH_BINARY_SUB: y = static_cast<int32_t>(ua - ub); return true;
    case PITH_BINARY_MUL: y = static_cast<int32_t>(ua * ub); return true;
    case PITH_BINARY_DIV: y = b == 0 ? 0 : b == -1 ? static_cast<int32_t>(0 - ua) : a / b; return true;
    case PITH_BINARY_MIN: y = a < b ? a : b; return true;
    case PITH_BINARY_MAX: y = a > b ? a : b; return true;
    default: return false;
  }
}

std::optional<std::string> binary_u8(Call& c) {
  const Operand &a = c.in[0], &b = c.in[1];
  Operand& y = c.out[0];
  const Finish f = finish_of(c.op, y.affine);
  const int64_t kind = c.i(0);
  const bool sum = kind == PITH_BINARY_ADD || kind == PITH_BINARY_SUB;
  if (!sum && kind != PITH_BINARY_MUL && kind != PITH_BINARY_PRELU) return "this kind has no 8-bit form";
  const auto add = numerics::add_params(a.affine, b.affine, f.raw, kind == PITH_BINARY_SUB, f.low, f.high);
  const auto mul = numerics::mul_params(a.affine, b.affine, f.raw, f.low, f.high);
  const auto keep = numerics::multiplier(a.affine.scale_code - f.raw.scale_code);
  for (int64_t i = 0; i < y.count(); ++i) {
    const uint8_t p = a.u8()[broadcast_offset(i, y.dims, a.dims)], q = b.u8()[broadcast_offset(i, y.dims, b.dims)];
    const bool positive = kind == PITH_BINARY_PRELU && p >= a.affine.zero_point;
    y.u8()[i] = f.through(sum        ? numerics::add_u8(p, q, add)
                          : positive ? numerics::requantize_u8(p - a.affine.zero_point, keep, f.raw.zero_point, f.low, f.high)
                                     : numerics::mul_u8(p, q, mul));
  }
  return {};
}

// Moves element `from` of x to element `to` of y, through a table for 8-bit codes.
struct Mover {
  const Operand& x;
  Operand& y;
  Table table{};
  Mover(const ProgramOp& op, const Operand& source, Operand& target) : x(source), y(target) {
    if (y.is_u8()) table = moved_table(op, x.affine, y.affine);
  }
  void operator()(int64_t from, int64_t to) {
    if (y.is_u8()) {
      y.u8()[to] = table[x.u8()[from]];
    } else {
      std::memcpy(y.bytes + 4 * to, x.bytes + 4 * from, 4);
    }
  }
};

}  // namespace

std::optional<std::string> execute_Unary(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  const Unary function = static_cast<Unary>(c.i(0));
  const double p = c.op.reals[0], q = c.op.reals[1];
  if (x.is_u8()) {
    const Finish f = finish_of(c.op, y.affine);
    Table t;
    numerics::build_table(function, p, q, x.affine, f.raw, t.data());
    for (uint8_t& code : t) code = f.through(static_cast<uint8_t>(numerics::clamp(code, f.low, f.high)));
    for (int64_t i = 0; i < y.count(); ++i) y.u8()[i] = t[x.u8()[i]];
  } else if (x.dtype == PITH_F32) {
    for (int64_t i = 0; i < y.count(); ++i) y.f32()[i] = static_cast<float>(numerics::apply_unary(function, x.f32()[i], p, q));
    activate(c.op, y.f32(), y.count());
  } else {
    for (int64_t i = 0; i < y.count(); ++i) y.i32()[i] = to_integer(numerics::apply_unary(function, x.i32()[i], p, q));
  }
  return {};
}

std::optional<std::string> execute_Binary(Call& c) {
  const Operand &a = c.in[0], &b = c.in[1];
  Operand& y = c.out[0];
  if (a.is_u8()) return binary_u8(c);
  const int64_t kind = c.i(0);
  for (int64_t i = 0; i < y.count(); ++i) {
    const int64_t p = broadcast_offset(i, y.dims, a.dims), q = broadcast_offset(i, y.dims, b.dims);
    const bool real = a.dtype != PITH_I32;
    if (compares(kind)) {
      y.i32()[i] = real ? compare(kind, a.f32()[p], b.f32()[q]) : compare(kind, a.i32()[p], b.i32()[q]);
    } else if (!(real ? real_binary(kind, a.f32()[p], b.f32()[q], y.f32()[i]) : integer_binary(kind, a.i32()[p], b.i32()[q], y.i32()[i]))) {
      return "the virtual chip has no such kind";
    }
  }
  if (y.dtype == PITH_F32) activate(c.op, y.f32(), y.count());
  return {};
}

std::optional<std::string> execute_Where(Call& c) {
  const Operand& condition = c.in[0];
  Operand& y = c.out[0];
  Mover first(c.op, c.in[1], y), second(c.op, c.in[2], y);
  for (int64_t i = 0; i < y.count(); ++i) {
    const int64_t at = broadcast_offset(i, y.dims, condition.dims);
    const bool yes = condition.is_u8() ? condition.u8()[at] != 0 : condition.dtype == PITH_F32 ? condition.f32()[at] != 0 : condition.i32()[at] != 0;
    (yes ? first : second)(broadcast_offset(i, y.dims, c.in[yes ? 1 : 2].dims), i);
  }
  if (y.dtype == PITH_F32) activate(c.op, y.f32(), y.count());
  return {};
}

std::optional<std::string> execute_Fill(Call& c) {
  Operand& y = c.out[0];
  const float value = c.op.reals[0];
  for (int64_t i = 0; i < y.count(); ++i) {
    if (y.is_u8()) y.u8()[i] = numerics::quantize_u8(value, y.affine);
    if (y.dtype == PITH_F32) y.f32()[i] = value;
    if (y.dtype == PITH_I32) y.i32()[i] = to_integer(value);
  }
  return {};
}

std::optional<std::string> execute_Convert(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  if (x.is_u8() && y.is_u8()) {
    const Table t = moved_table(c.op, x.affine, y.affine);
    for (int64_t i = 0; i < y.count(); ++i) y.u8()[i] = t[x.u8()[i]];
    return {};
  }
  for (int64_t i = 0; i < y.count(); ++i) {
    const double v = x.is_u8() ? numerics::dequantize(x.u8()[i], x.affine) : x.dtype == PITH_I32 ? x.i32()[i] : static_cast<double>(x.f32()[i]);
    if (y.is_u8()) y.u8()[i] = numerics::quantize_u8(v, y.affine);
    if (y.dtype == PITH_F32) y.f32()[i] = static_cast<float>(v);
    if (y.dtype == PITH_I32) y.i32()[i] = x.dtype == PITH_I32 ? x.i32()[i] : to_integer(v);
  }
  if (y.dtype == PITH_F32) activate(c.op, y.f32(), y.count());
  return {};
}

std::optional<std::string> execute_Copy(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  if (x.dtype != y.dtype) return "it changes the data type";
  const int32_t* v = c.op.ints.data();
  const int rank = v[format::kCopyRank];
  int64_t count = 1;
  for (int k = 0; k < rank; ++k) count *= v[format::kCopyExtents + k];
  // the source is read before anything is written: a copy may move within one tensor
  const std::vector<uint8_t> before(x.bytes, x.bytes + x.count() * static_cast<int64_t>(x.element()));
  Operand source = x;
  source.bytes = const_cast<uint8_t*>(before.data());
  Mover move(c.op, source, y);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, from = v[format::kCopySourceOffset], to = v[format::kCopyTargetOffset];
    for (int k = rank - 1; k >= 0; --k) {
      const int64_t at = rest % v[format::kCopyExtents + k];
      rest /= v[format::kCopyExtents + k];
      from += at * v[format::kCopySourceStrides + k];
      to += at * v[format::kCopyTargetStrides + k];
    }
    move(from, to);
  }
  return {};
}

// Rows of weights as codes.
std::optional<std::string> table_codes(Call& c) {
  const ProgramConstant& w = *c.in[0].weights;
  if (c.i(1) != 0 || w.dims.size() != 2) return "codes of a table are gathered by rows only";
  const int64_t length = w.dims[1];
  for (int64_t k = 0; k < c.in[1].count(); ++k) {
    const int64_t index = numerics::table_row(c.in[1].i32()[k], w.dims[0]);
    const double scale = numerics::scale_value(w.scale_codes[w.scale_codes.size() > 1 ? static_cast<size_t>(index) : 0]);
    for (int64_t s = 0; s < length; ++s) c.out[0].u8()[k * length + s] = numerics::quantize_u8(w.integers[static_cast<size_t>(index * length + s)] * scale, c.out[0].affine);
  }
  return {};
}

std::optional<std::string> execute_Gather(Call& c) {
  const Operand &x = c.in[0], &indices = c.in[1];
  Operand& y = c.out[0];
  if (c.i(0) != 0) return "the virtual chip gathers along one axis only (kind 0)";
  if (x.weights != nullptr && y.is_u8()) return table_codes(c);
  Mover move(c.op, x, y);
  const size_t axis = static_cast<size_t>(c.i(1));
  const int64_t size = x.dims[axis], slice = x.count(axis + 1, x.dims.size()), n = indices.count();
  for (int64_t o = 0; o < x.count(0, axis); ++o) {
    for (int64_t k = 0; k < n; ++k) {
      const int64_t index = numerics::table_row(indices.i32()[k], size);
      for (int64_t s = 0; s < slice; ++s) move((o * size + index) * slice + s, (o * n + k) * slice + s);
    }
  }
  if (y.dtype == PITH_F32) activate(c.op, y.f32(), y.count());
  return {};
}

}  // namespace pith::sim
