// What operators share: constants, tables and activations.
#include <string.h>

#include "coding/decode/floats.h"
#include "coding/decode/weights.h"
#include "program/schema.h"
#include "runtime/ops/ops.h"
#include "runtime/ops/weights.h"

namespace pith::runtime {

const Operator kOperators[PITH_OPCODE_COUNT] = {
#define PITH_OPCODE(name, ...) {#name, prepare_##name, run_##name},
#include "program/opcodes.inc"
#undef PITH_OPCODE
};

namespace {

void decode_rows(const Tensor& k, int8_t* values, int16_t* scales) {
  WeightRows rows(k);
  const int64_t count = k.rank == 0 ? 1 : k.dims[0], length = k.rank == 0 ? 1 : k.count_of(1, k.rank);
  int8_t first[1] = {};
  const int8_t* previous = nullptr;
  for (int64_t i = 0; i < count; ++i) {
    int8_t* row = length > 0 ? values + i * length : first;
    if (previous == nullptr) {
      memset(row, 0, static_cast<size_t>(length));
    } else {
      memcpy(row, previous, static_cast<size_t>(length));
    }
    const int code = rows.next(row, length);
    if (k.row_scales || i == 0) scales[k.row_scales ? i : 0] = static_cast<int16_t>(code);
    previous = row;
  }
}

void dequantize_rows(const Tensor& k, float* values) {
  // The row in bytes lies in the last quarter of its floats, and is widened from its start.
  WeightRows rows(k);
  const int64_t count = k.rank == 0 ? 1 : k.dims[0], length = k.rank == 0 ? 1 : k.count_of(1, k.rank);
  for (int64_t i = 0; i < count; ++i) {
    float* y = values + i * length;
    int8_t* row = reinterpret_cast<int8_t*>(y) + 3 * length;
    if (i == 0) {
      memset(row, 0, static_cast<size_t>(length));
    } else {
      // the decoder needs the row before: take it back from its floats
      const double inverse = 1 / numerics::scale_value(rows.last_scale());
      for (int64_t j = 0; j < length; ++j) {
        const double q = static_cast<double>(y[j - length]) * inverse;
        row[j] = static_cast<int8_t>(q < 0 ? q - 0.5 : q + 0.5);
      }
    }
    const double scale = numerics::scale_value(rows.next(row, length));
    for (int64_t j = 0; j < length; ++j) {
      const int8_t q = row[j];
      y[j] = static_cast<float>(q * scale);
    }
  }
}

}  // namespace

const char* decode_constant(Builder& builder, Tensor& k, int dtype) {
  if (!k.is_constant() || (k.values != nullptr && k.dtype == dtype)) return nullptr;
  if (k.dtype != dtype && !(k.dtype == PITH_I8 && dtype == PITH_F32)) {
    return "a constant has another data type than its operator needs";
  }
  if (builder.memory.counting()) {
    if (k.counted && k.dtype == dtype) return nullptr;
    if (k.counted == 0) k.counted = static_cast<uint8_t>(1 + k.dtype);
  }
  const int64_t count = k.count();
  if (k.dtype == PITH_I8 && dtype == PITH_I8) {
    int8_t* values = builder.memory.take<int8_t>(count, 16);
    int16_t* scales = builder.memory.take<int16_t>(k.row_scales ? k.dims[0] : 1);
    if (values == nullptr || scales == nullptr) return nullptr;
    decode_rows(k, values, scales);
    k.values = values;
    k.scale_codes = scales;
    return nullptr;
  }
  if (k.dtype == PITH_U8) {
    uint8_t* values = builder.memory.take<uint8_t>(count + PITH_OVERREAD, 16);
    if (values == nullptr) return nullptr;
    coding::BinaryDecoder in(k.coded, k.coded_bytes);
    coding::IntegerModel model;
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<uint8_t>(coding::decode_signed(in, model) << k.shift);
    k.values = values;
    return nullptr;
  }
  if (dtype == PITH_I32) {
    int32_t* values = builder.memory.take<int32_t>(count, 16);
    if (values == nullptr) return nullptr;
    coding::BinaryDecoder in(k.coded, k.coded_bytes);
    coding::IntegerModel model;
    for (int64_t i = 0; i < count; ++i) {
      values[i] = static_cast<int32_t>(static_cast<uint32_t>(coding::decode_signed(in, model)) << k.shift);
    }
    k.values = values;
    return nullptr;
  }
  float* values = builder.memory.take<float>(count + PITH_OVERREAD / 4, 16);
  if (values != nullptr) {
    if (k.dtype == PITH_F32 && k.codec == PITH_CODEC_PREDICTED) {
      coding::decode_floats(k.coded, k.coded_bytes, values, count, k.shift);
    } else if (k.dtype == PITH_F32) {
      memcpy(values, k.coded, static_cast<size_t>(count) * 4);
    } else {
      dequantize_rows(k, values);
    }
    k.values = values;
  }
  k.dtype = PITH_F32;
  return nullptr;
}

const char* decode_predicted(Builder& builder, Tensor& weights) {
  if (!weights.is_constant() || weights.dtype != PITH_F32 || weights.codec != PITH_CODEC_PREDICTED) return nullptr;
  return decode_constant(builder, weights, PITH_F32);
}

const char* decode_constants(Builder& builder, Op& op) {
  const int count = format::kSchemas[op.opcode].inputs;
  for (int i = 0; i < count; ++i) {
    Tensor* t = op.inputs[i];
    if (t == nullptr || !t->is_constant()) continue;
    const char* reason = decode_constant(builder, *t, t->dtype == PITH_I8 ? int{PITH_F32} : int{t->dtype});
    if (reason != nullptr) return reason;
  }
  return nullptr;
}

bool packs_at_load(const Builder& builder, const Op& op) {
  const Model& model = builder.model;
  if (model.mode != PITH_MODE_BALANCED) return model.mode == PITH_MODE_FASTEST;
  int users = 0;
  for (int32_t i = 0; i < model.op_count && users < 2; ++i) {
    const Op& other = model.ops[i];
    users += other.opcode == op.opcode && other.inputs[1] == op.inputs[1];
  }
  return users > 1;
}

namespace {

using numerics::Affine;
using numerics::Unary;

// table[q] for the activation of `op` on codes of meaning `from`, in y's meaning; Relu and Clip act on the real value.
void activation_table(const Op& op, Affine from, Affine to, uint8_t* table) {
  numerics::build_table(op.activation, op.a, op.b, from, to, table);
}

struct Table {
  alignas(64) uint8_t codes[256];
};
// The table of codes of meaning `from`; to be filled where `fresh`. `kind` tells apart what is made of the same numbers.
uint8_t* shared_table(Builder& builder, const Op& op, uint64_t kind, Affine from, Affine to, bool* fresh) {
  uint32_t a, b;
  memcpy(&a, &op.a, 4);
  memcpy(&b, &op.b, 4);
  Table* table = builder.share<Table>(kind << 56 | static_cast<uint64_t>(op.activation) << 48 | key_of(from) << 24 | key_of(to), static_cast<uint64_t>(a) << 32 | b, key_of(op.pre), fresh);
  return table != nullptr ? table->codes : nullptr;
}

bool is_clamp(Unary f) { return f == Unary::kIdentity || f == Unary::kRelu || f == Unary::kClip; }

}  // namespace

U8Finish computed_finish(Builder& builder, const Op& op, const Tensor& y) {
  U8Finish f;
  f.raw = y.affine;
  f.epilogue.zero_point = y.affine.zero_point;
  if (op.activation == Unary::kRelu) f.epilogue.low = y.affine.zero_point;
  if (op.activation == Unary::kClip) {
    f.epilogue.low = numerics::quantize_u8(op.a, y.affine);
    const int32_t high = numerics::quantize_u8(op.b, y.affine);
    f.epilogue.high = high > f.epilogue.low ? high : f.epilogue.low;
  }
  if (!is_clamp(op.activation)) {
    f.raw = op.pre;
    f.epilogue.zero_point = op.pre.zero_point;
    bool fresh;
    uint8_t* table = shared_table(builder, op, 1, op.pre, y.affine, &fresh);
    if (fresh && table != nullptr) activation_table(op, op.pre, y.affine, table);
    f.epilogue.table = table;
  }
  return f;
}

const uint8_t* moved_table(Builder& builder, const Op& op, Affine x, const Tensor& y) {
  if (op.activation == Unary::kIdentity && x == y.affine) return nullptr;
  bool fresh;
  uint8_t* table = shared_table(builder, op, 2, x, y.affine, &fresh);
  if (table == nullptr || !fresh) return table;
  if (is_clamp(op.activation)) {
    activation_table(op, x, y.affine, table);
  } else {
    uint8_t second[256];
    numerics::build_table(Unary::kIdentity, 0, 0, x, op.pre, table);
    activation_table(op, op.pre, y.affine, second);
    for (int q = 0; q < 256; ++q) table[q] = second[table[q]];
  }
  return table;
}

bool float_bounds(const Op& op, float* low, float* high) {
  *low = -__builtin_huge_valf();
  *high = __builtin_huge_valf();
  if (op.activation == Unary::kRelu) *low = 0;
  if (op.activation == Unary::kClip) *low = op.a, *high = op.b;
  return is_clamp(op.activation);
}

void activate_f32(const Op& op, const Run& run, float* y, int64_t count) {
  if (op.activation == Unary::kIdentity) return;
  run.kernels.unary_f32(y, y, count, op.activation, op.a, op.b);
}

}  // namespace pith::runtime
