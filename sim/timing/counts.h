// Events of an execution, counted: what energies multiply. One table for sums, printing and the per-layer CSV.
#pragma once

namespace pith::sim {

//   X(field, what it counts)
#define PITH_SIM_COUNTS(X)                                                                  \
  X(adds, "inputs into adder trees: weights other than zero x positions x passes")          \
  X(register_bits, "bits of input, weight and accumulator registers written in cores")      \
  X(toggled_adds, "the same, times how much they toggle")                                   \
  X(toggled_bits, "register bits, times how much they toggle")                              \
  X(toggled_bytes, "bytes on wires, times how much they toggle")                            \
  X(read_bytes, "read from memory banks")                                                   \
  X(write_bytes, "written to memory banks")                                                 \
  X(results, "accumulators that became 8-bit results")                                      \
  X(vector_ops, "8-bit elements through vector units")                                      \
  X(matmul_macs, "activation x activation products")                                        \
  X(float_ops, "float32 operations in vector units")                                        \
  X(cpu_cycles, "CPU cycles")                                                               \
  X(dma_bytes, "moved by DMA")                                                              \
  X(camera_bits, "received from cameras")                                                   \
  X(camera_pixels, "through camera pipelines")

struct Counts {
#define PITH_SIM_FIELD(field, what) double field = 0;
  PITH_SIM_COUNTS(PITH_SIM_FIELD)
#undef PITH_SIM_FIELD
  Counts& operator+=(const Counts& o) {
#define PITH_SIM_SUM(field, what) field += o.field;
    PITH_SIM_COUNTS(PITH_SIM_SUM)
#undef PITH_SIM_SUM
    return *this;
  }
  Counts times(double n) const {
    Counts c = *this;
#define PITH_SIM_SCALE(field, what) c.field *= n;
    PITH_SIM_COUNTS(PITH_SIM_SCALE)
#undef PITH_SIM_SCALE
    return c;
  }
};

}  // namespace pith::sim
