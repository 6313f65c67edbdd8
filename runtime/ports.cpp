#include "runtime/ports.h"

#include <string.h>

namespace pith::runtime {
namespace {

constexpr int64_t kChunk = 256;

int64_t extent(const Port& port, int axis) {
  return axis == 1 && port.rows > 0 ? port.rows : port.tensor->dims[axis];
}

// Elements of the part that lie evenly in both orders.
struct Line {
  int64_t physical, physical_step, logical, logical_step, count;
};

// Calls body(line) until all of the part is covered. Lines go along the last physical axis, or, where the user's order
// scatters that, along the axis that the user has last, if it is longer: a picture's rows, rather than a pixel's channels.
template <typename Body>
void each_line(const Port& port, const Tensor& part, int32_t row, const Body& body) {
  const int rank = part.rank;
  int64_t logical_dims[PITH_MAX_RANK], logical_strides[PITH_MAX_RANK], strides[PITH_MAX_RANK], steps[PITH_MAX_RANK];
  for (int i = 0; i < rank; ++i) logical_dims[port.permutation[i]] = extent(port, i);
  int64_t stride = 1, step = 1;
  for (int i = rank - 1; i >= 0; --i) {
    logical_strides[i] = stride;
    stride *= logical_dims[i];
    steps[i] = step;
    step *= part.dims[i];
  }
  for (int i = 0; i < rank; ++i) strides[i] = logical_strides[port.permutation[i]];
  int along = rank - 1;
  for (int i = 0; i < rank && strides[rank - 1] != 1; ++i) {
    if (strides[i] == 1 && part.dims[i] > part.dims[rank - 1]) along = i;
  }
  Line line{0, 1, 0, 1, 1};
  if (rank > 0) line = {0, steps[along], 0, strides[along], part.dims[along]};
  const int64_t first = rank > 1 ? row * strides[1] : 0, lines = part.count() / line.count;
  for (int64_t r = 0; r < lines; ++r) {
    int64_t rest = r;
    line.physical = 0, line.logical = first;
    for (int i = rank - 1; i >= 0; --i) {
      if (i == along) continue;
      line.physical += rest % part.dims[i] * steps[i];
      line.logical += rest % part.dims[i] * strides[i];
      rest /= part.dims[i];
    }
    body(line);
  }
}

// n elements with strides, through plain loops.
template <typename T>
void move(T* to, int64_t to_step, const T* from, int64_t from_step, int64_t n) {
  if (to_step == 1 && from_step == 1) {
    memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
  } else {
    for (int64_t k = 0; k < n; ++k) to[k * to_step] = from[k * from_step];
  }
}

int32_t toward_zero(float x) {
  return x != x ? 0 : x <= -2147483648.0f ? INT32_MIN : x >= 2147483648.0f ? INT32_MAX : static_cast<int32_t>(x);
}

void write_reals(const Kernels& kernels, const Port& port, const Tensor& part, int32_t row, uint8_t* data, const float* values) {
  each_line(port, part, row, [&](const Line& line) {
    float gathered[kChunk];
    uint8_t codes[kChunk];
    for (int64_t i = 0; i < line.count; i += kChunk) {
      const int64_t m = line.count - i < kChunk ? line.count - i : kChunk, to = line.physical + i * line.physical_step;
      const float* source = values + line.logical + i * line.logical_step;
      if (part.dtype == PITH_F32) {
        move(reinterpret_cast<float*>(data) + to, line.physical_step, source, line.logical_step, m);
      } else if (part.dtype == PITH_I32) {
        int32_t* y = reinterpret_cast<int32_t*>(data) + to;
        for (int64_t k = 0; k < m; ++k) y[k * line.physical_step] = toward_zero(source[k * line.logical_step]);
      } else {
        if (line.logical_step != 1) {
          move(gathered, 1, source, line.logical_step, m);
          source = gathered;
        }
        kernels.quantize_u8(source, line.physical_step == 1 ? data + to : codes, m, part.affine);
        if (line.physical_step != 1) move(data + to, line.physical_step, codes, 1, m);
      }
    }
  });
}

void read_reals(const Kernels& kernels, const Port& port, const Tensor& part, int32_t row, const uint8_t* data, float* values) {
  each_line(port, part, row, [&](const Line& line) {
    float reals[kChunk];
    uint8_t codes[kChunk];
    for (int64_t i = 0; i < line.count; i += kChunk) {
      const int64_t m = line.count - i < kChunk ? line.count - i : kChunk, from = line.physical + i * line.physical_step;
      float* target = values + line.logical + i * line.logical_step;
      if (part.dtype == PITH_F32) {
        move(target, line.logical_step, reinterpret_cast<const float*>(data) + from, line.physical_step, m);
      } else if (part.dtype == PITH_I32) {
        const int32_t* x = reinterpret_cast<const int32_t*>(data) + from;
        for (int64_t k = 0; k < m; ++k) target[k * line.logical_step] = static_cast<float>(x[k * line.physical_step]);
      } else {
        if (line.physical_step != 1) move(codes, 1, data + from, line.physical_step, m);
        kernels.dequantize_u8(line.physical_step == 1 ? data + from : codes, line.logical_step == 1 ? target : reals, m, part.affine);
        if (line.logical_step != 1) move(target, line.logical_step, reals, 1, m);
      }
    }
  });
}

// Elements without conversion, in either direction.
template <bool kWrite, typename T>
void move_elements(const Port& port, const Tensor& part, int32_t row, T* physical, T* logical) {
  each_line(port, part, row, [&](const Line& line) {
    if constexpr (kWrite) {
      move(physical + line.physical, line.physical_step, logical + line.logical, line.logical_step, line.count);
    } else {
      move(logical + line.logical, line.logical_step, physical + line.physical, line.physical_step, line.count);
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
