// Element-wise loops over broadcast operands, as runs: the innermost dimensions are joined as far as they lie one after
// the other in every operand, so that kernels see long runs whose operands advance by 0 or 1.
#pragma once

#include "runtime/ops/ops.h"

namespace pith::runtime {

template <int kOperands>
struct Broadcast {
  int32_t rank = 0;  // of the outer loops
  int64_t sizes[PITH_MAX_RANK] = {};
  int64_t strides[kOperands][PITH_MAX_RANK] = {};
  int64_t run = 1;               // elements of a run
  bool repeats[kOperands] = {};  // the operand's element stays the same within a run
  int64_t runs = 1;

  // Operands must have y's rank, and each dimension y's or 1; otherwise false.
  bool plan(const Tensor& y, const Tensor* const* operands) {
    int64_t strides_of[kOperands][PITH_MAX_RANK];
    for (int o = 0; o < kOperands; ++o) {
      const Tensor& t = *operands[o];
      if (t.rank != y.rank) return false;
      int64_t stride = 1;
      for (int i = t.rank - 1; i >= 0; --i) {
        if (t.dims[i] != y.dims[i] && t.dims[i] != 1) return false;
        strides_of[o][i] = t.dims[i] == 1 ? 0 : stride;
        stride *= t.dims[i];
      }
    }
    int i = y.rank - 1;
    while (i >= 0 && y.dims[i] == 1) --i;
    if (i >= 0) {
      for (int o = 0; o < kOperands; ++o) repeats[o] = strides_of[o][i] == 0;
      for (; i >= 0; --i) {
        bool joins = true;
        for (int o = 0; o < kOperands; ++o) {
          if (y.dims[i] != 1 && strides_of[o][i] != (repeats[o] ? 0 : run)) joins = false;
        }
        if (!joins) break;
        run *= y.dims[i];
      }
    }
    for (int k = 0; k <= i; ++k) {
      if (y.dims[k] == 1) continue;
      sizes[rank] = y.dims[k];
      for (int o = 0; o < kOperands; ++o) strides[o][rank] = strides_of[o][k];
      runs *= y.dims[k];
      ++rank;
    }
    return true;
  }

  // Where run `index` begins in each operand, elements.
  void locate(int64_t index, int64_t (&offsets)[kOperands]) const {
    for (int o = 0; o < kOperands; ++o) offsets[o] = 0;
    for (int k = rank - 1; k >= 0; --k) {
      const int64_t at = index % sizes[k];
      index /= sizes[k];
      for (int o = 0; o < kOperands; ++o) offsets[o] += at * strides[o][k];
    }
  }

  // body(offsets of the operands, offset in y, count) over pieces of runs, shared over threads.
  template <typename Body>
  void each(const Threads& threads, const Body& body) const {
    const int64_t grain = run >= 4096 ? 1 : 4096 / run;
    if (runs >= threads.count * int64_t{4}) {
      parallel(threads, runs, grain, [&](int64_t begin, int64_t end, int32_t) { some_runs(begin, end, body); });
    } else {
      parallel(threads, run, 4096, [&](int64_t begin, int64_t end, int32_t) {
        for (int64_t r = 0; r < runs; ++r) piece(r, begin, end, body);
      });
    }
  }

 private:
  // Whole runs begin..end-1; from one to the next the loops count up, since divisions would take longer than short runs.
  template <typename Body>
  void some_runs(int64_t begin, int64_t end, const Body& body) const {
    int64_t offsets[kOperands], at[PITH_MAX_RANK];
    locate(begin, offsets);
    for (int64_t k = rank - 1, index = begin; k >= 0; index /= sizes[k], --k) at[k] = index % sizes[k];
    for (int64_t r = begin; r < end; ++r) {
      body(offsets, r * run, run);
      for (int32_t k = rank - 1; k >= 0; --k) {
        for (int o = 0; o < kOperands; ++o) offsets[o] += strides[o][k];
        if (++at[k] < sizes[k]) break;
        at[k] = 0;
        for (int o = 0; o < kOperands; ++o) offsets[o] -= strides[o][k] * sizes[k];
      }
    }
  }

  template <typename Body>
  void piece(int64_t index, int64_t begin, int64_t end, const Body& body) const {
    int64_t offsets[kOperands];
    locate(index, offsets);
    for (int o = 0; o < kOperands; ++o) offsets[o] += repeats[o] ? 0 : begin;
    body(offsets, index * run + begin, end - begin);
  }
};

}  // namespace pith::runtime
