// Depthwise rows with vpdpbusd: 64 channels at a time, four rows of the kernel in one product of four.
//
// The bytes of up to four input rows are interleaved, so that each 32-bit lane holds one channel's column; a column is
// interleaved once into a small buffer and used by every output that sees it. Unpacking works within 128-bit lanes and
// packing undoes exactly that, so channels come out in order (kernels.h describes the packed weights).
#include "runtime/kernels/x86/avx512.h"

namespace pith::runtime {
namespace {

constexpr int kChannels = 64;
constexpr int kSlots = 64;  // interleaved (column, quad) groups in the buffer: 16 KB

PITH_AVX512_INLINE void interleave(const DepthwiseU8& r, int32_t ix, int32_t quad, int32_t channel, __m512i pad, __m512i (&v)[4]) {
  __m512i row[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const int32_t ky = 4 * quad + k;
    row[k] = pad;
    if (ky < r.kernel_h && r.rows[ky] != nullptr && ix >= 0 && ix < r.in_w) {
      row[k] = _mm512_loadu_si512(r.rows[ky] + int64_t{ix} * r.stride_c + channel);
    }
  }
  const __m512i a = _mm512_unpacklo_epi8(row[0], row[1]), b = _mm512_unpackhi_epi8(row[0], row[1]);
  const __m512i c = _mm512_unpacklo_epi8(row[2], row[3]), d = _mm512_unpackhi_epi8(row[2], row[3]);
  v[0] = _mm512_unpacklo_epi16(a, c);
  v[1] = _mm512_unpackhi_epi16(a, c);
  v[2] = _mm512_unpacklo_epi16(b, d);
  v[3] = _mm512_unpackhi_epi16(b, d);
}

struct Block {
  const int8_t* weights;
  const int32_t* bias;
  Requantizer512 requantizers[4];
  Epilogue512 epilogue;
  __mmask64 mask;
  bool narrow;
};

PITH_AVX512_INLINE void store(const Block& b, const __m512i (&acc)[4], uint8_t* y) {
  __m512i v[4];
#pragma GCC unroll 4
  for (int p = 0; p < 4; ++p) {
    v[p] = b.narrow ? requantize_narrow(acc[p], b.requantizers[p]) : requantize_wide(acc[p], b.requantizers[p]);
  }
  __m512i bytes = to_bytes(v[0], v[1], v[2], v[3], b.epilogue);
  if (b.epilogue.has_table) bytes = look_up(bytes, load_table(b.epilogue.table));
  _mm512_mask_storeu_epi8(y, b.mask, bytes);
}

// Outputs [begin, end) from buffered columns; kWidth columns of one quad, or any when kWidth is 0.
template <int kWidth>
PITH_AVX512 void outputs(const DepthwiseU8& r, const Block& b, const __m512i* slots, int32_t begin, int32_t end, uint8_t* y) {
  const int32_t quads = kWidth != 0 ? 1 : (r.kernel_h + 3) / 4, width = kWidth != 0 ? kWidth : r.kernel_w;
  const int32_t dilation = kWidth != 0 ? 1 : r.dilation_w;
  for (int32_t out = begin; out < end; ++out, slots += int64_t{r.stride_w} * quads * 4, y += r.stride_c) {
    __m512i acc[4];
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) acc[p] = _mm512_loadu_si512(b.bias + 16 * p);
    const int8_t* w = b.weights;
#pragma GCC unroll 5
    for (int32_t kx = 0; kx < width; ++kx) {
      for (int32_t q = 0; q < quads; ++q, w += 4 * kChannels) {
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
          acc[p] = _mm512_dpbusd_epi32(acc[p], slots[(kx * dilation * quads + q) * 4 + p], _mm512_loadu_si512(w + kChannels * p));
        }
      }
    }
    store(b, acc, y);
  }
}

// Kernels that don't fit the buffer: every column anew.
PITH_AVX512 void outputs_direct(const DepthwiseU8& r, const Block& b, int32_t channel, __m512i pad) {
  const int32_t quads = (r.kernel_h + 3) / 4;
  for (int32_t out = r.out_begin; out < r.out_end; ++out) {
    __m512i acc[4];
    for (int p = 0; p < 4; ++p) acc[p] = _mm512_loadu_si512(b.bias + 16 * p);
    const int8_t* w = b.weights;
    for (int32_t kx = 0; kx < r.kernel_w; ++kx) {
      for (int32_t q = 0; q < quads; ++q, w += 4 * kChannels) {
        __m512i v[4];
        interleave(r, out * r.stride_w + kx * r.dilation_w - r.pad_left, q, channel, pad, v);
        for (int p = 0; p < 4; ++p) acc[p] = _mm512_dpbusd_epi32(acc[p], v[p], _mm512_loadu_si512(w + kChannels * p));
      }
    }
    store(b, acc, r.y + int64_t{out} * r.stride_c + channel);
  }
}

PITH_AVX512 void outputs_buffered(const DepthwiseU8& r, const Block& b, int32_t channel, __m512i pad) {
  const int32_t quads = (r.kernel_h + 3) / 4, reach = (r.kernel_w - 1) * r.dilation_w + 1;
  const int32_t columns = kSlots / quads, most = (columns - reach) / r.stride_w + 1;
  __m512i slots[kSlots * 4];
  for (int32_t begin = r.out_begin; begin < r.out_end; begin += most) {
    const int32_t end = r.out_end - begin < most ? r.out_end : begin + most;
    const int32_t first = begin * r.stride_w - r.pad_left, needed = (end - 1 - begin) * r.stride_w + reach;
    for (int32_t i = 0; i < needed; ++i) {
      for (int32_t q = 0; q < quads; ++q) {
        __m512i v[4];
        interleave(r, first + i, q, channel, pad, v);
        for (int p = 0; p < 4; ++p) slots[(i * quads + q) * 4 + p] = v[p];
      }
    }
    uint8_t* y = r.y + int64_t{begin} * r.stride_c + channel;
    if (r.kernel_w == 3 && quads == 1 && r.dilation_w == 1) {
      outputs<3>(r, b, slots, begin, end, y);
    } else {
      outputs<0>(r, b, slots, begin, end, y);
    }
  }
}

}  // namespace

PITH_AVX512 void depthwise_u8_avx512(const DepthwiseU8& r) {
  const int32_t quads = (r.kernel_h + 3) / 4, reach = (r.kernel_w - 1) * r.dilation_w + 1;
  const __m512i pad = _mm512_set1_epi8(static_cast<char>(r.pad_value));
  Block b;
  b.narrow = r.narrow;
  b.epilogue = epilogue(r.epilogue);
  for (int32_t channel = 0; channel < r.channels; channel += kChannels) {
    b.weights = r.weights + int64_t{channel} * r.kernel_w * quads * 4;
    b.bias = r.bias + channel;
    b.mask = first_bytes(r.channels - channel);
    for (int p = 0; p < 4; ++p) b.requantizers[p] = requantizer(r.mantissa + channel + 16 * p, r.shift + channel + 16 * p);
    if (reach * quads <= kSlots) {
      outputs_buffered(r, b, channel, pad);
    } else {
      outputs_direct(r, b, channel, pad);
    }
  }
}

}  // namespace pith::runtime
