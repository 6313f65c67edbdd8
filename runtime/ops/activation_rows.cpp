// EncodeRows and DecodeRows: pictures that wait, each row in a fixed number of bytes.
#include "numerics/row_model.h"
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

}  // namespace

const char* prepare_EncodeRows(Builder&, Op& op) { return check_rows(*op.inputs[0], *op.outputs[0]); }

void run_EncodeRows(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const uint8_t* from = run.read<uint8_t>(&x);
  uint8_t* to = run.write<uint8_t>(&y);
  parallel(run.threads, x.dims[1], 1, [&](int64_t begin, int64_t end, int32_t task) {
    uint8_t* state = run.scratch(op, task);
    for (int64_t i = begin; i < end; ++i)
      run.kernels.encode_row_u8({from + i * row_bytes(x), x.dims[2], x.dims[3], x.affine.zero_point, state,
                                 to + i * row_bytes(y), row_bytes(y)});
  });
  run.stored.all += static_cast<uint64_t>(x.dims[1]);
  for (int64_t i = 0; i < x.dims[1]; ++i)
    run.stored.coarse += is_coarse(from + i * row_bytes(x), row_bytes(x), x.affine.zero_point, to[i * row_bytes(y)]);
}

const char* prepare_DecodeRows(Builder&, Op& op) { return check_rows(*op.outputs[0], *op.inputs[0]); }

void run_DecodeRows(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const uint8_t* from = run.read<uint8_t>(&x);
  uint8_t* to = run.write<uint8_t>(&y);
  parallel(run.threads, y.dims[1], 1, [&](int64_t begin, int64_t end, int32_t task) {
    uint8_t* state = run.scratch(op, task);
    for (int64_t i = begin; i < end; ++i)
      run.kernels.decode_row_u8({from + i * row_bytes(x), row_bytes(x), y.dims[2], y.dims[3], y.affine.zero_point,
                                 state, to + i * row_bytes(y)});
  });
}

}  // namespace pith::runtime
