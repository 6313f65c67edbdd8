// Reference convolution strips: the plain sums, on the packed weights that every instruction set shares.
#include <string.h>

#include "runtime/kernels/kernels.h"
#include "runtime/kernels/ref/ref.h"

namespace pith::runtime {

void conv_u8_ref(const ConvU8& s) {
  for (int32_t pixel = 0; pixel < s.pixels; ++pixel) {
    for (int32_t first = 0; first < s.out_channels; first += kLanes) {
      const Channels& c = s.channels[first / kLanes];
      const int32_t lanes = s.out_channels - first < kLanes ? s.out_channels - first : kLanes;
      uint32_t acc[kLanes];  // wraps, as vector registers do, where a malformed file overflows
      memcpy(acc, c.bias, sizeof acc);
      const int8_t* block = s.weights + first / kLanes * s.block_values;
      for (int32_t tap = 0; tap < s.taps; ++tap) {
        const uint8_t* x = s.inputs[int64_t{tap} * s.pixels + pixel];
        const int8_t* w = block + s.offsets[tap];
        for (int32_t quad = 0; quad < s.quads; ++quad, x += 4, w += 4 * kLanes) {
          for (int32_t lane = 0; lane < lanes; ++lane) {
            for (int k = 0; k < 4; ++k) acc[lane] += static_cast<uint32_t>(x[k] * w[4 * lane + k]);
          }
        }
      }
      uint8_t* y = s.y + pixel * s.y_stride + first;
      for (int32_t lane = 0; lane < lanes; ++lane) {
        y[lane] = finish(static_cast<int32_t>(acc[lane]), {c.mantissa[lane], c.shift[lane]}, s.epilogue);
      }
    }
  }
}

void sparse_conv_u8_ref(const ConvU8& s, const SparseBlock* blocks) {
  for (int32_t pixel = 0; pixel < s.pixels; ++pixel) {
    for (int32_t first = 0; first < s.out_channels; first += kLanes) {
      const SparseBlock& b = blocks[first / kLanes];
      const Channels& c = s.channels[first / kLanes];
      const int32_t lanes = s.out_channels - first < kLanes ? s.out_channels - first : kLanes;
      uint32_t acc[kLanes];
      memcpy(acc, c.bias, sizeof acc);
      const int8_t* w = static_cast<const int8_t*>(b.weights);
      for (const Span* span = b.spans; span != b.spans + b.span_count; ++span) {
        const uint8_t* x = s.inputs[int64_t{span->tap} * s.pixels + pixel];
        for (int32_t k = span->begin; k < span->end; k += 4, w += 4 * kLanes) {
          for (int32_t i = 0; i < 4 * lanes; ++i) acc[i / 4] += static_cast<uint32_t>(x[k + i % 4] * w[i]);
        }
      }
      uint8_t* y = s.y + pixel * s.y_stride + first;
      for (int32_t lane = 0; lane < lanes; ++lane) {
        y[lane] = finish(static_cast<int32_t>(acc[lane]), {c.mantissa[lane], c.shift[lane]}, s.epilogue);
      }
    }
  }
}

void sparse_conv_f32_ref(const ConvF32& s, const SparseBlock* blocks) {
  for (int32_t pixel = 0; pixel < s.pixels; ++pixel) {
    for (int32_t first = 0; first < s.out_channels; first += kLanes) {
      const SparseBlock& b = blocks[first / kLanes];
      const int32_t lanes = s.out_channels - first < kLanes ? s.out_channels - first : kLanes;
      float acc[kLanes];
      memcpy(acc, s.channels[first / kLanes].bias, sizeof acc);
      const float* w = static_cast<const float*>(b.weights);
      for (const Span* span = b.spans; span != b.spans + b.span_count; ++span) {
        const float* x = s.inputs[int64_t{span->tap} * s.pixels + pixel];
        for (int32_t k = span->begin; k < span->end; ++k, w += kLanes) {
          for (int32_t lane = 0; lane < kLanes; ++lane) acc[lane] += x[k] * w[lane];
        }
      }
      float* y = s.y + pixel * s.y_stride + first;
      for (int32_t lane = 0; lane < lanes; ++lane) y[lane] = acc[lane] < s.low ? s.low : acc[lane] > s.high ? s.high : acc[lane];
    }
  }
}

namespace {

// Four channels' differences from `from`; false: none differs.
bool differs(const uint8_t* x, const uint8_t* from, int32_t channels, int32_t (&difference)[4]) {
  int32_t any = 0;
  for (int32_t k = 0; k < 4; ++k) {
    difference[k] = k < channels ? x[k] - from[k] : 0;
    any |= difference[k];
  }
  return any != 0;
}

int32_t count_differing(const uint8_t* x, const uint8_t* from, int32_t step, int32_t depth) {
  int32_t count = 0, difference[4];
  for (int32_t k = 0; k < depth; k += 4) count += differs(x + k, from + k * step, depth - k, difference);
  return count;
}

}  // namespace

void conv_changes_u8_ref(const ConvChangesU8& s) {
  const uint8_t zeros[4] = {s.zero_point, s.zero_point, s.zero_point, s.zero_point};
  bool goes_on[kMostChangedPixels];  // from the pixel before
  for (int32_t p = 0; p < s.pixels; ++p) {
    const uint8_t* x = s.values + int64_t{p} * s.depth;
    goes_on[p] = p > 0 && count_differing(x, x - s.depth, 1, s.depth) <= count_differing(x, zeros, 0, s.depth);
  }
  for (int32_t first = 0; first < s.out_channels; first += kLanes) {
    const Channels& c = s.channels[first / kLanes];
    const int32_t lanes = s.out_channels - first < kLanes ? s.out_channels - first : kLanes;
    uint32_t acc[kLanes];
    uint8_t* y = s.y + first;
    for (int32_t p = 0; p < s.pixels; ++p, y += s.y_stride) {
      const uint8_t* x = s.values + int64_t{p} * s.depth;
      if (!goes_on[p]) {  // of zero points alone: `bias` holds -zero_point * sum already
        for (int32_t lane = 0; lane < kLanes; ++lane)
          acc[lane] = static_cast<uint32_t>(c.bias[lane]) + s.zero_point * static_cast<uint32_t>(c.sum[lane]);
      }
      const int8_t* w = s.weights + first / kLanes * s.block_values;
      for (int32_t k = 0; k < s.depth; k += 4, w += 4 * kLanes) {
        int32_t difference[4];
        if (!differs(x + k, goes_on[p] ? x + k - s.depth : zeros, s.depth - k, difference)) continue;
        for (int32_t lane = 0; lane < kLanes; ++lane) {
          for (int i = 0; i < 4; ++i) acc[lane] += static_cast<uint32_t>(difference[i] * w[4 * lane + i]);
        }
      }
      for (int32_t lane = 0; lane < lanes; ++lane)
        y[lane] = finish(static_cast<int32_t>(acc[lane]), {c.mantissa[lane], c.shift[lane]}, s.epilogue);
    }
  }
}

void conv_f32_ref(const ConvF32& s) {
  for (int32_t pixel = 0; pixel < s.pixels; ++pixel) {
    for (int32_t first = 0; first < s.out_channels; first += kLanes) {
      const int32_t lanes = s.out_channels - first < kLanes ? s.out_channels - first : kLanes;
      float acc[kLanes];
      memcpy(acc, s.channels[first / kLanes].bias, sizeof acc);
      const float* block = s.weights + first / kLanes * s.block_values;
      for (int32_t tap = 0; tap < s.taps; ++tap) {
        const float* x = s.inputs[int64_t{tap} * s.pixels + pixel];
        const float* w = block + s.offsets[tap];
        for (int32_t i = 0; i < s.depth; ++i, w += kLanes) {
          for (int32_t lane = 0; lane < kLanes; ++lane) acc[lane] += x[i] * w[lane];
        }
      }
      float* y = s.y + pixel * s.y_stride + first;
      for (int32_t lane = 0; lane < lanes; ++lane) {
        y[lane] = acc[lane] < s.low ? s.low : acc[lane] > s.high ? s.high : acc[lane];
      }
    }
  }
}

void depthwise_u8_ref(const DepthwiseU8& r) {
  const int32_t quads = (r.kernel_h + 3) / 4;
  for (int32_t out = r.out_begin; out < r.out_end; ++out) {
    for (int32_t c = 0; c < r.channels; ++c) {
      const int8_t* w = r.weights + int64_t{c / kLanes} * r.kernel_w * quads * 4 * kLanes + c % kLanes * 4;
      uint32_t acc = static_cast<uint32_t>(r.bias[c]);
      for (int32_t kx = 0; kx < r.kernel_w; ++kx) {
        const int32_t ix = out * r.stride_w + kx * r.dilation_w - r.pad_left;
        for (int32_t ky = 0; ky < r.kernel_h; ++ky) {
          const bool padded = r.rows[ky] == nullptr || ix < 0 || ix >= r.in_w;
          const int32_t x = padded ? r.pad_value : r.rows[ky][int64_t{ix} * r.stride_c + c];
          acc += static_cast<uint32_t>(x * w[(kx * quads + ky / 4) * 4 * kLanes + ky % 4]);
        }
      }
      r.y[int64_t{out} * r.stride_c + c] = finish(static_cast<int32_t>(acc), {r.mantissa[c], r.shift[c]}, r.epilogue);
    }
  }
}

void depthwise_f32_ref(const DepthwiseF32& r) {
  for (int32_t out = r.out_begin; out < r.out_end; ++out) {
    float* y = r.y + int64_t{out} * r.stride_c;
    memcpy(y, r.bias, sizeof(float) * static_cast<size_t>(r.channels));
    for (int32_t ky = 0; ky < r.kernel_h; ++ky) {
      if (r.rows[ky] == nullptr) continue;
      for (int32_t kx = 0; kx < r.kernel_w; ++kx) {
        const int32_t ix = out * r.stride_w + kx * r.dilation_w - r.pad_left;
        if (ix < 0 || ix >= r.in_w) continue;
        const float* x = r.rows[ky] + int64_t{ix} * r.stride_c;
        const float* w = r.weights + (int64_t{ky} * r.kernel_w + kx) * r.channels;
        for (int32_t c = 0; c < r.channels; ++c) y[c] += x[c] * w[c];
      }
    }
    for (int32_t c = 0; c < r.channels; ++c) y[c] = y[c] < r.low ? r.low : y[c] > r.high ? r.high : y[c];
  }
}

}  // namespace pith::runtime
