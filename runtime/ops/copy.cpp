// Copy: affine loops over elements. Joined dimensions become runs; runs of whole elements are memcpy, 8-bit codes with
// a change of meaning go through a table, and everything else is a strided loop.
#include <string.h>

#include "program/schema.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

struct Plan {
  int32_t rank;
  int64_t sizes[PITH_MAX_RANK], from[PITH_MAX_RANK], to[PITH_MAX_RANK];  // outer loops, then the run
  int64_t source_offset, target_offset;
  const uint8_t* table;
};

// Drops dimensions of one element and joins neighbours that advance together in source and target.
void join(Plan& p, const int32_t* v) {
  p.rank = 0;
  for (int32_t i = 0; i < v[format::kCopyRank]; ++i) {
    const int64_t size = v[format::kCopyExtents + i];
    const int64_t from = v[format::kCopySourceStrides + i], to = v[format::kCopyTargetStrides + i];
    if (size == 1) continue;
    const int32_t last = p.rank - 1;
    if (last >= 0 && p.from[last] == from * size && p.to[last] == to * size) {
      p.sizes[last] *= size;
      p.from[last] = from;
      p.to[last] = to;
      continue;
    }
    p.sizes[p.rank] = size, p.from[p.rank] = from, p.to[p.rank] = to;
    ++p.rank;
  }
  if (p.rank == 0) p.sizes[0] = 1, p.from[0] = 1, p.to[0] = 1, p.rank = 1;
}

const char* check_bounds(const Plan& p, int64_t source_count, int64_t target_count) {
  int64_t low_s = p.source_offset, high_s = low_s, low_t = p.target_offset, high_t = low_t;
  for (int32_t i = 0; i < p.rank; ++i) {
    (p.from[i] < 0 ? low_s : high_s) += (p.sizes[i] - 1) * p.from[i];
    (p.to[i] < 0 ? low_t : high_t) += (p.sizes[i] - 1) * p.to[i];
  }
  if (low_s < 0 || high_s >= source_count) return "it reads outside its input";
  if (low_t < 0 || high_t >= target_count) return "it writes outside its output";
  return nullptr;
}

template <typename T>
void copy_run(const T* x, T* y, int64_t n, int64_t from, int64_t to) {
  if (from == 1 && to == 1) {
    memmove(y, x, static_cast<size_t>(n) * sizeof(T));
  } else if (to == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i * from];
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * to] = x[i * from];
  }
}

void table_run(const Run& run, const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t n, int64_t from,
               int64_t to) {
  if (from == 1 && to == 1) return run.kernels.table_u8(x, y, n, table);
  for (int64_t i = 0; i < n; ++i) y[i * to] = table[x[i * from]];
}

// A plane of two dimensions where neither run is contiguous on both sides: square tiles, so that the lines of cache
// that the strided side touches are used whole.
template <typename T>
void transpose(const T* x, T* y, int64_t rows, int64_t columns, int64_t from_row, int64_t to_row, int64_t from,
               int64_t to) {
  constexpr int64_t kTile = 32;
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    const int64_t r1 = r0 + kTile < rows ? r0 + kTile : rows;
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      const int64_t c1 = c0 + kTile < columns ? c0 + kTile : columns;
      for (int64_t r = r0; r < r1; ++r) {
        for (int64_t c = c0; c < c1; ++c) y[r * to_row + c * to] = x[r * from_row + c * from];
      }
    }
  }
}

template <typename T>
void run_typed(const Plan& p, const Op& op, const Run& run) {
  const T* x = run.read<T>(op.inputs[0]) + p.source_offset;
  T* y = run.write<T>(op.outputs[0]) + p.target_offset;
  const int32_t last = p.rank - 1;
  const bool plane =
      p.rank >= 2 && p.table == nullptr && (p.from[last] != 1 || p.to[last] != 1) && p.sizes[last - 1] > 1;
  const int32_t outer = plane ? last - 1 : last;
  int64_t loops = 1;
  for (int32_t i = 0; i < outer; ++i) loops *= p.sizes[i];
  const int64_t work = p.sizes[last] * (plane ? p.sizes[last - 1] : 1);
  parallel(run.threads, loops, work >= 4096 ? 1 : 4096 / work, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t i = begin; i < end; ++i) {
      const T* source = x;
      T* target = y;
      int64_t rest = i;
      for (int32_t k = outer - 1; k >= 0; --k) {
        source += rest % p.sizes[k] * p.from[k];
        target += rest % p.sizes[k] * p.to[k];
        rest /= p.sizes[k];
      }
      if (plane) {
        transpose(source, target, p.sizes[last - 1], p.sizes[last], p.from[last - 1], p.to[last - 1], p.from[last],
                  p.to[last]);
      } else if constexpr (sizeof(T) == 1) {
        if (p.table != nullptr) {
          table_run(run, p.table, source, target, p.sizes[last], p.from[last], p.to[last]);
        } else {
          copy_run(source, target, p.sizes[last], p.from[last], p.to[last]);
        }
      } else {
        copy_run(source, target, p.sizes[last], p.from[last], p.to[last]);
      }
    }
  });
}

}  // namespace

const char* prepare_Copy(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  if (x.dtype != y.dtype) return "its input and output have different data types";
  if (op.ints[format::kCopyRank] < 0 || op.ints[format::kCopyRank] > PITH_MAX_RANK) return "its rank is out of range";
  int64_t elements = 1;
  for (int32_t i = 0; i < op.ints[format::kCopyRank]; ++i) {
    const int64_t extent = op.ints[format::kCopyExtents + i];
    if (extent < 1 || elements > INT32_MAX / extent) return "its extents are out of range";
    elements *= extent;
  }
  Plan plan{};
  join(plan, op.ints);
  plan.source_offset = op.ints[format::kCopySourceOffset];
  plan.target_offset = op.ints[format::kCopyTargetOffset];
  if (const char* reason = check_bounds(plan, x.count(), y.count())) return reason;
  if (y.dtype == PITH_U8) {
    plan.table = moved_table(builder, op, x.affine, y);
  } else if (op.activation != numerics::Unary::kIdentity) {
    return "an activation on a copy of floats or integers";
  }
  Plan* p = builder.plan<Plan>(op);
  if (p != nullptr) *p = plan;
  return nullptr;
}

void run_Copy(const Op& op, const Run& run) {
  const Plan& plan = *static_cast<const Plan*>(op.plan);
  if (op.outputs[0]->dtype == PITH_U8) return run_typed<uint8_t>(plan, op, run);
  run_typed<uint32_t>(plan, op, run);
}

}  // namespace pith::runtime
