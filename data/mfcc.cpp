// See mfcc.h.
#include "data/mfcc.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <vector>

namespace pith {
namespace {

using Spectrum = std::vector<std::complex<double>>;
constexpr double kPi = std::numbers::pi;

// In place, radix 2, size a power of two (Cooley and Tukey, 1965).
void fft(Spectrum& x) {
  const size_t n = x.size();
  for (size_t i = 1, j = 0; i < n; ++i) {  // bit-reversed order
    size_t bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(x[i], x[j]);
  }
  for (size_t half = 1; half < n; half *= 2) {
    for (size_t k = 0; k < half; ++k) {
      const std::complex<double> turn = std::polar(1.0, -kPi * static_cast<double>(k) / static_cast<double>(half));
      for (size_t start = k; start < n; start += 2 * half) {
        const std::complex<double> odd = turn * x[start + half];
        x[start + half] = x[start] - odd;
        x[start] += odd;
      }
    }
  }
}

double mel(double hertz) { return 1127.0 * std::log1p(hertz / 700.0); }

// Weights [bins][bands] of the triangles; the first bin (0 Hz) has none.
std::vector<std::vector<double>> mel_triangles(int rate, const Mfcc& o) {
  const size_t bins = static_cast<size_t>(o.fft) / 2 + 1, bands = static_cast<size_t>(o.bands);
  const double first = mel(o.low), width = (mel(o.high) - mel(o.low)) / (o.bands + 1);
  std::vector<std::vector<double>> weights(bins, std::vector<double>(bands, 0.0));
  for (size_t i = 1; i < bins; ++i) {
    const double at = mel(static_cast<double>(i) * rate / o.fft);
    for (size_t b = 0; b < bands; ++b) {
      const double rise = (at - first) / width - static_cast<double>(b);  // 0 at the lower edge, 1 at the centre
      weights[i][b] = std::max(0.0, std::min(rise, 2.0 - rise));
    }
  }
  return weights;
}

std::vector<double> log_bands(const Spectrum& spectrum, const std::vector<std::vector<double>>& triangles) {
  std::vector<double> bands(triangles[0].size(), 0.0);
  for (size_t i = 0; i < triangles.size(); ++i) {
    const double magnitude = std::abs(spectrum[i]);
    for (size_t b = 0; b < bands.size(); ++b) bands[b] += magnitude * triangles[i][b];
  }
  for (double& b : bands) b = std::log(b + 1e-6);
  return bands;
}

}  // namespace

Array compute_mfcc(std::span<const float> samples, int rate, const Mfcc& o) {
  const size_t frame = static_cast<size_t>(o.frame), step = static_cast<size_t>(o.step);
  const size_t frames = samples.size() < frame ? 0 : 1 + (samples.size() - frame) / step;
  Array out = make_array(ArrayType::kF32, {static_cast<int64_t>(frames), o.coefficients});
  if (frames == 0) return out;
  const double loudest = *std::max_element(samples.begin(), samples.end());
  const double unit = o.peak && loudest > 0 ? 1.0 / loudest : 1.0;
  const auto triangles = mel_triangles(rate, o);
  float* to = out.as<float>().data();
  for (size_t f = 0; f < frames; ++f) {
    Spectrum x(static_cast<size_t>(o.fft));
    for (size_t i = 0; i < frame; ++i) {
      const double window = 0.5 - 0.5 * std::cos(2 * kPi * static_cast<double>(i) / o.frame);
      x[i] = samples[f * step + i] * unit * window;
    }
    fft(x);
    const std::vector<double> bands = log_bands(x, triangles);
    for (int k = 0; k < o.coefficients; ++k) {
      double sum = 0;
      for (size_t b = 0; b < bands.size(); ++b) {
        sum += bands[b] * std::cos(kPi / o.bands * (static_cast<double>(b) + 0.5) * k);
      }
      *to++ = static_cast<float>(sum * std::sqrt(2.0 / o.bands));
    }
  }
  return out;
}

}  // namespace pith
