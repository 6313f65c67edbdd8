// MFCC: the features that small keyword-spotting networks hear.
//
// Method, as in TensorFlow's documented tf.signal chain (stft, linear_to_mel_weight_matrix,
// mfccs_from_log_mel_spectrograms): frames without padding times a periodic Hann window, a zero-padded FFT, magnitudes,
// triangular bands that are linear in HTK's mel scale, log(x + 1e-6), DCT-II times sqrt(2 / bands), of which the first
// coefficients are kept. All in double.
#pragma once

#include <cstdint>
#include <span>

#include "data/array.h"

namespace pith {

struct Mfcc {
  int coefficients = 10;
  int frame = 480, step = 320, fft = 512;  // samples; fft is a power of two and at least frame
  int bands = 40;
  float low = 20, high = 4000;  // Hz, the outer edges of the bands
  bool peak = false;            // divide by the largest sample first (as MLPerf Tiny's training did)

  bool operator==(const Mfcc&) const = default;
};

// f32 [frames, coefficients]; frames = 1 + (samples - frame) / step, 0 where the sound is shorter than a frame.
Array compute_mfcc(std::span<const float> samples, int rate, const Mfcc& options);

}  // namespace pith
