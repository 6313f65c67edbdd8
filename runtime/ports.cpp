#include "runtime/ports.h"

#include <string.h>

namespace pith::runtime {
namespace {

constexpr int64_t kChunk = 256;

int64_t extent(const Port& port, int axis) {
  return axis == 1 && port.rows > 0 ? port.rows : port.tensor->dims[axis];
}

// Calls body(physical start, logical start, count, logical stride) for runs along the last physical axis of the part.
template <typename Body>
void each_run(const Port& port, const Tensor& part, int32_t row, const Body& body) {
  const int rank = part.rank;
  int64_t logical_dims[PITH_MAX_RANK], logical_strides[PITH_MAX_RANK], strides[PITH_MAX_RANK];
  for (int i = 0; i < rank; ++i) logical_dims[port.permutation[i]] = extent(port, i);
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    logical_strides[i] = stride;
    stride *= logical_dims[i];
  }
  for (int i = 0; i < rank; ++i) strides[i] = logical_strides[port.permutation[i]];
  const int64_t first = rank > 1 ? row * strides[1] : 0;
  const int64_t n = rank > 0 ? part.dims[rank - 1] : 1, step = rank > 0 ? strides[rank - 1] : 1;
  const int64_t runs = part.count() / n;
  for (int64_t r = 0; r < runs; ++r) {
    int64_t rest = r, logical = first;
    for (int i = rank - 2; i >= 0; --i) {
      logical += rest % part.dims[i] * strides[i];
      rest /= part.dims[i];
    }
    body(r * n, logical, n, step);
  }
}

int32_t toward_zero(float x) {
  return x != x ? 0 : x <= -2147483648.0f ? INT32_MIN : x >= 2147483648.0f ? INT32_MAX : static_cast<int32_t>(x);
}

void write_reals(const Kernels& kernels, const Port& port, const Tensor& part, int32_t row, uint8_t* data, const float* values) {
  each_run(port, part, row, [&](int64_t to, int64_t from, int64_t n, int64_t step) {
    float chunk[kChunk];
    for (int64_t i = 0; i < n; i += kChunk) {
      const int64_t m = n - i < kChunk ? n - i : kChunk;
      const float* source = values + from + i * step;
      if (step != 1) {
        for (int64_t k = 0; k < m; ++k) chunk[k] = source[k * step];
        source = chunk;
      }
      if (part.dtype == PITH_U8) {
        kernels.quantize_u8(source, data + to + i, m, part.affine);
      } else if (part.dtype == PITH_F32) {
        memcpy(data + (to + i) * 4, source, static_cast<size_t>(m) * 4);
      } else {
        int32_t* y = reinterpret_cast<int32_t*>(data) + to + i;
        for (int64_t k = 0; k < m; ++k) y[k] = toward_zero(source[k]);
      }
    }
  });
}

void read_reals(const Kernels& kernels, const Port& port, const Tensor& part, int32_t row, const uint8_t* data, float* values) {
  each_run(port, part, row, [&](int64_t from, int64_t to, int64_t n, int64_t step) {
    float chunk[kChunk];
    for (int64_t i = 0; i < n; i += kChunk) {
      const int64_t m = n - i < kChunk ? n - i : kChunk;
      float* target = step == 1 ? values + to + i : chunk;
      if (part.dtype == PITH_U8) {
        kernels.dequantize_u8(data + from + i, target, m, part.affine);
      } else if (part.dtype == PITH_F32) {
        memcpy(target, data + (from + i) * 4, static_cast<size_t>(m) * 4);
      } else {
        const int32_t* x = reinterpret_cast<const int32_t*>(data) + from + i;
        for (int64_t k = 0; k < m; ++k) target[k] = static_cast<float>(x[k]);
      }
      for (int64_t k = 0; k < m && step != 1; ++k) values[to + (i + k) * step] = chunk[k];
    }
  });
}

// Elements without conversion, in either direction.
template <bool kWrite, typename T>
void move_elements(const Port& port, const Tensor& part, int32_t row, T* physical, T* logical) {
  each_run(port, part, row, [&](int64_t at, int64_t user, int64_t n, int64_t step) {
    for (int64_t k = 0; k < n; ++k) {
      if constexpr (kWrite) {
        physical[at + k] = logical[user + k * step];
      } else {
        logical[user + k * step] = physical[at + k];
      }
    }
  });
}

}  // namespace

int64_t port_elements(const Port& port) {
  int64_t n = 1;
  for (int i = 0; i < port.tensor->rank; ++i) n *= extent(port, i);
  return n;
}

void write_rows(const Kernels& kernels, const Port& port, const Tensor& part, int32_t row, uint8_t* data, const void* values, int32_t dtype) {
  if (dtype == PITH_F32) return write_reals(kernels, port, part, row, data, static_cast<const float*>(values));
  if (dtype == PITH_U8) return move_elements<true>(port, part, row, data, static_cast<uint8_t*>(const_cast<void*>(values)));
  move_elements<true>(port, part, row, reinterpret_cast<int32_t*>(data), static_cast<int32_t*>(const_cast<void*>(values)));
}

void read_rows(const Kernels& kernels, const Port& port, const Tensor& part, int32_t row, const uint8_t* data, void* values, int32_t dtype) {
  if (dtype == PITH_F32) return read_reals(kernels, port, part, row, data, static_cast<float*>(values));
  if (dtype == PITH_U8) return move_elements<false>(port, part, row, const_cast<uint8_t*>(data), static_cast<uint8_t*>(values));
  move_elements<false>(port, part, row, reinterpret_cast<int32_t*>(const_cast<uint8_t*>(data)), static_cast<int32_t*>(values));
}

}  // namespace pith::runtime
