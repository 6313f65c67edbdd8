// Values of an input or output between the user's order (N,C,H,W, dense) and the arena's (N,H,W,C): all of it, or some rows.
#pragma once

#include "runtime/model.h"

namespace pith::runtime {

int64_t port_elements(const Port& port);

// Rows [row, row + height of `part`) of the port, in physical order at `data`; all of it: row 0, its own tensor. `values`
// are all of the port's, in logical order. dtype PITH_F32 converts (8-bit codes are quantised and dequantised, integers
// rounded towards zero); any other is the tensor's own and moves elements as they are.
void write_rows(const Kernels& kernels, const Port& port, const Tensor& part, int32_t row, uint8_t* data, const void* values, int32_t dtype);
void read_rows(const Kernels& kernels, const Port& port, const Tensor& part, int32_t row, const uint8_t* data, void* values, int32_t dtype);

}  // namespace pith::runtime
