#include "post/mel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <vector>

#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

constexpr double kTurn = 6.283185307179586476925286766559;

pith_tensor_view view_of(const std::vector<float>& x) {
  const int64_t dims[1] = {static_cast<int64_t>(x.size())};
  return pith_view_f32(x.data(), 1, dims);
}

std::vector<float> features(const pith_mel_params& params, const pith_tensor_view& sound, int frames) {
  std::vector<float> memory(pith_mel_scratch_bytes(&params) / sizeof(float) + 1);
  pith_mel mel;
  EXPECT_EQ(pith_mel_init(&mel, &params, memory.data(), pith_mel_scratch_bytes(&params)), PITH_POST_OK);
  std::vector<float> out(static_cast<size_t>(frames * pith_mel_width(&mel)));
  EXPECT_EQ(pith_mel_features(&mel, &sound, frames, out.data(), out.size()), PITH_POST_OK);
  return out;
}

// A whole other way to the same numbers, in double: a direct transform of each frame, a dense matrix of triangles as
// tf.signal and librosa define them, and the standard library's logarithm and cosine.
double to_mel(const pith_mel_params& p, double hz) {
  if (p.scale == PITH_MEL_HTK) return 2595.0 * std::log10(1.0 + hz / 700.0);
  return hz < 1000 ? 3.0 * hz / 200.0 : 15.0 + std::log(hz / 1000.0) / (std::log(6.4) / 27.0);
}
double to_hz(const pith_mel_params& p, double mel) {
  if (p.scale == PITH_MEL_HTK) return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0);
  return mel < 15 ? 200.0 * mel / 3.0 : 1000.0 * std::exp((mel - 15.0) * std::log(6.4) / 27.0);
}

std::vector<std::vector<double>> triangles(const pith_mel_params& p) {
  std::vector<std::vector<double>> bank(static_cast<size_t>(p.bins));
  const double low = to_mel(p, p.low_hz), high = to_mel(p, p.high_hz);
  for (int b = 0; b < p.bins; ++b) {
    double edge[3];
    for (int i = 0; i < 3; ++i) edge[i] = low + (high - low) * (b + i) / (p.bins + 1);
    if (p.scale == PITH_MEL_SLANEY) {
      for (double& e : edge) e = to_hz(p, e);
    }
    for (int k = 0; k <= p.fft_size / 2; ++k) {
      const double hz = static_cast<double>(k) * p.sample_rate / p.fft_size;
      const double at = p.scale == PITH_MEL_SLANEY ? hz : to_mel(p, hz);
      const double up = (at - edge[0]) / (edge[1] - edge[0]), down = (edge[2] - at) / (edge[2] - edge[1]);
      const double area = p.scale == PITH_MEL_SLANEY ? 2.0 / (edge[2] - edge[0]) : 1.0;
      bank[static_cast<size_t>(b)].push_back(area * std::max(0.0, std::min(up, down)));
    }
  }
  return bank;
}

std::vector<double> spectrum(const pith_mel_params& p, const std::vector<float>& x, int frame, double divisor) {
  const long n = static_cast<long>(x.size());
  std::vector<double> samples;
  for (int i = 0; i < p.window; ++i) {
    long at = static_cast<long>(frame) * p.step + i - (p.border == PITH_MEL_START ? 0 : p.window / 2);
    if (p.border == PITH_MEL_CENTRE_MIRROR && at < 0) at = -at;
    if (p.border == PITH_MEL_CENTRE_MIRROR && at >= n) at = 2 * (n - 1) - at;
    const double value = at < 0 || at >= n ? 0.0 : static_cast<double>(x[static_cast<size_t>(at)]) / divisor;
    samples.push_back(value * (0.5 - 0.5 * std::cos(kTurn * i / p.window)));
  }
  std::vector<std::complex<double>> roots;
  for (int i = 0; i < p.fft_size; ++i) roots.push_back(std::polar(1.0, -kTurn * i / p.fft_size));
  std::vector<double> lines;
  for (int k = 0; k <= p.fft_size / 2; ++k) {
    std::complex<double> sum = 0;
    for (int i = 0; i < p.window; ++i) {
      sum += samples[static_cast<size_t>(i)] * roots[static_cast<size_t>(k * i % p.fft_size)];
    }
    lines.push_back(p.power ? std::norm(sum) : std::abs(sum));
  }
  return lines;
}

std::vector<double> directly(const pith_mel_params& p, const std::vector<float>& x, int frames) {
  const auto bank = triangles(p);
  double divisor = 1.0;
  if (p.peak && *std::max_element(x.begin(), x.end()) > 0) divisor = *std::max_element(x.begin(), x.end());
  std::vector<double> out;
  for (int t = 0; t < frames; ++t) {
    const std::vector<double> lines = spectrum(p, x, t, divisor);
    std::vector<double> logs;
    for (const auto& triangle : bank) {
      double sum = 0;
      for (size_t k = 0; k < lines.size(); ++k) sum += triangle[k] * lines[k];
      logs.push_back(p.log_scale * std::log(std::max<double>(sum, p.log_floor) + p.log_offset));
    }
    for (int k = 0; k < p.coefficients; ++k) {
      double sum = 0;
      for (int n = 0; n < p.bins; ++n)
        sum += logs[static_cast<size_t>(n)] * std::cos(kTurn / 4 * k * (2 * n + 1) / p.bins);
      out.push_back(sum * std::sqrt((k == 0 && p.orthonormal ? 1.0 : 2.0) / p.bins));
    }
    if (p.coefficients == 0) out.insert(out.end(), logs.begin(), logs.end());
  }
  return out;
}

TEST(Mel, OneBandByHand) {
  // A cosine on line 16 of 512 through a Hann window: magnitude 512 / 4 there and 512 / 8 on both sides. One Slaney
  // band from 0 to 1000 Hz, straight over Hz, peaks at 500 Hz, which is line 16; its neighbours weigh 15 / 16.
  std::vector<float> x;
  for (int i = 0; i < 512; ++i) x.push_back(static_cast<float>(std::cos(kTurn * 16 * i / 512)));
  pith_mel_params p = {};
  p.sample_rate = 16000, p.window = p.fft_size = 512, p.step = 512, p.scale = PITH_MEL_SLANEY;
  p.bins = 1, p.high_hz = 1000, p.log_scale = 1;
  const std::vector<float> magnitude = features(p, view_of(x), 1);
  EXPECT_NEAR(magnitude[0], std::log((128 + 2 * 64 * 15.0 / 16) * 2 / 1000), 1e-5);
  p.power = 1;
  const std::vector<float> power = features(p, view_of(x), 1);
  EXPECT_NEAR(power[0], std::log((128 * 128 + 2 * 64 * 64 * 15.0 / 16) * 2 / 1000), 1e-5);
  p.log_floor = 1000, p.log_offset = 24, p.log_scale = 10;
  EXPECT_NEAR(features(p, view_of(x), 1)[0], 10 * std::log(1024), 1e-4);
}

TEST(Mel, CosineTransformByHand) {
  const std::vector<float> x = Random(90).floats(512, -1, 1);
  pith_mel_params p = pith_mel_mlperf_kws();
  p.bins = 2, p.coefficients = 0;
  const std::vector<float> logs = features(p, view_of(x), 1);
  p.coefficients = 2;
  const std::vector<float> c = features(p, view_of(x), 1);
  EXPECT_NEAR(c[0], logs[0] + logs[1], 1e-5);
  EXPECT_NEAR(c[1], (logs[0] - logs[1]) / std::sqrt(2.0), 1e-5);
  p.orthonormal = 1;
  EXPECT_NEAR(features(p, view_of(x), 1)[0], (logs[0] + logs[1]) / std::sqrt(2.0), 1e-5);
}

void expect_agreement(const pith_mel_params& p, const std::vector<float>& x, int frames, double tolerance) {
  const std::vector<float> got = features(p, view_of(x), frames);
  const std::vector<double> expected = directly(p, x, frames);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], tolerance) << "feature " << i;
}

TEST(Mel, BothFlavoursAgreeWithTheDefinition) {
  Random random(91);
  std::vector<float> x = random.floats(4000, -0.3f, 0.2f);
  for (size_t i = 0; i < x.size(); ++i) x[i] += static_cast<float>(0.5 * std::sin(0.1 * static_cast<double>(i)));
  const pith_mel_params kws = pith_mel_mlperf_kws(), ad = pith_mel_mlperf_ad();
  ASSERT_NO_FATAL_FAILURE(expect_agreement(kws, x, 13, 1e-4));  // the last frames reach behind the end
  ASSERT_NO_FATAL_FAILURE(expect_agreement(ad, x, 8, 1e-3));    // decibels
}

TEST(Mel, RandomParametersAgreeWithTheDefinition) {
  Random random(92);
  const int32_t sizes[] = {64, 100, 128, 200, 240, 256, 400};
  for (int round = 0; round < 60; ++round) {
    pith_mel_params p = {};
    p.sample_rate = random.integer(8000, 48000);
    p.fft_size = sizes[random.integer(0, 6)];
    p.window = random.integer(p.fft_size / 2, p.fft_size);
    p.step = random.integer(1, 200);
    p.border = static_cast<pith_mel_border>(random.integer(0, 2));
    p.peak = random.integer(0, 1), p.power = random.integer(0, 1), p.orthonormal = random.integer(0, 1);
    p.scale = static_cast<pith_mel_scale>(random.integer(0, 1));
    p.bins = random.integer(1, 40);
    p.low_hz = random.uniform(0.0f, 500.0f);
    p.high_hz = random.uniform(2000.0f, 0.5f * static_cast<float>(p.sample_rate));
    p.log_offset = 1e-6f, p.log_scale = 1.0f;
    if (random.integer(0, 1)) p.log_floor = 1e-4f;
    if (random.integer(0, 1)) p.coefficients = random.integer(1, p.bins);
    const std::vector<float> x = random.floats(static_cast<size_t>(random.integer(1, 1500)), -1.0f, 1.0f);
    // A band with one line, itself near zero, has a logarithm that magnifies a float's rounding.
    ASSERT_NO_FATAL_FAILURE(expect_agreement(p, x, random.integer(1, 6), 3e-3)) << "round " << round;
  }
}

TEST(Mel, SixteenBitSoundGivesWhatItsFloatsGive) {
  Random random(93);
  std::vector<int16_t> q;
  std::vector<float> x;
  for (int i = 0; i < 1200; ++i) {
    q.push_back(static_cast<int16_t>(random.integer(-32768, 32767)));
    x.push_back(static_cast<float>(q.back()) / 32768.0f);
  }
  const int64_t dims[2] = {1, 1200};
  for (const pith_mel_params& p : {pith_mel_mlperf_kws(), pith_mel_mlperf_ad()}) {
    EXPECT_EQ(features(p, pith_view_i16(q.data(), 2, dims, 1.0f / 32768.0f, 0), 3), features(p, view_of(x), 3));
  }
}

// Only additions, multiplications, divisions and square roots lie between samples and features: IEEE 754 fixes every
// bit, on every processor. The sound comes from a linear congruential generator.
TEST(Mel, SameBitsEverywhere) {
  std::vector<int16_t> q;
  uint32_t state = 1;
  for (int i = 0; i < 16000; ++i) {
    state = state * 1664525u + 1013904223u;
    q.push_back(static_cast<int16_t>(static_cast<int32_t>(state >> 16) - 32768));
  }
  const int64_t dims[1] = {16000};
  const pith_tensor_view sound = pith_view_i16(q.data(), 1, dims, 1.0f / 32768.0f, 0);
  const auto hash = [&](const pith_mel_params& p, int frames) {
    uint64_t h = 14695981039346656037u;  // FNV-1a
    for (const float f : features(p, sound, frames)) {
      uint32_t bits;
      std::memcpy(&bits, &f, sizeof bits);
      h = (h ^ bits) * 1099511628211u;
    }
    return h;
  };
  EXPECT_EQ(hash(pith_mel_mlperf_kws(), 49), 15383228298251436289u);
  EXPECT_EQ(hash(pith_mel_mlperf_ad(), 32), 3174425649262436578u);
}

TEST(Mel, FramesAndSizes) {
  std::vector<float> memory(8192);
  pith_mel kws, ad;
  const pith_mel_params pk = pith_mel_mlperf_kws(), pa = pith_mel_mlperf_ad();
  EXPECT_EQ(pith_mel_scratch_bytes(&pk), 11542u);
  EXPECT_EQ(pith_mel_scratch_bytes(&pa), 20502u);
  ASSERT_EQ(pith_mel_init(&kws, &pk, memory.data(), memory.size() * sizeof(float)), PITH_POST_OK);
  EXPECT_EQ(pith_mel_width(&kws), 10);
  EXPECT_EQ(pith_mel_frames(&kws, 16000), 49);
  EXPECT_EQ(pith_mel_frames(&kws, 480), 1);
  EXPECT_EQ(pith_mel_frames(&kws, 479), 0);
  EXPECT_EQ(pith_mel_frames(&kws, 0), 0);
  EXPECT_EQ(pith_mel_frames(&kws, INT64_MAX), INT32_MAX);
  ASSERT_EQ(pith_mel_init(&ad, &pa, memory.data(), memory.size() * sizeof(float)), PITH_POST_OK);
  EXPECT_EQ(pith_mel_width(&ad), 128);
  EXPECT_EQ(pith_mel_frames(&ad, 160000), 313);  // ten seconds
  EXPECT_EQ(pith_mel_frames(nullptr, 16000), 0);
  EXPECT_EQ(pith_mel_width(nullptr), 0);
}

TEST(Mel, SilenceAndHostileSoundStayFinite) {
  Random random(94);
  std::vector<std::vector<float>> sounds = {
      std::vector<float>(2000, 0.0f), std::vector<float>(2000, -1.0f), {}, {}, {}, {}};
  for (int i = 0; i < 2000; ++i) {
    sounds[2].push_back(random.any_float());
    sounds[3].push_back(i % 2 ? 3e38f : -INFINITY);
    sounds[4].push_back(i == 7 ? 1e-45f : -1e9f);  // a tiny peak
  }
  sounds[5] = {NAN};
  for (const auto& x : sounds) {
    for (pith_mel_params p : {pith_mel_mlperf_kws(), pith_mel_mlperf_ad()}) {
      for (const int peak : {0, 1}) {
        p.peak = peak;
        for (const float f : features(p, view_of(x), 7)) ASSERT_TRUE(std::isfinite(f));
        p.log_offset = 0;
        for (const float f : features(p, view_of(x), 7)) ASSERT_TRUE(std::isfinite(f));
      }
    }
  }
  const std::vector<float> silent = features(pith_mel_mlperf_ad(), view_of(sounds[0]), 1);
  EXPECT_NEAR(silent[0], 10 * std::log10(2.220446e-16), 1e-3);
}

TEST(Mel, ATinyPeakCannotBlowTheSamplesUp) {
  std::vector<float> x(600, -1e9f), limited = x;
  x[7] = 1e-45f, limited[7] = 1.0f;
  pith_mel_params p = pith_mel_mlperf_kws();
  const std::vector<float> got = features(p, view_of(x), 1);
  p.peak = 0;
  EXPECT_EQ(got, features(p, view_of(limited), 1));
}

TEST(Mel, RefusesParameters) {
  const auto bytes = [](auto change) {
    pith_mel_params p = pith_mel_mlperf_kws();
    change(p);
    return pith_mel_scratch_bytes(&p);
  };
  EXPECT_EQ(pith_mel_scratch_bytes(nullptr), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.sample_rate = 0; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.fft_size = 511; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.fft_size = 1 << 30; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.window = 513; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.window = 1; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.step = 0; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.border = static_cast<pith_mel_border>(3); }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.bins = 0; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.bins = 513; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.coefficients = 41; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.coefficients = -1; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.high_hz = 8001; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.high_hz = 20.5f; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.low_hz = NAN; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.high_hz = NAN; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.log_offset = -1; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.log_floor = INFINITY; }), 0u);
  EXPECT_EQ(bytes([](auto& p) { p.log_scale = NAN; }), 0u);
  pith_mel_params p = pith_mel_mlperf_kws();
  pith_mel mel;
  std::vector<float> memory(4096);
  EXPECT_EQ(pith_mel_init(&mel, &p, memory.data(), pith_mel_scratch_bytes(&p) - 1), PITH_POST_SCRATCH);
  EXPECT_EQ(pith_mel_init(&mel, &p, reinterpret_cast<char*>(memory.data()) + 2, 16000), PITH_POST_SCRATCH);
  EXPECT_EQ(pith_mel_init(nullptr, &p, memory.data(), 16384), PITH_POST_NULL);
  EXPECT_EQ(pith_mel_init(&mel, nullptr, memory.data(), 16384), PITH_POST_NULL);
  EXPECT_EQ(pith_mel_init(&mel, &p, nullptr, 16384), PITH_POST_NULL);
  p.bins = 0;
  EXPECT_EQ(pith_mel_init(&mel, &p, memory.data(), 16384), PITH_POST_RANGE);
}

TEST(Mel, RefusesSounds) {
  const pith_mel_params p = pith_mel_mlperf_kws();
  std::vector<float> memory(4096), x(1000), out(490);
  pith_mel mel;
  ASSERT_EQ(pith_mel_init(&mel, &p, memory.data(), 16384), PITH_POST_OK);
  const pith_tensor_view sound = view_of(x);
  EXPECT_EQ(pith_mel_features(&mel, &sound, 49, out.data(), 490), PITH_POST_OK);
  EXPECT_EQ(pith_mel_features(&mel, &sound, 49, out.data(), 489), PITH_POST_CAPACITY);
  EXPECT_EQ(pith_mel_features(&mel, &sound, INT32_MAX, out.data(), 490), PITH_POST_CAPACITY);
  EXPECT_EQ(pith_mel_features(&mel, &sound, 0, out.data(), 490), PITH_POST_RANGE);
  EXPECT_EQ(pith_mel_features(&mel, nullptr, 1, out.data(), 490), PITH_POST_NULL);
  EXPECT_EQ(pith_mel_features(nullptr, &sound, 1, out.data(), 490), PITH_POST_NULL);
  EXPECT_EQ(pith_mel_features(&mel, &sound, 1, nullptr, 490), PITH_POST_NULL);
  pith_mel zeroed = {};
  EXPECT_EQ(pith_mel_features(&zeroed, &sound, 1, out.data(), 490), PITH_POST_NULL);
  const int64_t dims[2] = {2, 500};
  const pith_tensor_view stereo = pith_view_f32(x.data(), 2, dims);
  EXPECT_EQ(pith_mel_features(&mel, &stereo, 1, out.data(), 490), PITH_POST_RANK);
}

}  // namespace
}  // namespace pith
