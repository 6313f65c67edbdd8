// EncodeRows and DecodeRows: pictures that wait, each row in a fixed number of bytes.
//
// With a lifting a channel's value depends on that of another one beside it, so those rows go value by value on every
// instruction set.
#include "coding/decode/activation_rows.h"
#include "program/scratch.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

const char* check_rows(const Tensor& plain, const Tensor& coded) {
  if (plain.is_constant() || coded.is_constant()) return "its operand is a constant";
  if (plain.dtype != PITH_U8 || coded.dtype != PITH_U8 || plain.affine != coded.affine) return "its operands aren't 8-bit of one meaning";
  if (plain.rank != 4 || coded.rank != 4 || plain.dims[0] != 1 || coded.dims[0] != 1 || coded.dims[2] != 1 ||
      plain.dims[1] != coded.dims[1] || coded.dims[3] < 1 || plain.dims[2] < 1 || plain.dims[3] < 1)
    return "its dimensions don't fit";
  if (plain.count() > INT32_MAX) return "its tensor is too large";
  return nullptr;
}

int64_t row_bytes(const Tensor& t) { return t.count_of(2, 4); }

// Is a row other than it was? A coarse step is taken to change it; all zero points are what they say.
bool is_coarse(const uint8_t* values, int64_t count, uint8_t zero_point, uint8_t step) {
  if (step != numerics::kRowFlat) return step != 0;
  for (int64_t i = 0; i < count; ++i) {
    if (values[i] != zero_point) return true;
  }
  return false;
}

void count_coarse(const Run& run, const Tensor& x, const Tensor& y) {
  const uint8_t *from = run.read<uint8_t>(&x), *to = run.read<uint8_t>(&y);
  run.stored.all += static_cast<uint64_t>(x.dims[1]);
  for (int64_t i = 0; i < x.dims[1]; ++i)
    run.stored.coarse += is_coarse(from + i * row_bytes(x), row_bytes(x), x.affine.zero_point, to[i * row_bytes(y)]);
}

// Calls row(place in x, place in y, scratch) for each.
template <typename Row>
void each_row(const Op& op, const Run& run, const Row& row) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const uint8_t* from = run.read<uint8_t>(&x);
  uint8_t* to = run.write<uint8_t>(&y);
  parallel(run.threads, x.dims[1], 1, [&](int64_t begin, int64_t end, int32_t task) {
    for (int64_t i = begin; i < end; ++i) row(from + i * row_bytes(x), to + i * row_bytes(y), run.scratch(op, task));
  });
}

const char* check_lifting(Builder& builder, Tensor& lifting, const Tensor& plain) {
  if (!lifting.is_constant() || lifting.dtype != PITH_U8 || lifting.rank != 2 || lifting.dims[0] != 3 || lifting.dims[1] != plain.dims[3])
    return "its lifting doesn't fit";
  if (const char* reason = decode_constant(builder, lifting, PITH_U8)) return reason;
  if (lifting.values == nullptr) return nullptr;
  return numerics::RowLifting{static_cast<const uint8_t*>(lifting.values), plain.dims[3]}.sound() ? nullptr : "a channel of its lifting looks at one that isn't there";
}

// Rows of `plain` with what they need in scratch; one byte for each channel lies behind.
struct Lifted {
  Lifted(const Tensor& plain, const Tensor& lifting, uint8_t* scratch)
      : rows{{static_cast<const uint8_t*>(lifting.values), plain.dims[3]},
             plain.affine.zero_point,
             plain.dims[2],
             reinterpret_cast<coding::RowChannel*>(scratch),
             reinterpret_cast<coding::LiftedChannel*>(scratch + int64_t{PITH_ROW_CHANNEL} * plain.dims[3])},
        decoded(scratch + int64_t{PITH_ROW_CHANNEL + PITH_LIFTED_CHANNEL} * plain.dims[3]) {
    static_assert(sizeof(coding::LiftedChannel) == PITH_LIFTED_CHANNEL);
  }
  coding::LiftedRows rows;
  uint8_t* decoded;
};

}  // namespace

const char* prepare_EncodeRows(Builder&, Op& op) { return check_rows(*op.inputs[0], *op.outputs[0]); }

void run_EncodeRows(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  each_row(op, run, [&](const uint8_t* from, uint8_t* to, uint8_t* state) {
    run.kernels.encode_row_u8({from, x.dims[2], x.dims[3], x.affine.zero_point, state, to, row_bytes(y)});
  });
  count_coarse(run, x, y);
}

const char* prepare_DecodeRows(Builder&, Op& op) { return check_rows(*op.outputs[0], *op.inputs[0]); }

void run_DecodeRows(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  each_row(op, run, [&](const uint8_t* from, uint8_t* to, uint8_t* state) {
    run.kernels.decode_row_u8({from, row_bytes(x), y.dims[2], y.dims[3], y.affine.zero_point, state, to});
  });
}

const char* prepare_EncodeLiftedRows(Builder& builder, Op& op) {
  const char* reason = prepare_EncodeRows(builder, op);
  return reason ? reason : check_lifting(builder, *op.inputs[1], *op.inputs[0]);
}

void run_EncodeLiftedRows(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  each_row(op, run, [&](const uint8_t* from, uint8_t* to, uint8_t* scratch) {
    const Lifted l(x, *op.inputs[1], scratch);
    l.rows.encode(from, l.decoded, to, row_bytes(y));
  });
  count_coarse(run, x, y);
}

const char* prepare_DecodeLiftedRows(Builder& builder, Op& op) {
  const char* reason = prepare_DecodeRows(builder, op);
  return reason ? reason : check_lifting(builder, *op.inputs[1], *op.outputs[0]);
}

void run_DecodeLiftedRows(const Op& op, const Run& run) {
  const Tensor& x = *op.inputs[0];
  each_row(op, run, [&](const uint8_t* from, uint8_t* to, uint8_t* scratch) {
    Lifted(*op.outputs[0], *op.inputs[1], scratch).rows.decode(from, row_bytes(x), to);
  });
}

}  // namespace pith::runtime
