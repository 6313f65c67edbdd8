// Every kernel of the table on every instruction set of this processor against the reference: integers bit for bit,
// floats to a tolerance; and nothing written but the output.
//
// A new row of kernels.inc needs a `check_<name>` here, or this file doesn't compile. Convolutions are also tested as
// whole operators, against sums that know nothing of packing (ops/conv_test.cpp).
#include <cmath>
#include <functional>

#include "coding/decode/activation_rows.h"
#include "numerics/cache_rows.h"
#include "numerics/row_model.h"
#include "program/format.h"
#include "runtime/testing/one_op.h"

namespace pith::runtime {
namespace {

using numerics::Affine;
using numerics::Unary;
using testing::Seeded;

// A buffer of n elements with painted margins, readable beyond its end.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t n) : values_(static_cast<size_t>(n) + 2 * kMargin, paint()), n_(n) {}
  T* data() { return values_.data() + kMargin; }
  T& operator[](int64_t i) { return data()[i]; }
  bool intact() const {
    for (size_t i = 0; i < kMargin; ++i) {
      if (std::memcmp(&values_[i], &kPaint, sizeof(T)) != 0 ||
          std::memcmp(&values_[values_.size() - 1 - i], &kPaint, sizeof(T)) != 0)
        return false;
    }
    return true;
  }
  bool operator==(const Buffer& other) const {
    return std::memcmp(values_.data(), other.values_.data(), values_.size() * sizeof(T)) == 0;
  }
  int64_t size() const { return n_; }

 private:
  static constexpr size_t kMargin = 96;
  static T paint() {
    T t;
    std::memset(&t, 0x6b, sizeof t);
    return t;
  }
  const T kPaint = paint();
  std::vector<T> values_;
  int64_t n_;
};

void fill(Buffer<uint8_t>& b, Seeded& r) {
  for (int64_t i = 0; i < b.size(); ++i) b[i] = static_cast<uint8_t>(r.next());
}
void fill(Buffer<float>& b, Seeded& r, float low, float high) {
  for (int64_t i = 0; i < b.size(); ++i) b[i] = r.real(low, high);
}
Affine affine(Seeded& r) { return {static_cast<int16_t>(r.integer(-130, -20)), static_cast<uint8_t>(r.next())}; }

void table(Seeded& r, uint8_t (&t)[256]) {
  for (uint8_t& q : t) q = static_cast<uint8_t>(r.next());
}

#define SAME(a, b) \
  ASSERT_TRUE((a) == (b) && (a).intact()) << isa_name(isa) << ", case " << i << ", seed " << Seeded::first_seed()

void expect_close(Buffer<float>& y, Buffer<float>& expected, double relative, double absolute, Isa isa,
                  const std::string& what) {
  ASSERT_TRUE(y.intact()) << what;
  for (int64_t k = 0; k < y.size(); ++k) {
    if (std::isnan(expected[k])) {
      ASSERT_TRUE(std::isnan(y[k])) << what;
    } else if (std::isinf(expected[k])) {
      ASSERT_EQ(y[k], expected[k]) << what;
    } else {
      ASSERT_NEAR(y[k], expected[k], absolute + relative * std::abs(expected[k]))
          << isa_name(isa) << " " << what << " element " << k;
    }
  }
}

void check_table_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 100; ++i) {
    const int64_t n = r.integer(1, 300);
    Buffer<uint8_t> x(n), y(n), z(n);
    uint8_t t[256];
    fill(x, r);
    table(r, t);
    k.table_u8(x.data(), y.data(), n, t);
    table_u8_ref(x.data(), z.data(), n, t);
    SAME(y, z);
    k.table_u8(x.data(), x.data(), n, t);  // in place
    SAME(x, z);
  }
}

template <typename RunType, typename Kernel>
void check_run(const Kernel& kernel, const Kernel& reference, Isa isa,
               const std::function<void(RunType&, Seeded&)>& parameters) {
  Seeded r;
  for (int i = 0; i < 200; ++i) {
    const int64_t n = r.integer(1, 200);
    Buffer<uint8_t> a(n), b(n), y(n), z(n);
    fill(a, r);
    fill(b, r);
    uint8_t t[256];
    table(r, t);
    RunType run{};
    run.a = a.data(), run.b = b.data(), run.count = n;
    run.a_repeats = r.chance(20), run.b_repeats = r.chance(20);
    run.table = r.chance(30) ? t : nullptr;
    parameters(run, r);
    run.y = y.data();
    kernel(run);
    run.y = z.data();
    reference(run);
    SAME(y, z);
    if (run.a_repeats) continue;
    run.y = a.data();  // in place
    kernel(run);
    SAME(a, z);
  }
}

void check_add_u8(const Kernels& k, Isa isa) {
  check_run<AddU8>(k.add_u8, &add_u8_ref, isa, [](AddU8& run, Seeded& r) {
    const int low = r.chance(30) ? r.integer(0, 200) : 0, high = r.chance(30) ? r.integer(low, 255) : 255;
    Affine out = affine(r);
    run.params = numerics::add_params(affine(r), affine(r), out, r.chance(40), low, high);
  });
}
void check_mul_u8(const Kernels& k, Isa isa) {
  check_run<MulU8>(k.mul_u8, &mul_u8_ref, isa, [](MulU8& run, Seeded& r) {
    const int low = r.chance(30) ? r.integer(0, 200) : 0, high = r.chance(30) ? r.integer(low, 255) : 255;
    run.params = numerics::mul_params(affine(r), affine(r), affine(r), low, high);
  });
}

template <typename Kernel>
void check_pool(const Kernel& kernel, const Kernel& reference, Isa isa) {
  Seeded r;
  for (int i = 0; i < 100; ++i) {
    const int32_t channels = r.integer(1, 200), taps = r.chance(5) ? r.integer(257, 900) : r.integer(1, 30);
    Buffer<uint8_t> x(int64_t{channels} * 40), y(channels), z(channels);
    fill(x, r);
    std::vector<const uint8_t*> inputs;
    for (int32_t t = 0; t < taps; ++t) inputs.push_back(x.data() + r.integer(0, 39) * channels);
    uint8_t t[256];
    table(r, t);
    PoolU8 w{inputs.data(),     taps,     channels, numerics::average_multiplier(r.integer(-60, 40), taps),
             r.integer(0, 255), y.data(), {}};
    w.epilogue = {r.integer(0, 255), 0, 255, r.chance(30) ? t : nullptr};
    if (r.chance(30)) w.epilogue.low = r.integer(0, 100), w.epilogue.high = r.integer(100, 255);
    kernel(w);
    w.y = z.data();
    reference(w);
    SAME(y, z);
  }
}
void check_max_pool_u8(const Kernels& k, Isa isa) { check_pool(k.max_pool_u8, &max_pool_u8_ref, isa); }
void check_average_pool_u8(const Kernels& k, Isa isa) { check_pool(k.average_pool_u8, &average_pool_u8_ref, isa); }

void check_quantize_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 300; ++i) {
    const int64_t n = r.integer(1, 100);
    const Affine a{static_cast<int16_t>(r.chance(30) ? 16 * r.integer(-6, 2) : r.integer(-100, 40)),
                   static_cast<uint8_t>(r.next())};
    const double scale = numerics::scale_value(a.scale_code);
    Buffer<float> x(n);
    Buffer<uint8_t> y(n), z(n);
    for (int64_t j = 0; j < n; ++j) {
      x[j] = static_cast<float>(scale * r.integer(-700, 700) / 2);  // at and beside the boundaries of codes
      if (r.chance(50)) x[j] = std::nextafterf(x[j], r.chance(50) ? 1e9f : -1e9f);
      if (r.chance(3)) x[j] = NAN;
      if (r.chance(3)) x[j] = r.chance(50) ? INFINITY : -INFINITY;
      if (r.chance(3)) x[j] = r.chance(50) ? 3e38f : -3e38f;
    }
    k.quantize_u8(x.data(), y.data(), n, a);
    quantize_u8_ref(x.data(), z.data(), n, a);
    SAME(y, z);
  }
}
void check_dequantize_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 100; ++i) {
    const int64_t n = r.integer(1, 300);
    const Affine a{static_cast<int16_t>(r.integer(-300, 300)), static_cast<uint8_t>(r.next())};
    Buffer<uint8_t> x(n);
    Buffer<float> y(n), z(n);
    fill(x, r);
    k.dequantize_u8(x.data(), y.data(), n, a);
    dequantize_u8_ref(x.data(), z.data(), n, a);
    SAME(y, z);
  }
}

void check_unary_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int f = 0; f < numerics::kUnaryCount; ++f) {
    for (int i = 0; i < 20; ++i) {
      const int64_t n = r.integer(1, 70);
      const float range = i % 3 == 0 ? 0.4f : i % 3 == 1 ? 6.0f : 120.0f;
      Buffer<float> x(n), y(n), z(n);
      fill(x, r, -range, range);
      const Unary function = static_cast<Unary>(f);
      const float a = function == Unary::kSilu ? 1 : function == Unary::kClip ? -1 : 0.3f, b = 0.6f;
      k.unary_f32(x.data(), y.data(), n, function, a, b);
      unary_f32_ref(x.data(), z.data(), n, function, a, b);
      expect_close(y, z, 4e-6, 4e-7 * std::max(1.0f, range), isa, numerics::unary_name(function));
    }
  }
}
void check_binary_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int32_t kind = 0; kind < PITH_BINARY_COUNT; ++kind) {
    if (kind >= PITH_BINARY_EQUAL && kind <= PITH_BINARY_XOR) continue;
    for (int i = 0; i < 20; ++i) {
      const int64_t n = r.integer(1, 70);
      Buffer<float> a(n), b(n), y(n), z(n);
      fill(a, r, -4, 4);
      fill(b, r, -4, 4);
      BinaryF32 run{a.data(), b.data(), y.data(), n, r.chance(20), r.chance(20), kind};
      k.binary_f32(run);
      run.y = z.data();
      binary_f32_ref(run);
      expect_close(y, z, 1e-6, 1e-30, isa, "kind " + std::to_string(kind));
    }
  }
}

void check_conv_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 150; ++i) {
    const int32_t pixels = r.integer(1, 40), taps = r.integer(0, 6), quads = r.integer(1, 20),
                  channels = r.integer(1, 140);
    const int32_t blocks = (channels + 15) / 16;
    Buffer<uint8_t> x(3000), y(int64_t{pixels} * (channels + 5)), z(int64_t{pixels} * (channels + 5));
    fill(x, r);
    std::vector<const uint8_t*> inputs;
    for (int32_t t = 0; t < taps * pixels; ++t) inputs.push_back(x.data() + r.integer(0, 2900));
    const int64_t block_values = int64_t{taps} * quads * 64;
    std::vector<int8_t> weights(static_cast<size_t>(blocks * block_values + PITH_OVERREAD));
    for (int8_t& w : weights) w = static_cast<int8_t>(r.next());
    std::vector<int32_t> offsets;
    for (int32_t t = 0; t < taps; ++t) offsets.push_back((taps - 1 - t) * quads * 64);
    std::vector<Channels> c(static_cast<size_t>(blocks));
    const bool narrow = r.chance(80);
    for (Channels& set : c) {
      for (int l = 0; l < kLanes; ++l) {
        const numerics::Multiplier m = numerics::multiplier(narrow ? r.integer(-300, -60) : r.integer(-300, 260));
        set.bias[l] = r.integer(-100000, 100000), set.mantissa[l] = m.mantissa, set.shift[l] = m.shift, set.sum[l] = 0;
        const int8_t* w = weights.data() + (&set - c.data()) * block_values + 4 * l;
        for (int64_t q = 0; q < int64_t{taps} * quads; ++q)
          set.sum[l] += w[64 * q] + w[64 * q + 1] + w[64 * q + 2] + w[64 * q + 3];
      }
    }
    uint8_t t[256];
    table(r, t);
    ConvU8 s{inputs.data(),
             pixels,
             taps,
             quads,
             weights.data(),
             block_values,
             offsets.data(),
             c.data(),
             channels,
             narrow,
             y.data(),
             channels + 5,
             {r.integer(0, 255), 0, 255, r.chance(40) ? t : nullptr}};
    if (r.chance(30)) s.epilogue.low = r.integer(0, 100), s.epilogue.high = r.integer(100, 255);
    k.conv_u8(s);
    s.y = z.data();
    conv_u8_ref(s);
    SAME(y, z);
  }
}
// Random weights with blocks of zeros, whole and without them.
template <typename T>
struct SparseWeights {
  template <typename Value>
  SparseWeights(Seeded& r, int32_t block_count, int32_t taps, int32_t depth, const Value& value)
      : dense(static_cast<size_t>(block_count * taps * depth * kLanes) + PITH_OVERREAD), spans(static_cast<size_t>(block_count)) {
    const int density = r.integer(0, 4) * 25;
    kept.reserve(dense.size());
    for (int32_t tap = 0; tap < taps; ++tap) offsets.push_back(tap * depth * kLanes);
    for (size_t b = 0; b < spans.size(); ++b) {
      blocks.push_back({nullptr, 0, kept.data() + kept.size()});
      for (int32_t tap = 0; tap < taps; ++tap) {
        for (int32_t k = 0; k < depth; k += kSpanStep) {
          if (!r.chance(density)) continue;
          const int32_t last = std::min(k + kSpanStep, depth);
          for (int32_t i = k * kLanes; i < last * kLanes; ++i) kept.push_back(dense[b * static_cast<size_t>(taps * depth * kLanes) + static_cast<size_t>(offsets[static_cast<size_t>(tap)] + i)] = value());
          Span* before = spans[b].empty() ? nullptr : &spans[b].back();
          if (before != nullptr && before->tap == tap && before->end == k && r.chance(80)) before->end = last;
          else spans[b].push_back({tap, k, last});
        }
      }
      blocks[b].spans = spans[b].data(), blocks[b].span_count = static_cast<int32_t>(spans[b].size());
    }
  }
  std::vector<T> dense, kept;
  std::vector<int32_t> offsets;
  std::vector<std::vector<Span>> spans;
  std::vector<SparseBlock> blocks;
};

void check_sparse_conv_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 150; ++i) {
    const int32_t pixels = r.integer(1, 40), taps = r.integer(1, 6), depth = 4 * r.integer(1, 24), channels = r.integer(1, 140);
    const int32_t blocks = (channels + 15) / 16;
    const int64_t block_values = int64_t{taps} * depth * kLanes;
    Buffer<uint8_t> x(3000), y(int64_t{pixels} * (channels + 5)), z(int64_t{pixels} * (channels + 5));
    fill(x, r);
    std::vector<const uint8_t*> inputs;
    for (int32_t t = 0; t < taps * pixels; ++t) inputs.push_back(x.data() + r.integer(0, 2900));
    const SparseWeights<int8_t> weights(r, blocks, taps, depth, [&] { return static_cast<int8_t>(r.next()); });
    std::vector<Channels> c(static_cast<size_t>(blocks));
    const bool narrow = r.chance(80);
    for (Channels& set : c) {
      for (int l = 0; l < kLanes; ++l) {
        const numerics::Multiplier m = numerics::multiplier(narrow ? r.integer(-300, -60) : r.integer(-300, 260));
        set.bias[l] = r.integer(-100000, 100000), set.mantissa[l] = m.mantissa, set.shift[l] = m.shift, set.sum[l] = 0;
        const int8_t* w = weights.dense.data() + (&set - c.data()) * block_values;
        for (int64_t q = 0; q < block_values; ++q) set.sum[l] += q % 64 / 4 == l ? w[q] : 0;
      }
    }
    uint8_t t[256];
    table(r, t);
    ConvU8 s{inputs.data(), pixels, taps, depth / 4, weights.dense.data(), block_values, weights.offsets.data(), c.data(), channels, narrow,
             y.data(), channels + 5, {r.integer(0, 255), 0, 255, r.chance(40) ? t : nullptr}};
    if (r.chance(30)) s.epilogue.low = r.integer(0, 100), s.epilogue.high = r.integer(100, 255);
    k.sparse_conv_u8(s, weights.blocks.data());
    s.y = z.data();
    conv_u8_ref(s);
    SAME(y, z);
  }
}
void check_sparse_conv_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 100; ++i) {
    const int32_t pixels = r.integer(1, 40), taps = r.integer(1, 5), depth = r.integer(1, 70), channels = r.integer(1, 140);
    const int32_t blocks = (channels + 15) / 16;
    Buffer<float> x(2000), y(int64_t{pixels} * (channels + 3)), z(int64_t{pixels} * (channels + 3));
    fill(x, r, -1, 1);
    std::vector<const float*> inputs;
    for (int32_t t = 0; t < taps * pixels; ++t) inputs.push_back(x.data() + r.integer(0, 1900));
    const SparseWeights<float> weights(r, blocks, taps, depth, [&] { return r.real(-1, 1); });
    std::vector<ChannelsF32> c(static_cast<size_t>(blocks));
    for (ChannelsF32& set : c) {
      for (float& b : set.bias) b = r.real(0.5f, 1);
    }
    const bool clamp = r.chance(40);
    ConvF32 s{inputs.data(), pixels, taps, depth, weights.dense.data(), int64_t{taps} * depth * kLanes, weights.offsets.data(), c.data(), channels,
              clamp ? -0.5f : -INFINITY, clamp ? 2.0f : INFINITY, y.data(), channels + 3};
    k.sparse_conv_f32(s, weights.blocks.data());
    s.y = z.data();
    conv_f32_ref(s);
    expect_close(y, z, 1e-5, 1e-5, isa, "sparse_conv_f32");
  }
}
void check_conv_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 100; ++i) {
    const int32_t pixels = r.integer(1, 40), taps = r.integer(0, 5), depth = r.integer(1, 40),
                  channels = r.integer(1, 140);
    const int32_t blocks = (channels + 15) / 16;
    Buffer<float> x(2000), y(int64_t{pixels} * (channels + 3)), z(int64_t{pixels} * (channels + 3));
    fill(x, r, -1, 1);
    std::vector<const float*> inputs;
    for (int32_t t = 0; t < taps * pixels; ++t) inputs.push_back(x.data() + r.integer(0, 1900));
    const int64_t block_values = int64_t{taps} * depth * 16;
    std::vector<float> weights(static_cast<size_t>(blocks * block_values + 16));
    for (float& w : weights) w = r.real(-1, 1);
    std::vector<int32_t> offsets;
    for (int32_t t = 0; t < taps; ++t) offsets.push_back((taps - 1 - t) * depth * 16);
    std::vector<ChannelsF32> c(static_cast<size_t>(blocks));
    for (ChannelsF32& set : c) {
      for (float& b : set.bias) b = r.real(-1, 1);
    }
    const bool clamp = r.chance(40);
    ConvF32 s{inputs.data(),
              pixels,
              taps,
              depth,
              weights.data(),
              block_values,
              offsets.data(),
              c.data(),
              channels,
              clamp ? -0.5f : -INFINITY,
              clamp ? 2.0f : INFINITY,
              y.data(),
              channels + 3};
    k.conv_f32(s);
    s.y = z.data();
    conv_f32_ref(s);
    expect_close(y, z, 1e-5, 1e-5, isa, "conv_f32");
  }
}

// Rows of random images; the integer one as each set packs it, so it is compared through plain sums.
void check_depthwise_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 150; ++i) {
    const int32_t channels = r.integer(1, 150), kernel_h = r.integer(1, 6),
                  kernel_w = r.chance(10) ? r.integer(40, 90) : r.integer(1, 6);
    const int32_t stride = r.integer(1, 3), dilation = r.integer(1, 3), pad = r.integer(0, 3), in_w = r.integer(1, 90),
                  extra = r.integer(0, 9);
    const int32_t out_w = (in_w + 2 * pad - dilation * (kernel_w - 1) - 1) / stride + 1, stride_c = channels + extra;
    if (in_w + 2 * pad < dilation * (kernel_w - 1) + 1) continue;
    Buffer<uint8_t> x(int64_t{in_w} * stride_c * kernel_h), y(int64_t{out_w} * stride_c);
    fill(x, r);
    const uint8_t* rows[8];
    for (int32_t ky = 0; ky < kernel_h; ++ky)
      rows[ky] = r.chance(20) ? nullptr : x.data() + int64_t{ky} * in_w * stride_c;
    const int32_t lanes = k.depthwise_lanes, block = 16 * lanes, padded = (channels + block - 1) / block * block,
                  quads = (kernel_h + 3) / 4;
    std::vector<int8_t> plain(static_cast<size_t>(channels * kernel_h * kernel_w)),
        packed(static_cast<size_t>(padded * kernel_w * quads * 4 + 64));
    std::vector<int32_t> bias(static_cast<size_t>(padded)), mantissa(bias), shift(bias.size(), 32),
        at(static_cast<size_t>(channels));
    const bool narrow = r.chance(80);
    for (int32_t c = 0; c < channels; ++c) {
      const int32_t in = c % block, lane = in / 16, part = in % 16 / 4;
      at[static_cast<size_t>(c)] = c - in + part * 4 * lanes + lane * 4 + in % 4;
      for (int32_t ky = 0; ky < kernel_h; ++ky) {
        for (int32_t kx = 0; kx < kernel_w; ++kx) {
          const int8_t q = static_cast<int8_t>(r.integer(-127, 127));
          plain[static_cast<size_t>((c * kernel_h + ky) * kernel_w + kx)] = q;
          packed[static_cast<size_t>((c - in) * kernel_w * quads * 4 + ((kx * quads + ky / 4) * 4 + part) * 16 * lanes +
                                     lane * 16 + in % 4 * 4 + ky % 4)] = q;
        }
      }
      const numerics::Multiplier m = numerics::multiplier(narrow ? r.integer(-300, -60) : r.integer(-200, 260));
      const size_t p = static_cast<size_t>(at[static_cast<size_t>(c)]);
      bias[p] = r.integer(-10000, 10000), mantissa[p] = m.mantissa, shift[p] = m.shift;
    }
    uint8_t t[256];
    table(r, t);
    DepthwiseU8 row{rows,
                    kernel_h,
                    kernel_w,
                    stride,
                    dilation,
                    pad,
                    in_w,
                    channels,
                    stride_c,
                    0,
                    out_w,
                    packed.data(),
                    bias.data(),
                    mantissa.data(),
                    shift.data(),
                    narrow,
                    static_cast<uint8_t>(r.next()),
                    y.data(),
                    {r.integer(0, 255), 0, 255, r.chance(30) ? t : nullptr}};
    k.depthwise_u8(row);
    ASSERT_TRUE(y.intact());
    for (int32_t o = 0; o < out_w; ++o) {
      for (int32_t c = 0; c < stride_c; ++c) {
        const uint8_t got = y[int64_t{o} * stride_c + c];
        if (c >= channels) {
          ASSERT_EQ(int{got}, 0x6b) << "written beside its channels";
          continue;
        }
        const size_t p = static_cast<size_t>(at[static_cast<size_t>(c)]);
        int32_t acc = bias[p];
        for (int32_t ky = 0; ky < kernel_h; ++ky) {
          for (int32_t kx = 0; kx < kernel_w; ++kx) {
            const int32_t ix = o * stride + kx * dilation - pad;
            const int32_t v =
                rows[ky] == nullptr || ix < 0 || ix >= in_w ? row.pad_value : rows[ky][int64_t{ix} * stride_c + c];
            acc += v * plain[static_cast<size_t>((c * kernel_h + ky) * kernel_w + kx)];
          }
        }
        const uint8_t q = numerics::requantize_u8(acc, {mantissa[p], shift[p]}, row.epilogue.zero_point, 0, 255);
        ASSERT_EQ(int{got}, int{row.epilogue.table != nullptr ? t[q] : q})
            << isa_name(isa) << " case " << i << " column " << o << " channel " << c;
      }
    }
  }
}
void check_depthwise_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 60; ++i) {
    const int32_t channels = r.integer(1, 70), kernel_h = r.integer(1, 5), kernel_w = r.integer(1, 5),
                  in_w = r.integer(5, 30), pad = r.integer(0, 2);
    const int32_t stride = r.integer(1, 2), out_w = (in_w + 2 * pad - kernel_w) / stride + 1,
                  stride_c = channels + r.integer(0, 3);
    Buffer<float> x(int64_t{in_w} * stride_c * kernel_h), w(int64_t{kernel_h} * kernel_w * channels), bias(channels),
        y(int64_t{out_w} * stride_c), z(int64_t{out_w} * stride_c);
    fill(x, r, -1, 1);
    fill(w, r, -1, 1);
    fill(bias, r, -1, 1);
    const float* rows[8];
    for (int32_t ky = 0; ky < kernel_h; ++ky)
      rows[ky] = r.chance(20) ? nullptr : x.data() + int64_t{ky} * in_w * stride_c;
    DepthwiseF32 row{rows,     kernel_h, kernel_w, stride,   1,           pad,   in_w, channels,
                     stride_c, 0,        out_w,    w.data(), bias.data(), -0.7f, 3.0f, y.data()};
    k.depthwise_f32(row);
    row.y = z.data();
    depthwise_f32_ref(row);
    expect_close(y, z, 1e-5, 1e-5, isa, "depthwise_f32");
  }
}

// Rows of smooth, sparse and random values into every number of bytes, and back; then bytes that no writer makes.
void check_encode_row_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 400; ++i) {
    const int32_t channels = r.integer(1, 70), width = r.integer(1, 40), kind = r.integer(0, 3);
    const uint8_t zero = static_cast<uint8_t>(r.chance(40) ? 0 : r.next());
    Buffer<uint8_t> x(int64_t{width} * channels);
    for (int64_t n = 0; n < x.size(); ++n) {
      const int left = n < channels ? zero : x[n - channels];
      x[n] = kind == 0                        ? static_cast<uint8_t>(r.next())
             : kind == 1                      ? static_cast<uint8_t>(numerics::clamp(left + r.integer(-6, 6), 0, 255))
             : r.chance(kind == 2 ? 80 : 100) ? zero
                                              : static_cast<uint8_t>(r.next());
    }
    const int64_t bytes = r.chance(10) ? r.integer(1, 4) : r.integer(1, static_cast<int>(x.size()) * 5 / 4 + 8);
    Buffer<uint8_t> y(bytes), z(bytes), state(9 * int64_t{channels});
    k.encode_row_u8({x.data(), width, channels, zero, state.data(), y.data(), bytes});
    ASSERT_TRUE(state.intact()) << isa_name(isa) << ", case " << i;
    encode_row_u8_ref({x.data(), width, channels, zero, state.data(), z.data(), bytes});
    SAME(y, z);
  }
}
void check_decode_row_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 400; ++i) {
    const int32_t channels = r.integer(1, 70), width = r.integer(1, 40);
    const uint8_t zero = static_cast<uint8_t>(r.next());
    Buffer<uint8_t> x(r.integer(1, 3000)), y(int64_t{width} * channels), z(int64_t{width} * channels),
        state(8 * int64_t{channels});
    fill(x, r);
    if (r.chance(50)) {  // more ones, so shorter codes
      for (int64_t n = 0; n < x.size(); ++n) x[n] |= static_cast<uint8_t>(r.next());
    }
    x[0] = static_cast<uint8_t>(r.integer(0, numerics::kRowStepCount));
    k.decode_row_u8({x.data(), x.size(), width, channels, zero, state.data(), y.data()});
    ASSERT_TRUE(state.intact()) << isa_name(isa) << ", case " << i;
    decode_row_u8_ref({x.data(), x.size(), width, channels, zero, state.data(), z.data()});
    SAME(y, z);
    encode_row_u8_ref({y.data(), width, channels, zero, Buffer<uint8_t>(9 * int64_t{channels}).data(), x.data(),
                       x.size()});  // what a writer makes
    k.decode_row_u8({x.data(), x.size(), width, channels, zero, state.data(), y.data()});
    decode_row_u8_ref({x.data(), x.size(), width, channels, zero, state.data(), z.data()});
    SAME(y, z);
  }
}

// A row a few pixels at a time is the row at once.
void check_decode_pixels_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 200; ++i) {
    const int32_t channels = r.integer(1, 70), width = r.integer(1, 40);
    const uint8_t zero = static_cast<uint8_t>(r.next());
    Buffer<uint8_t> x(r.integer(1, 3000)), y(int64_t{width} * channels), z(int64_t{width} * channels),
        state(int64_t{sizeof(numerics::RowChannel)} * ((channels + 15) / 16 * 16));
    fill(x, r);
    x[0] = static_cast<uint8_t>(r.integer(0, numerics::kRowStepCount));
    coding::RowProgress progress(x.data(), x.size());
    for (int32_t column = 0; column < width;) {
      const int32_t n = r.integer(1, width - column);
      k.decode_pixels_u8({&progress, n, channels, zero, state.data(), y.data() + int64_t{column} * channels});
      column += n;
    }
    ASSERT_TRUE(state.intact()) << isa_name(isa) << ", case " << i;
    decode_row_u8_ref({x.data(), x.size(), width, channels, zero, state.data(), z.data()});
    SAME(y, z);
  }
}

// Products by what changes from pixel to pixel are those of whole pixels.
void check_conv_changes_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 150; ++i) {
    const int32_t pixels = r.integer(1, 20), depth = r.integer(1, 70), quads = (depth + 3) / 4, channels = r.integer(1, 70),
                  blocks = (channels + 15) / 16, still = r.integer(0, 100);
    const uint8_t zero = static_cast<uint8_t>(r.next());
    Buffer<uint8_t> x(int64_t{pixels} * depth), y(int64_t{pixels} * (channels + 5)), z(int64_t{pixels} * (channels + 5));
    for (int64_t n = 0; n < x.size(); ++n)
      x[n] = r.chance(still) ? (n < depth || r.chance(30) ? zero : x[n - depth]) : static_cast<uint8_t>(r.next());
    const int64_t block_values = int64_t{quads} * 64;
    std::vector<int8_t> weights(static_cast<size_t>(blocks * block_values + PITH_OVERREAD));
    std::vector<Channels> c(static_cast<size_t>(blocks));
    for (int32_t o = 0; o < blocks * kLanes; ++o) {
      const numerics::Multiplier m = numerics::multiplier(r.integer(-300, 100));
      Channels& set = c[static_cast<size_t>(o / kLanes)];
      int32_t sum = 0;
      for (int32_t n = 0; n < depth; ++n) {
        int8_t& w = weights[static_cast<size_t>(o / kLanes * block_values + n / 4 * 64 + o % kLanes * 4 + n % 4)];
        w = static_cast<int8_t>(r.next());
        sum += w;
      }
      const int l = o % kLanes;
      set.bias[l] = r.integer(-100000, 100000) - zero * sum, set.mantissa[l] = m.mantissa, set.shift[l] = m.shift, set.sum[l] = sum;
    }
    const Epilogue epilogue{r.integer(0, 255), 0, 255, nullptr};
    k.conv_changes_u8({x.data(), pixels, depth, zero, weights.data(), block_values, c.data(), channels, y.data(), channels + 5, epilogue});
    std::vector<const uint8_t*> inputs;
    for (int32_t p = 0; p < pixels; ++p) inputs.push_back(x.data() + int64_t{p} * depth);
    const int32_t offset = 0;
    conv_u8_ref({inputs.data(), pixels, 1, quads, weights.data(), block_values, &offset, c.data(), channels, false, z.data(), channels + 5, epilogue});
    SAME(y, z);
  }
}

// Both products of attention on rows of codes, against the plain loops.
void check_dots_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 60; ++i) {
    const int32_t depth = r.integer(1, 100), count = r.integer(1, 50), zero = r.integer(0, 255);
    Buffer<int16_t> query(depth + 32);
    Buffer<uint8_t> rows(int64_t{depth} * count);
    Buffer<int32_t> y(count), z(count);
    for (int32_t d = 0; d < depth; ++d) query.data()[d] = static_cast<int16_t>(r.integer(-255, 255));
    for (int32_t d = depth; d < depth + 32; ++d) query.data()[d] = 0;
    for (int64_t n = 0; n < int64_t{depth} * count; ++n) rows.data()[n] = static_cast<uint8_t>(r.integer(0, 255));
    k.dots_u8({query.data(), rows.data(), depth, count, zero, y.data()});
    dots_u8_ref({query.data(), rows.data(), depth, count, zero, z.data()});
    for (int32_t t = 0; t < count; ++t) ASSERT_EQ(y.data()[t], z.data()[t]) << isa_name(isa) << " dots_u8";
  }
}
void check_mixture_u8(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 60; ++i) {
    const int32_t depth = r.integer(1, 150), count = r.integer(1, 50), zero = r.integer(0, 255);
    Buffer<int16_t> weights(count + 1);
    Buffer<uint8_t> rows(int64_t{depth} * count);
    Buffer<int32_t> y(depth + 16), z(depth + 16);
    for (int32_t t = 0; t < count; ++t) weights.data()[t] = static_cast<int16_t>(r.integer(0, 32767));
    for (int64_t n = 0; n < int64_t{depth} * count; ++n) rows.data()[n] = static_cast<uint8_t>(r.integer(0, 255));
    k.mixture_u8({weights.data(), rows.data(), depth, count, zero, y.data()});
    mixture_u8_ref({weights.data(), rows.data(), depth, count, zero, z.data()});
    for (int32_t d = 0; d < depth; ++d) ASSERT_EQ(y.data()[d], z.data()[d]) << isa_name(isa) << " mixture_u8";
  }
}

void check_dots_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 60; ++i) {
    const int32_t depth = r.integer(1, 100), count = r.integer(1, 50);
    Buffer<float> query(depth), rows(int64_t{depth} * count), y(count), z(count);
    fill(query, r, -1, 1);
    fill(rows, r, -1, 1);
    for (int64_t beyond = 0; beyond < 16; ++beyond) rows[rows.size() + beyond] = NAN;
    k.dots_f32({query.data(), rows.data(), depth, count, 0.3f, y.data()});
    dots_f32_ref({query.data(), rows.data(), depth, count, 0.3f, z.data()});
    expect_close(y, z, 1e-5, 1e-5, isa, "dots_f32");
  }
}
void check_mixture_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 60; ++i) {
    const int32_t depth = r.integer(1, 150), count = r.integer(1, 50);
    const bool adds = r.chance(50);
    Buffer<float> weights(count), rows(int64_t{depth} * count), y(depth), z(depth);
    fill(weights, r, 0, 1);
    fill(rows, r, -1, 1);
    for (int32_t d = 0; d < depth; ++d) y[d] = z[d] = r.real(-1, 1);
    k.mixture_f32({weights.data(), rows.data(), depth, count, adds, y.data()});
    mixture_f32_ref({weights.data(), rows.data(), depth, count, adds, z.data()});
    expect_close(y, z, 1e-5, 1e-5, isa, "mixture_f32");
  }
}
void check_cache_rows(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 100; ++i) {
    const int32_t depth = r.integer(1, 150), count = r.integer(1, 20), bits = r.chance(50) ? 4 : 8,
                  bytes = numerics::cache_row_bytes(depth, bits);
    Buffer<uint8_t> rows(int64_t{bytes} * count);
    fill(rows, r);
    Buffer<float> y(int64_t{depth} * count + 16), z(int64_t{depth} * count + 16);
    k.cache_rows({rows.data(), depth, count, bits, y.data()});
    cache_rows_ref({rows.data(), depth, count, bits, z.data()});
    ASSERT_EQ(std::memcmp(y.data(), z.data(), sizeof(float) * static_cast<size_t>(depth * count)), 0)
        << isa_name(isa) << " cache_rows, depth " << depth << ", " << bits << " bits";
    EXPECT_TRUE(y.intact());
  }
}
void check_turn_rows(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 200; ++i) {
    const bool even = r.chance(50), codes = r.chance(50), none = r.chance(10);
    const int32_t depth = even ? 8 * r.integer(1, 9) : r.integer(1, 70), count = r.integer(1, 16), entries = r.integer(1, 40),
                  rotated = even ? depth / (r.chance(30) ? 2 : 1) / 2 * 2 : 2 * r.integer(0, depth / 2), half = rotated / 2;
    Buffer<float> y(int64_t{depth} * count), z(int64_t{depth} * count), factors(depth), levels(depth);
    Buffer<float> reals[2] = {Buffer<float>(int64_t{entries} * half + 1), Buffer<float>(int64_t{entries} * half + 1)};
    Buffer<int8_t> integers[2] = {Buffer<int8_t>(int64_t{entries} * half + 1), Buffer<int8_t>(int64_t{entries} * half + 1)};
    Buffer<int32_t> positions(count);
    for (int64_t j = 0; j < int64_t{depth} * count; ++j) y[j] = z[j] = r.real(-9, 9);
    for (int32_t j = 0; j < depth; ++j) factors[j] = 1.0f / static_cast<float>(1 << r.integer(0, 6)), levels[j] = r.real(-20, 20);
    for (int32_t t = 0; t < count; ++t) positions[t] = r.integer(-2 * entries, 2 * entries);
    TurnTable tables[2] = {};
    for (int s = 0; s < 2 && !none && half > 0; ++s) {
      fill(reals[s], r, -1, 1);
      for (int64_t j = 0; j < integers[s].size(); ++j) integers[s][j] = static_cast<int8_t>(r.integer(-127, 127));
      tables[s] = codes ? TurnTable{integers[s].data(), nullptr, 0.0078f} : TurnTable{nullptr, reals[s].data(), 0};
    }
    const bool interleaved = r.chance(50);
    k.turn_rows({y.data(), depth, count, factors.data(), levels.data(), tables[0], tables[1], positions.data(), entries, rotated, interleaved});
    turn_rows_ref({z.data(), depth, count, factors.data(), levels.data(), tables[0], tables[1], positions.data(), entries, rotated, interleaved});
    ASSERT_EQ(std::memcmp(y.data(), z.data(), sizeof(float) * static_cast<size_t>(depth * count)), 0)
        << isa_name(isa) << " turn_rows, depth " << depth << ", turned " << rotated << (interleaved ? " by neighbours" : " by halves");
    EXPECT_TRUE(y.intact());
  }
}
void check_softmax_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 100; ++i) {
    const int64_t n = r.integer(1, 100);
    Buffer<float> x(n), y(n), z(n);
    const float range = i % 3 == 0 ? 200.0f : 6.0f;
    fill(x, r, -range, range);
    for (int64_t j = 0; j < n; ++j) {
      if (i % 10 == 9 || r.chance(10)) x[j] = -INFINITY;  // hidden; now and then all of them
    }
    k.softmax_f32(x.data(), y.data(), n);
    softmax_f32_ref(x.data(), z.data(), n);
    expect_close(y, z, 1e-5, 1e-7, isa, "softmax_f32");
    k.softmax_f32(x.data(), x.data(), n);  // in place
    SAME(x, y);
  }
}

void check_rows_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 60; ++i) {
    const int32_t depth = r.integer(1, 100), count = r.integer(1, 30);
    Buffer<float> x(depth), scale(count), bias(count), y(count), z(count);
    Buffer<int8_t> rows(int64_t{depth} * count);
    fill(x, r, -1, 1);
    fill(scale, r, 0.001f, 0.01f);
    fill(bias, r, -1, 1);
    for (int64_t n = 0; n < int64_t{depth} * count; ++n) rows.data()[n] = static_cast<int8_t>(r.integer(-127, 127));
    RowsF32 p{x.data(), rows.data(), depth, count, scale.data(), r.chance(30) ? nullptr : bias.data(), -0.5f, 2.0f, y.data()};
    k.rows_f32(p);
    p.y = z.data();
    rows_f32_ref(p);
    expect_close(y, z, 1e-5, 1e-5, isa, "rows_f32");
  }
}

void check_sparse_rows_f32(const Kernels& k, Isa isa) {
  Seeded r;
  for (int i = 0; i < 60; ++i) {
    const int32_t depth = r.integer(1, 200), count = r.integer(1, 60);
    Buffer<float> x(depth), scale(count), bias(count), y(count), z(count);
    fill(x, r, -1, 1);
    fill(scale, r, 0.001f, 0.01f);
    fill(bias, r, -1, 1);
    const SparseWeights<int8_t> drawn(r, (count + 15) / 16, 1, depth, [] { return int8_t{1}; });  // its spans alone
    std::vector<SparseBlock> blocks = drawn.blocks;
    std::vector<int8_t> rows(static_cast<size_t>(depth * count)), kept((rows.size() + 256) * kLanes);
    int8_t* to = kept.data();
    for (size_t b = 0; b < blocks.size(); ++b) {
      blocks[b].weights = to;
      for (const Span& s : drawn.spans[b]) {
        for (int32_t k = s.begin; k < s.end; k += kSpanStep, to += kLanes * kSpanStep) {
          for (int32_t n = 0; n < kLanes * kSpanStep; ++n) {
            const int32_t row = static_cast<int32_t>(b) * kLanes + n / kSpanStep, input = k + n % kSpanStep;
            if (row < count && input < s.end) to[n] = rows[static_cast<size_t>(row * depth + input)] = static_cast<int8_t>(r.integer(-127, 127));
          }
        }
      }
    }
    RowsF32 p{x.data(), nullptr, depth, count, scale.data(), r.chance(30) ? nullptr : bias.data(), -0.5f, 2.0f, y.data()};
    k.sparse_rows_f32(p, blocks.data());
    p.rows = rows.data(), p.y = z.data();
    rows_f32_ref(p);
    expect_close(y, z, 1e-5, 1e-5, isa, "sparse_rows_f32");
  }
}

#define PITH_KERNEL_TYPE(name, ...)                                               \
  TEST(Kernels, name) {                                                           \
    for (Isa isa : testing::available_isas()) check_##name(kernels_of(isa), isa); \
  }
#include "runtime/kernels/kernels.inc"
#undef PITH_KERNEL_TYPE

TEST(Isa, BestIsAvailableAndNamed) {
  EXPECT_TRUE(isa_available(best_isa()));
  EXPECT_TRUE(isa_available(Isa::kReference));
  for (int i = 0; i < kIsaCount; ++i) EXPECT_GT(std::strlen(isa_name(static_cast<Isa>(i))), 2u);
}

}  // namespace
}  // namespace pith::runtime
