// Sound to features: log-mel spectra and mel-frequency cepstral coefficients (MFCCs), the inputs of keyword spotters,
// anomaly detectors and speech recognisers.
//
// For each frame: cut `window` samples out, weigh them with a Hann window, take the spectrum, add it up in bands that
// are equally wide to the ear (mel), take the logarithm, and perhaps a cosine transform that concentrates the shape of
// the spectrum in its first few numbers. Toolkits differ in every one of these steps, and a network works only with
// the flavour it was trained on: so each step is a parameter, and two flavours are given whole.
//
//   pith_mel_params params = pith_mel_mlperf_kws();             // 49 x 10 MFCCs of one second at 16 kHz
//   float memory[3072];
//   pith_mel mel;
//   pith_mel_init(&mel, &params, memory, sizeof memory);        // pith_mel_scratch_bytes(&params) says 11542
//   const int64_t dims[1] = {count};
//   pith_tensor_view sound = pith_view_i16(samples, 1, dims, 1.0f / 32768.0f, 0);
//   float features[49 * 10];
//   pith_mel_features(&mel, &sound, 49, features, 490);
#ifndef PITH_POST_MEL_H_
#define PITH_POST_MEL_H_

#include "post/fft.h"
#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pith_mel_scale {
  PITH_MEL_HTK = 0,     // mel = 1127 ln(1 + f / 700); triangles straight over mel, of height 1 (TensorFlow)
  PITH_MEL_SLANEY = 1,  // 15 mel per 1000 Hz up to there, then 27 mel per factor 6.4; triangles straight over Hz, of
                        // area 1 (librosa)
} pith_mel_scale;

typedef enum pith_mel_border {
  PITH_MEL_START = 0,          // frame t starts at sample t * step; behind the end there are zeros
  PITH_MEL_CENTRE_ZERO = 1,    // frame t has its middle at sample t * step; zeros on both sides of the sound
  PITH_MEL_CENTRE_MIRROR = 2,  // the same, the sound mirrored at its first and last sample
} pith_mel_border;

typedef struct pith_mel_params {
  int32_t sample_rate;  // Hz, 1 .. 1000000
  int32_t window;       // samples of a frame, 2 .. fft_size; periodic Hann
  int32_t step;         // samples from a frame to the next, 1 .. 1048576
  int32_t fft_size;     // as fft.h; what exceeds the window is zeros
  pith_mel_border border;
  int32_t peak;   // 1: samples are divided by the largest of the clip (the largest, not the largest magnitude;
                  // a clip without a positive sample stays as it is). 0: as they are
  int32_t power;  // 1: bands add up |X|^2. 0: |X|
  pith_mel_scale scale;
  int32_t bins;  // bands, 1 .. 512
  float low_hz,
      high_hz;       // lower edge of the first and upper edge of the last, 0 <= low, low + 1 <= high <= sample_rate / 2
  float log_floor;   // feature = log_scale * ln(max(band, log_floor) + log_offset); each 0 .. 1e9. A logarithm's
  float log_offset;  // argument below 1.18e-38, the smallest normal float, counts as that
  float log_scale;   // 1 for natural logarithms, 4.3429448 for decibels of a power; finite, within +-1e9
  int32_t coefficients;  // 0: the features are the `bins` logarithms. 1 .. bins: that many of their cosine transform
  int32_t orthonormal;   // the transform: sqrt(2 / bins) sum of log[n] cos(pi k (2n + 1) / (2 bins)); 1 divides the
                         // first one by sqrt(2) besides
} pith_mel_params;

// The keyword-spotting reference of MLPerf Tiny (mlcommons/tiny, after TensorFlow's tf.signal): 16 kHz, frames of 30 ms
// every 20 ms, FFT of 512, peak, magnitude, 40 HTK bands from 20 to 4000 Hz, ln(x + 1e-6), 10 coefficients, not
// orthonormal. 49 frames of 16000 samples.
pith_mel_params pith_mel_mlperf_kws(void);

// The anomaly-detection reference of MLPerf Tiny (after librosa): 16 kHz, frames of 1024 every 512, centred and
// mirrored, power, 128 Slaney bands from 0 to 8000 Hz, 10 log10(x + 2.2e-16). The network's input of 640 is five
// neighbouring frames, as they lie one behind the other in the output: features + 128 * first_frame.
pith_mel_params pith_mel_mlperf_ad(void);

typedef struct pith_mel {
  pith_mel_params params;
  pith_fft fft;
  float* window;   // [window]
  float* signal;   // [fft_size + 2], worked in
  float* spare;    // [fft_size + 2], worked in
  float* bands;    // [bins], worked in
  float* gain;     // [bins] 2 / width in Hz for Slaney, else 1
  float* cosines;  // [coefficients, bins]
  float* rising;   // [fft_size / 2 + 1] how far a spectral line is between the edges that enclose it, 0 .. 1
  int16_t* edge;   // [fft_size / 2 + 1] the edge below it, -1: outside all bands
} pith_mel;

// Bytes of memory for these parameters; 0 if one of them is out of range.
size_t pith_mel_scratch_bytes(const pith_mel_params* params);

// Computes the tables into the caller's memory, which must stay there. One pith_mel serves any number of clips, one
// after the other; for several at once, each needs its own.
// Errors: PITH_POST_NULL; PITH_POST_RANGE (a parameter, NaN too); PITH_POST_SCRATCH (too small, or not aligned to 4
// bytes).
pith_post_status pith_mel_init(pith_mel* mel, const pith_mel_params* params, void* memory, size_t bytes);

// Features per frame: coefficients, or bins where there are none. 0 for NULL.
int32_t pith_mel_width(const pith_mel* mel);

// How many frames a clip has: those that lie wholly inside it (PITH_MEL_START), or 1 + samples / step (centred).
// 0 for NULL or samples < 1.
int32_t pith_mel_frames(const pith_mel* mel, int64_t samples);

// The features of the first `frames` frames, [frames, width] row-major.
//   sound     [n] samples, or with leading dimensions of 1; any dtype. NaN counts as 0, and beyond +-1e9 as +-1e9
//   frames    at least 1. More than pith_mel_frames says is allowed: what lies behind the end is zeros (mirrored once,
//             where the border says so), as a clip that is too short is filled up for a network of fixed size
//   capacity  how many floats fit at `features`
// Every feature is finite. Errors: those of pith_view_check; PITH_POST_NULL (also for a zeroed pith_mel);
// PITH_POST_RANK; PITH_POST_RANGE (frames < 1); PITH_POST_CAPACITY.
pith_post_status pith_mel_features(pith_mel* mel, const pith_tensor_view* sound, int32_t frames, float* features,
                                   size_t capacity);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_MEL_H_
