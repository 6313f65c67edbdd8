// RowsIn and RowsOut: rows of a port that lies nowhere whole, from the caller or to it.
#include "runtime/ops/ops.h"
#include "runtime/ports.h"

namespace pith::runtime {
namespace {

const char* check_rows(const Port& port, const Tensor& part) {
  const Tensor& whole = *port.tensor;
  if (whole.rank != 4 || part.rank != 4 || whole.dims[0] != 1 || part.dims[0] != 1 || whole.dims[2] != part.dims[2] ||
      whole.dims[3] != part.dims[3])
    return "its rows aren't those of its input or output";
  if (whole.dtype != part.dtype || whole.affine != part.affine) return "its rows have another meaning than its port";
  if (int64_t{port.rows} > INT32_MAX / (int64_t{whole.dims[2]} * whole.dims[3])) return "its port is too large";
  return nullptr;
}

}  // namespace

const char* prepare_RowsIn(Builder& builder, Op& op) {
  return check_rows(builder.model.inputs[op.ints[0]], *op.outputs[0]);
}

void run_RowsIn(const Op& op, const Run& run) {
  const Tensor& part = *op.outputs[0];
  const RowEnd& end = run.sources[op.ints[0]];
  uint8_t* data = run.write<uint8_t>(&part);
  if (end.function != nullptr) {
    end.function(end.context, op.ints[0], op.ints[1], part.dims[1], data);
  } else {
    write_rows(run.kernels, run.model.inputs[op.ints[0]], part, op.ints[1], data, end.values, end.dtype);
  }
}

const char* prepare_RowsOut(Builder& builder, Op& op) {
  return check_rows(builder.model.outputs[op.ints[0]], *op.inputs[0]);
}

void run_RowsOut(const Op& op, const Run& run) {
  const Tensor& part = *op.inputs[0];
  const RowEnd& end = run.sinks[op.ints[0]];
  end.function(end.context, op.ints[0], op.ints[1], part.dims[1], run.write<uint8_t>(&part));
}

}  // namespace pith::runtime
