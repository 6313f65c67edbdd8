// Gather, Scatter, OneHot and ReverseSequence: moving elements to places that other tensors name.
//
// Indices are data, so they can't be checked at load: negative ones count from the end, and what is still outside is
// held at the border.
//
// A table of coded rows (an embedding) stays coded where its code allows rows in any order, unless speed is all: a row is
// decoded when it is asked for. Otherwise it is decoded at load, to bytes.
#include <string.h>

#include "numerics/table_row.h"
#include "runtime/ops/ops.h"
#include "runtime/ops/weights.h"

namespace pith::runtime {
namespace {

using numerics::table_row;

struct Plan {
  const uint8_t *table, *update_table;
  bool rows;  // of a PITH_I8 table: decoded ones, or null
  const int8_t* values;
  const int16_t* scale_codes;
};

// `count` elements of any type from x to y.
void move(const Run& run, const uint8_t* table, int64_t element, const uint8_t* x, uint8_t* y, int64_t count) {
  if (table != nullptr) return run.kernels.table_u8(x, y, count, table);
  memcpy(y, x, static_cast<size_t>(count * element));
}

const char* store(Builder& builder, Op& op, const Plan& plan) {
  Plan* p = builder.plan<Plan>(op);
  if (p != nullptr) *p = plan;
  return nullptr;
}

// Strides of an element-wise walk over `indices` (GatherElements, ScatterElements): where index i's neighbours lie in
// t.
int64_t element_offset(const Tensor& indices, const Tensor& t, int64_t i, int32_t axis, int64_t index) {
  int64_t offset = 0, stride = 1;
  for (int k = indices.rank - 1; k >= 0; --k) {
    const int64_t at = i % indices.dims[k];
    i /= indices.dims[k];
    offset += (k == axis ? index : at) * stride;
    stride *= t.dims[k];
  }
  return offset;
}

// Offset in t of the slice that the `depth` indices at `index` name, from dimension `first` on.
int64_t slice_offset(const Tensor& t, const int32_t* index, int32_t depth, int32_t first) {
  int64_t offset = 0;
  for (int32_t k = 0; k < depth; ++k) {
    offset += table_row(index[k], t.dims[first + k]) * t.count_of(first + k + 1, t.rank);
  }
  return offset;
}

// Rows of a PITH_I8 table, as floats or as codes.
bool is_table(const Op& op) {
  const Tensor& x = *op.inputs[0];
  return x.is_constant() && x.dtype == PITH_I8 && x.rank == 2 && op.ints[0] == 0 && op.ints[1] == 0 && op.outputs[0]->dtype != PITH_I32;
}

const char* prepare_table(Builder& builder, Op& op) {
  Tensor& x = *op.inputs[0];
  const Tensor &indices = *op.inputs[1], &y = *op.outputs[0];
  if (indices.is_constant()) {
    if (const char* reason = decode_constant(builder, *op.inputs[1], PITH_I32)) return reason;
  }
  if (indices.dtype != PITH_I32) return "its indices aren't integers";
  if (y.count() != indices.count() * x.dims[1] || x.count() == 0) return "its dimensions don't fit";
  if (y.dtype == PITH_U8 && op.activation != numerics::Unary::kIdentity) return "an activation on codes of a table";
  const bool stays = coding::in_any_order(x.coded, x.coded_bytes, x.codec) && builder.model.mode != PITH_MODE_FASTEST;
  if (!stays) {
    if (const char* reason = decode_constant(builder, x, PITH_I8)) return reason;
  }
  // another reader may decode the constant to floats later on
  return store(builder, op, {nullptr, nullptr, true, stays ? nullptr : static_cast<const int8_t*>(x.values), stays ? nullptr : x.scale_codes});
}

// A coded row is decoded where its result will stand: at the end of its floats, or as the codes themselves.
void run_table(const Op& op, const Run& run, const Plan& plan) {
  const Tensor &x = *op.inputs[0], &indices = *op.inputs[1], &y = *op.outputs[0];
  const int32_t* index = run.read<int32_t>(&indices);
  const int64_t length = x.dims[1], element = y.element_bytes(), bytes = length * element;
  TableRows rows(x, plan.values, plan.scale_codes);
  int64_t last = -1;
  for (int64_t i = 0; i < indices.count(); ++i) {
    uint8_t* to = run.write<uint8_t>(&y) + i * bytes;
    const int64_t wanted = table_row(index[i], x.dims[0]);
    if (wanted == last) {
      memcpy(to, to - bytes, static_cast<size_t>(bytes));
      continue;
    }
    last = wanted;
    int8_t* place = reinterpret_cast<int8_t*>(to) + (element - 1) * length;
    const double scale = numerics::scale_value(rows.go(wanted, place));
    const int8_t* row = rows.row();
    for (int64_t k = 0; k < length; ++k) {
      const double value = row[k] * scale;
      if (element == 1) {
        to[k] = numerics::quantize_u8(value, y.affine);
      } else {
        const float real = static_cast<float>(value);
        memcpy(to + 4 * k, &real, 4);
      }
    }
  }
  if (y.dtype == PITH_F32) activate_f32(op, run, run.write<float>(&y), y.count());
}

const char* check_gather(const Op& op) {
  const Tensor &x = *op.inputs[0], &indices = *op.inputs[1], &y = *op.outputs[0];
  const int32_t kind = op.ints[0], axis = op.ints[1], batch = op.ints[2];
  if (indices.dtype != PITH_I32) return "its indices aren't integers";
  if (x.dtype != y.dtype) return "its input and output have different data types";
  if (kind == 0) {
    if (axis < 0 || axis >= x.rank) return "its axis is out of range";
    if (y.count() != x.count_of(0, axis) * indices.count() * x.count_of(axis + 1, x.rank))
      return "its dimensions don't fit";
  } else if (kind == 1) {
    if (axis < 0 || axis >= x.rank || indices.rank != x.rank || y.count() != indices.count())
      return "its dimensions don't fit";
    for (int k = 0; k < x.rank; ++k) {
      if (k != axis && indices.dims[k] > x.dims[k]) return "its indices reach outside its input";
    }
  } else if (kind == 2) {
    if (batch < 0 || batch >= indices.rank || batch >= x.rank) return "its batch dimensions are out of range";
    const int32_t depth = indices.dims[indices.rank - 1];
    if (depth < 1 || batch + depth > x.rank) return "its index tuples are longer than its input's rank";
    for (int k = 0; k < batch; ++k) {
      if (indices.dims[k] != x.dims[k]) return "its batch dimensions don't fit";
    }
    if (y.count() != indices.count_of(0, indices.rank - 1) * x.count_of(batch + depth, x.rank))
      return "its dimensions don't fit";
  } else {
    return "its kind is unknown";
  }
  return x.count() == 0 ? "its input is empty" : nullptr;
}

const char* check_scatter(const Op& op) {
  const Tensor &x = *op.inputs[0], &indices = *op.inputs[1], &updates = *op.inputs[2], &y = *op.outputs[0];
  const int32_t kind = op.ints[0], axis = op.ints[1];
  if (indices.dtype != PITH_I32) return "its indices aren't integers";
  if (x.dtype != y.dtype || updates.dtype != y.dtype) return "its inputs and output have different data types";
  if (y.dtype == PITH_U8 && op.ints[2] != 0) return "its 8-bit form can't reduce; the compiler should convert to float";
  if (x.count() != y.count() || op.ints[2] < 0 || op.ints[2] > 4) return "its parameters don't fit";
  if (kind == 1) {
    if (axis < 0 || axis >= x.rank || indices.rank != x.rank || updates.count() != indices.count())
      return "its dimensions don't fit";
    for (int k = 0; k < x.rank; ++k) {
      if (k != axis && indices.dims[k] > x.dims[k]) return "its indices reach outside its output";
    }
  } else if (kind == 2) {
    const int32_t depth = indices.rank > 0 ? indices.dims[indices.rank - 1] : 0;
    if (depth < 1 || depth > x.rank) return "its index tuples are longer than its output's rank";
    if (updates.count() != indices.count_of(0, indices.rank - 1) * x.count_of(depth, x.rank))
      return "its dimensions don't fit";
  } else {
    return "its kind is unknown";
  }
  return x.count() == 0 ? "its input is empty" : nullptr;
}

template <typename T>
T reduce(int32_t reduction, T old, T update) {
  switch (reduction) {
    case 1:
      return old + update;
    case 2:
      return old * update;
    case 3:
      return old > update ? old : update;
    case 4:
      return old < update ? old : update;
    default:
      return update;
  }
}

// Integers wrap around.
int32_t reduce(int32_t reduction, int32_t old, int32_t update) {
  if (reduction == 1 || reduction == 2) {
    return static_cast<int32_t>(reduce(reduction, static_cast<uint32_t>(old), static_cast<uint32_t>(update)));
  }
  return reduce<int32_t>(reduction, old, update);
}

template <typename T>
void scatter(const Op& op, const Run& run, const uint8_t* update_table) {
  const Tensor &indices = *op.inputs[1], &updates = *op.inputs[2], &y = *op.outputs[0];
  const int32_t* index = run.read<int32_t>(&indices);
  const T* from = run.read<T>(&updates);
  T* to = run.write<T>(&y);
  const auto place = [&](T& old, T update) {
    if constexpr (sizeof(T) == 1) {
      old = update_table != nullptr ? update_table[update] : update;
    } else {
      old = reduce(op.ints[2], old, update);
    }
  };
  if (op.ints[0] == 1) {
    const int32_t axis = op.ints[1];
    for (int64_t i = 0; i < indices.count(); ++i) {
      place(to[element_offset(indices, y, i, axis, table_row(index[i], y.dims[axis]))], from[i]);
    }
    return;
  }
  const int32_t depth = indices.dims[indices.rank - 1];
  const int64_t slice = y.count_of(depth, y.rank), tuples = indices.count_of(0, indices.rank - 1);
  for (int64_t i = 0; i < tuples; ++i) {
    T* at = to + slice_offset(y, index + i * depth, depth, 0);
    for (int64_t k = 0; k < slice; ++k) place(at[k], from[i * slice + k]);
  }
}

}  // namespace

const char* prepare_Gather(Builder& builder, Op& op) {
  if (is_table(op)) return prepare_table(builder, op);
  if (const char* reason = decode_constants(builder, op)) return reason;
  if (const char* reason = check_gather(op)) return reason;
  Plan plan{};
  if (op.outputs[0]->dtype == PITH_U8) {
    plan.table = moved_table(builder, op, op.inputs[0]->affine, *op.outputs[0]);
  } else if (op.outputs[0]->dtype == PITH_I32 && op.activation != numerics::Unary::kIdentity) {
    return "an activation on integers";
  }
  return store(builder, op, plan);
}

void run_Gather(const Op& op, const Run& run) {
  if (static_cast<const Plan*>(op.plan)->rows) return run_table(op, run, *static_cast<const Plan*>(op.plan));
  const Tensor &x = *op.inputs[0], &indices = *op.inputs[1], &y = *op.outputs[0];
  const uint8_t* table = static_cast<const Plan*>(op.plan)->table;
  const int32_t* index = run.read<int32_t>(&indices);
  const int64_t element = x.element_bytes();
  const uint8_t* from = run.read<uint8_t>(&x);
  uint8_t* to = run.write<uint8_t>(&y);
  const int32_t axis = op.ints[1], batch = op.ints[2];
  if (op.ints[0] == 0) {
    const int64_t outer = x.count_of(0, axis), n = indices.count(), slice = x.count_of(axis + 1, x.rank);
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < n; ++i) {
        const int64_t source = (o * x.dims[axis] + table_row(index[i], x.dims[axis])) * slice;
        move(run, table, element, from + source * element, to + (o * n + i) * slice * element, slice);
      }
    }
  } else if (op.ints[0] == 1) {
    for (int64_t i = 0; i < indices.count(); ++i) {
      const int64_t source = element_offset(indices, x, i, axis, table_row(index[i], x.dims[axis]));
      move(run, table, element, from + source * element, to + i * element, 1);
    }
  } else {
    const int32_t depth = indices.dims[indices.rank - 1];
    const int64_t slice = x.count_of(batch + depth, x.rank), tuples = indices.count_of(0, indices.rank - 1);
    const int64_t per_batch = indices.count_of(batch, indices.rank - 1), batch_stride = x.count_of(batch, x.rank);
    for (int64_t i = 0; i < tuples; ++i) {
      const int64_t source = i / per_batch * batch_stride + slice_offset(x, index + i * depth, depth, batch);
      move(run, table, element, from + source * element, to + i * slice * element, slice);
    }
  }
  if (y.dtype == PITH_F32) activate_f32(op, run, run.write<float>(&y), y.count());
}

const char* prepare_Scatter(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  if (const char* reason = check_scatter(op)) return reason;
  Plan plan{};
  const Tensor& y = *op.outputs[0];
  if (y.dtype == PITH_U8) {
    plan.table = moved_table(builder, op, op.inputs[0]->affine, y);
    plan.update_table = moved_table(builder, op, op.inputs[2]->affine, y);
  } else if (y.dtype == PITH_I32 && op.activation != numerics::Unary::kIdentity) {
    return "an activation on integers";
  }
  return store(builder, op, plan);
}

void run_Scatter(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const Plan& plan = *static_cast<const Plan*>(op.plan);
  move(run, plan.table, y.element_bytes(), run.read<uint8_t>(&x), run.write<uint8_t>(&y), y.count());
  if (y.dtype == PITH_U8) return scatter<uint8_t>(op, run, plan.update_table);
  if (y.dtype == PITH_I32) return scatter<int32_t>(op, run, nullptr);
  scatter<float>(op, run, nullptr);
  activate_f32(op, run, run.write<float>(&y), y.count());
}

const char* prepare_OneHot(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const int32_t axis = op.ints[0], depth = op.ints[1];
  if (x.dtype != PITH_I32 && x.dtype != PITH_F32) return "its indices are 8-bit";
  if (y.rank != x.rank + 1 || axis < 0 || axis >= y.rank || y.dims[axis] != depth) return "its dimensions don't fit";
  if (y.count() != x.count() * depth || x.count_of(0, axis) != y.count_of(0, axis)) return "its dimensions don't fit";
  return op.activation != numerics::Unary::kIdentity ? "an activation on a one-hot code" : nullptr;
}

void run_OneHot(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const int64_t depth = op.ints[1], inner = x.count_of(op.ints[0], x.rank), outer = x.count_of(0, op.ints[0]);
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      double index = x.dtype == PITH_I32 ? run.read<int32_t>(&x)[o * inner + i]
                                         : numerics::floor(run.read<float>(&x)[o * inner + i]);
      if (index < 0) index += static_cast<double>(depth);
      for (int64_t d = 0; d < depth; ++d) {
        const float value = static_cast<double>(d) == index ? op.reals[0] : op.reals[1];
        const int64_t at = (o * depth + d) * inner + i;
        if (y.dtype == PITH_F32) {
          run.write<float>(&y)[at] = value;
        } else if (y.dtype == PITH_I32) {
          run.write<int32_t>(&y)[at] = static_cast<int32_t>(value);
        } else {
          run.write<uint8_t>(&y)[at] = numerics::quantize_u8(value, y.affine);
        }
      }
    }
  }
}

const char* prepare_ReverseSequence(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &lengths = *op.inputs[1], &y = *op.outputs[0];
  const int32_t batch = op.ints[0], time = op.ints[1];
  if (x.dtype != y.dtype || x.count() != y.count() || lengths.dtype != PITH_I32)
    return "its operands' data types or sizes don't fit";
  if (batch < 0 || time < 0 || batch > 1 || time > 1 || batch == time || x.rank < 2) return "its axes must be 0 and 1";
  if (lengths.count() != x.dims[batch]) return "it needs one length for each sequence";
  Plan plan{};
  if (y.dtype == PITH_U8) {
    plan.table = moved_table(builder, op, x.affine, y);
  } else if (op.activation != numerics::Unary::kIdentity) {
    return "an activation on moved floats or integers";
  }
  return store(builder, op, plan);
}

void run_ReverseSequence(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const int32_t batch = op.ints[0], time = op.ints[1];
  const uint8_t* table = static_cast<const Plan*>(op.plan)->table;
  const int64_t slice = x.count_of(2, x.rank), element = x.element_bytes();
  for (int64_t i = 0; i < x.dims[0]; ++i) {
    for (int64_t j = 0; j < x.dims[1]; ++j) {
      const int64_t b = batch == 0 ? i : j, t = batch == 0 ? j : i;
      int64_t length = run.read<int32_t>(op.inputs[1])[b];
      if (length > x.dims[time]) length = x.dims[time];
      const int64_t from = t < length ? length - 1 - t : t;
      const int64_t source = batch == 0 ? i * x.dims[1] + from : from * x.dims[1] + j;
      move(run, table, element, run.read<uint8_t>(&x) + source * slice * element,
           run.write<uint8_t>(&y) + (i * x.dims[1] + j) * slice * element, slice);
    }
  }
}

}  // namespace pith::runtime
