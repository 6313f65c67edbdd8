// Depthwise rows with vpdpbusd: 64 channels at a time, four rows of the kernel in one product of four.
//
// The bytes of up to four input rows are interleaved, so that each 32-bit lane holds one channel's column; a column is
// interleaved once into a small buffer and used by every output that sees it. Unpacking works within 128-bit lanes and
// packing undoes exactly that, so channels come out in order (kernels.h describes the packed weights).
#include <string.h>

#include "runtime/kernels/x86/avx512.h"

namespace pith::runtime {
namespace {

constexpr int kChannels = 64;
constexpr int kSlots = 64;  // interleaved (column, quad) groups in the buffer: 16 KB

// Four rows of one block of channels: where column 0 lies, and how far apart columns are (0 for a row of padding).
struct Rows {
  const uint8_t* at[4];
  int64_t stride[4];
};
PITH_AVX512_INLINE Rows rows_of(const DepthwiseU8& r, int32_t quad, int32_t channel, const uint8_t* pad) {
  Rows rows;
  for (int k = 0; k < 4; ++k) {
    const int32_t ky = 4 * quad + k;
    const bool inside = ky < r.kernel_h && r.rows[ky] != nullptr;
    rows.at[k] = inside ? r.rows[ky] + channel : pad;
    rows.stride[k] = inside ? r.stride_c : 0;
  }
  return rows;
}
PITH_AVX512_INLINE void interleave(const uint8_t* r0, const uint8_t* r1, const uint8_t* r2, const uint8_t* r3,
                                   __m512i* v) {
  const __m512i x0 = _mm512_loadu_si512(r0), x1 = _mm512_loadu_si512(r1), x2 = _mm512_loadu_si512(r2),
                x3 = _mm512_loadu_si512(r3);
  const __m512i a = _mm512_unpacklo_epi8(x0, x1), b = _mm512_unpackhi_epi8(x0, x1);
  const __m512i c = _mm512_unpacklo_epi8(x2, x3), d = _mm512_unpackhi_epi8(x2, x3);
  v[0] = _mm512_unpacklo_epi16(a, c);
  v[1] = _mm512_unpackhi_epi16(a, c);
  v[2] = _mm512_unpacklo_epi16(b, d);
  v[3] = _mm512_unpackhi_epi16(b, d);
}

// Columns [first, first + count) of one quad, to every `step` vectors of `slots`.
__attribute__((noinline)) PITH_AVX512 void fill(const Rows& rows, int32_t first, int32_t count, int32_t in_w,
                                                const uint8_t* pad, __m512i* slots, int32_t step) {
  int32_t i = 0;
  for (; i < count && first + i < 0; ++i, slots += step) interleave(pad, pad, pad, pad, slots);
  const uint8_t *r0 = rows.at[0] + (first + i) * rows.stride[0], *r1 = rows.at[1] + (first + i) * rows.stride[1];
  const uint8_t *r2 = rows.at[2] + (first + i) * rows.stride[2], *r3 = rows.at[3] + (first + i) * rows.stride[3];
  for (; i < count && first + i < in_w; ++i, slots += step) {
    interleave(r0, r1, r2, r3, slots);
    r0 += rows.stride[0], r1 += rows.stride[1], r2 += rows.stride[2], r3 += rows.stride[3];
  }
  for (; i < count; ++i, slots += step) interleave(pad, pad, pad, pad, slots);
}

struct Block {
  const int8_t* weights;
  const int32_t *bias, *mantissa, *shift;
  const DepthwiseU8* row;
  __mmask64 mask;
};

struct Finisher {
  Requantizer512 requantizers[4];
  Epilogue512 epilogue;
};
PITH_AVX512_INLINE Finisher finisher(const Block& b) {
  Finisher f;
  for (int p = 0; p < 4; ++p) f.requantizers[p] = requantizer(b.mantissa + 16 * p, b.shift + 16 * p);
  f.epilogue = epilogue(b.row->epilogue);
  return f;
}
PITH_AVX512_INLINE void store(const Block& b, const Finisher& f, const __m512i (&v)[4], uint8_t* y) {
  __m512i bytes = to_bytes(v[0], v[1], v[2], v[3], f.epilogue);
  if (f.epilogue.has_table) bytes = look_up(bytes, load_table(f.epilogue.table));
  _mm512_mask_storeu_epi8(y, b.mask, bytes);
}
PITH_AVX512_INLINE void store_narrow(const Block& b, const Finisher& f, const __m512i (&acc)[4], uint8_t* y) {
  __m512i v[4];
#pragma GCC unroll 4
  for (int p = 0; p < 4; ++p) v[p] = requantize_narrow(acc[p], f.requantizers[p]);
  store(b, f, v, y);
}
// The rare channel with a factor above 1/4.
__attribute__((noinline)) PITH_AVX512 void store_wide(const Block& b, const __m512i* acc, uint8_t* y) {
  const Finisher f = finisher(b);
  __m512i v[4];
  for (int p = 0; p < 4; ++p) v[p] = requantize_wide(acc[p], f.requantizers[p]);
  store(b, f, v, y);
}

// Outputs [begin, end) from buffered columns. kWidth: columns of one quad without dilation, or 0 for any kernel.
template <int kWidth, bool kNarrow>
__attribute__((noinline)) PITH_AVX512 void outputs(const Block& b, const __m512i* slots, int32_t begin, int32_t end,
                                                   uint8_t* y) {
  const DepthwiseU8& r = *b.row;
  const int32_t quads = kWidth != 0 ? 1 : (r.kernel_h + 3) / 4, width = kWidth != 0 ? kWidth : r.kernel_w;
  const int64_t column = kWidth != 0 ? 4 : int64_t{r.dilation_w} * quads * 4, step = int64_t{r.stride_w} * quads * 4;
  const int64_t y_step = r.stride_c;
  const Finisher f = finisher(b);
  for (int32_t out = begin; out < end; ++out, slots += step, y += y_step) {
    __m512i acc[4];
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) acc[p] = _mm512_loadu_si512(b.bias + 16 * p);
    const int8_t* w = b.weights;
#pragma GCC unroll 5
    for (int32_t kx = 0; kx < width; ++kx) {
      for (int32_t q = 0; q < quads; ++q, w += 4 * kChannels) {
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
          acc[p] = _mm512_dpbusd_epi32(acc[p], slots[kx * column + q * 4 + p], _mm512_loadu_si512(w + kChannels * p));
        }
      }
    }
    if (kNarrow) {
      store_narrow(b, f, acc, y);
    } else {
      const __m512i copy[4] = {acc[0], acc[1], acc[2], acc[3]};
      store_wide(b, copy, y);
    }
  }
}

void run_outputs(const Block& b, const __m512i* slots, int32_t begin, int32_t end, uint8_t* y) {
  const DepthwiseU8& r = *b.row;
  if (!r.narrow) return outputs<0, false>(b, slots, begin, end, y);
  if (r.kernel_w == 3 && r.kernel_h <= 4 && r.dilation_w == 1) return outputs<3, true>(b, slots, begin, end, y);
  outputs<0, true>(b, slots, begin, end, y);
}

// Kernels that don't fit the buffer: every column anew.
PITH_AVX512 void outputs_direct(const Block& b, int32_t channel, const uint8_t* pad) {
  const DepthwiseU8& r = *b.row;
  const int32_t quads = (r.kernel_h + 3) / 4;
  const Finisher f = finisher(b);
  for (int32_t out = r.out_begin; out < r.out_end; ++out) {
    __m512i acc[4];
    for (int p = 0; p < 4; ++p) acc[p] = _mm512_loadu_si512(b.bias + 16 * p);
    const int8_t* w = b.weights;
    for (int32_t kx = 0; kx < r.kernel_w; ++kx) {
      for (int32_t q = 0; q < quads; ++q, w += 4 * kChannels) {
        __m512i v[4];
        fill(rows_of(r, q, channel, pad), out * r.stride_w + kx * r.dilation_w - r.pad_left, 1, r.in_w, pad, v, 0);
        for (int p = 0; p < 4; ++p) acc[p] = _mm512_dpbusd_epi32(acc[p], v[p], _mm512_loadu_si512(w + kChannels * p));
      }
    }
    uint8_t* y = r.y + int64_t{out} * r.stride_c + channel;
    if (r.narrow) {
      store_narrow(b, f, acc, y);
    } else {
      store_wide(b, acc, y);
    }
  }
}

PITH_AVX512 void outputs_buffered(const Block& b, int32_t channel, const uint8_t* pad) {
  const DepthwiseU8& r = *b.row;
  const int32_t quads = (r.kernel_h + 3) / 4, reach = (r.kernel_w - 1) * r.dilation_w + 1;
  const int32_t columns = kSlots / quads, most = (columns - reach) / r.stride_w + 1;
  __m512i slots[kSlots * 4];
  for (int32_t begin = r.out_begin; begin < r.out_end; begin += most) {
    const int32_t end = r.out_end - begin < most ? r.out_end : begin + most;
    const int32_t first = begin * r.stride_w - r.pad_left, needed = (end - 1 - begin) * r.stride_w + reach;
    for (int32_t q = 0; q < quads; ++q) {
      fill(rows_of(r, q, channel, pad), first, needed, r.in_w, pad, slots + 4 * q, 4 * quads);
    }
    run_outputs(b, slots, begin, end, r.y + int64_t{begin} * r.stride_c + channel);
  }
}

}  // namespace

PITH_AVX512 void depthwise_u8_avx512(const DepthwiseU8& r) {
  const int32_t quads = (r.kernel_h + 3) / 4, reach = (r.kernel_w - 1) * r.dilation_w + 1;
  alignas(64) uint8_t pad[kChannels];
  memset(pad, r.pad_value, sizeof pad);
  for (int32_t channel = 0; channel < r.channels; channel += kChannels) {
    const Block b = {r.weights + int64_t{channel} * r.kernel_w * quads * 4,
                     r.bias + channel,
                     r.mantissa + channel,
                     r.shift + channel,
                     &r,
                     first_bytes(r.channels - channel)};
    if (reach * quads <= kSlots) {
      outputs_buffered(b, channel, pad);
    } else {
      outputs_direct(b, channel, pad);
    }
  }
}

}  // namespace pith::runtime
