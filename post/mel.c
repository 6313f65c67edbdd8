// Mel features: see mel.h.
//
// The filter bank isn't stored as a matrix of bins x lines (41 KB for 40 x 257). The triangles' edges divide the
// spectrum into intervals, and a line between two edges belongs to two triangles only: the one that rises there takes
// the share `rising`, the one that falls takes the rest. So a line needs one share and one edge number, and the bank is
// applied in one walk over the spectrum.
//
// Sources: the HTK book, 5.4 and 5.6 (mel scale, cosine transform); M. Slaney, Auditory Toolbox, 1998 (the other
// scale); the public documentation of tf.signal and librosa, and the mlcommons/tiny reference for the two flavours.
#include "post/mel.h"

#include <string.h>

#include "post/exact_math.h"
#include "post/internal.h"

#define SAMPLE_LIMIT 1e9f
#define SMALLEST_NORMAL 1.17549435e-38

enum { MAX_BINS = 512, MAX_STEP = 1 << 20, MAX_RATE = 1000000 };

pith_mel_params pith_mel_mlperf_kws(void) {
  const pith_mel_params params = {.sample_rate = 16000,
                                  .window = 480,
                                  .step = 320,
                                  .fft_size = 512,
                                  .border = PITH_MEL_START,
                                  .peak = 1,
                                  .power = 0,
                                  .scale = PITH_MEL_HTK,
                                  .bins = 40,
                                  .low_hz = 20.0f,
                                  .high_hz = 4000.0f,
                                  .log_offset = 1e-6f,
                                  .log_scale = 1.0f,
                                  .coefficients = 10};
  return params;
}

pith_mel_params pith_mel_mlperf_ad(void) {
  const pith_mel_params params = {.sample_rate = 16000,
                                  .window = 1024,
                                  .step = 512,
                                  .fft_size = 1024,
                                  .border = PITH_MEL_CENTRE_MIRROR,
                                  .power = 1,
                                  .scale = PITH_MEL_SLANEY,
                                  .bins = 128,
                                  .low_hz = 0.0f,
                                  .high_hz = 8000.0f,
                                  .log_offset = 2.220446049250313e-16f,
                                  .log_scale = 4.342944819032518f};
  return params;
}

static int within(float x, float low, float high) { return x >= low && x <= high; }

static int params_ok(const pith_mel_params* p) {
  const int frames = p->sample_rate >= 1 && p->sample_rate <= MAX_RATE && p->step >= 1 && p->step <= MAX_STEP &&
                     pith_fft_size_ok(p->fft_size) && p->window >= 2 && p->window <= p->fft_size;
  const int choices =
      (p->border == PITH_MEL_START || p->border == PITH_MEL_CENTRE_ZERO || p->border == PITH_MEL_CENTRE_MIRROR) &&
      (p->scale == PITH_MEL_HTK || p->scale == PITH_MEL_SLANEY);
  const int bands = p->bins >= 1 && p->bins <= MAX_BINS && p->coefficients >= 0 && p->coefficients <= p->bins &&
                    p->low_hz >= 0.0f && p->high_hz >= p->low_hz + 1.0f && p->high_hz <= 0.5f * (float)p->sample_rate;
  const int logarithm =
      within(p->log_floor, 0.0f, 1e9f) && within(p->log_offset, 0.0f, 1e9f) && within(p->log_scale, -1e9f, 1e9f);
  return frames && choices && bands && logarithm;
}

static size_t line_count(const pith_mel_params* p) { return (size_t)p->fft_size / 2 + 1; }

// Hands out the arrays one behind the other; the floats come first, so that all are aligned.
static size_t lay_out(pith_mel* mel, float* memory) {
  const pith_mel_params* p = &mel->params;
  const size_t size = (size_t)p->fft_size, bins = (size_t)p->bins;
  const size_t lengths[8] = {
      size, (size_t)p->window, size + 2, size + 2, bins, bins, (size_t)p->coefficients * bins, line_count(p)};
  float** const arrays[8] = {&mel->fft.cosines, &mel->window, &mel->signal,  &mel->spare,
                             &mel->bands,       &mel->gain,   &mel->cosines, &mel->rising};
  size_t used = 0;
  for (int i = 0; i < 8; ++i) {
    if (memory != NULL) *arrays[i] = memory + used;
    used += lengths[i];
  }
  if (memory != NULL) mel->edge = (int16_t*)(void*)(memory + used);
  return used * sizeof(float) + line_count(p) * sizeof(int16_t);
}

size_t pith_mel_scratch_bytes(const pith_mel_params* params) {
  if (params == NULL || !params_ok(params)) return 0;
  pith_mel mel;
  mel.params = *params;
  return lay_out(&mel, NULL);
}

// Slaney's scale: its two pieces meet at 1000 Hz, 15 mel.
static double slaney_mel(double hz) {
  return hz < 1000.0 ? hz * 0.015 : 15.0 + 27.0 * pith_ln(hz / 1000.0) / pith_ln(6.4);
}
static double slaney_hz(double mel) {
  return mel < 15.0 ? mel / 0.015 : 1000.0 * pith_exp((mel - 15.0) * pith_ln(6.4) / 27.0);
}
static double htk_mel(double hz) { return 1127.0 * pith_ln(1.0 + hz / 700.0); }

// The edge'th of bins + 2 edges, in the unit over which the triangles are straight.
static double edge_at(const pith_mel_params* p, int32_t edge) {
  const int slaney = p->scale == PITH_MEL_SLANEY;
  const double low = slaney ? slaney_mel(p->low_hz) : htk_mel(p->low_hz);
  const double high = slaney ? slaney_mel(p->high_hz) : htk_mel(p->high_hz);
  const double mel = low + (high - low) * (double)edge / (double)(p->bins + 1);
  return slaney ? slaney_hz(mel) : mel;
}

static void build_bank(pith_mel* mel) {
  const pith_mel_params* p = &mel->params;
  double below = edge_at(p, 0), above = edge_at(p, 1);
  int32_t edge = 0;
  for (size_t line = 0; line < line_count(p); ++line) {
    const double hz = (double)line * (double)p->sample_rate / (double)p->fft_size;
    const double place = p->scale == PITH_MEL_SLANEY ? hz : htk_mel(hz);
    while (edge <= p->bins && place >= above) {
      below = above;
      if (++edge <= p->bins) above = edge_at(p, edge + 1);
    }
    const int inside = edge <= p->bins && place >= below;
    mel->edge[line] = (int16_t)(inside ? edge : -1);
    mel->rising[line] = inside ? (float)((place - below) / (above - below)) : 0.0f;
  }
  for (int32_t bin = 0; bin < p->bins; ++bin) {
    mel->gain[bin] = p->scale == PITH_MEL_SLANEY ? (float)(2.0 / (edge_at(p, bin + 2) - edge_at(p, bin))) : 1.0f;
  }
}

static void build_cosines(pith_mel* mel) {
  const int32_t bins = mel->params.bins;
  const float scale = sqrtf(2.0f / (float)bins), first = mel->params.orthonormal ? sqrtf(1.0f / (float)bins) : scale;
  for (int32_t k = 0; k < mel->params.coefficients; ++k) {
    for (int32_t n = 0; n < bins; ++n) {
      const double cosine = pith_cos_of_turn((int64_t)k * (2 * n + 1), 4 * (int64_t)bins);
      mel->cosines[k * bins + n] = (k == 0 ? first : scale) * (float)cosine;
    }
  }
}

pith_post_status pith_mel_init(pith_mel* mel, const pith_mel_params* params, void* memory, size_t bytes) {
  if (mel == NULL || params == NULL || memory == NULL) return PITH_POST_NULL;
  const size_t needed = pith_mel_scratch_bytes(params);
  if (needed == 0) return PITH_POST_RANGE;
  if (bytes < needed || (uintptr_t)memory % sizeof(float) != 0) return PITH_POST_SCRATCH;
  memset(mel, 0, sizeof *mel);
  mel->params = *params;
  lay_out(mel, (float*)memory);
  const pith_post_status status = pith_fft_init(&mel->fft, params->fft_size, mel->fft.cosines);
  if (status != PITH_POST_OK) return status;
  for (int32_t i = 0; i < params->window; ++i) {
    mel->window[i] = (float)(0.5 - 0.5 * pith_cos_of_turn(i, params->window));
  }
  build_bank(mel);
  build_cosines(mel);
  return PITH_POST_OK;
}

int32_t pith_mel_width(const pith_mel* mel) {
  if (mel == NULL) return 0;
  return mel->params.coefficients != 0 ? mel->params.coefficients : mel->params.bins;
}

int32_t pith_mel_frames(const pith_mel* mel, int64_t samples) {
  if (mel == NULL || samples < 1 || mel->params.step < 1) return 0;
  int64_t frames = 1 + samples / mel->params.step;
  if (mel->params.border == PITH_MEL_START) {
    frames = samples < mel->params.window ? 0 : 1 + (samples - mel->params.window) / mel->params.step;
  }
  return frames < INT32_MAX ? (int32_t)frames : INT32_MAX;
}

static float limited(float x) {
  if (x != x) return 0.0f;
  return x > SAMPLE_LIMIT ? SAMPLE_LIMIT : x < -SAMPLE_LIMIT ? -SAMPLE_LIMIT : x;
}

// One sample of the clip, wherever it lies: 0 outside, or the mirror's.
static float sample_at(const pith_mel* mel, const pith_tensor_view* sound, int64_t at) {
  const int64_t last = sound->dims[0] - 1;
  if (mel->params.border == PITH_MEL_CENTRE_MIRROR) {
    if (at < 0) at = -at;
    if (at > last) at = 2 * last - at;
  }
  return at < 0 || at > last ? 0.0f : limited(pith_read(sound, at * sound->strides[0]));
}

static float peak_of(const pith_mel* mel, const pith_tensor_view* sound) {
  float peak = 0.0f;
  for (int64_t i = 0; i < sound->dims[0]; ++i) {
    const float x = sample_at(mel, sound, i);
    if (x > peak) peak = x;
  }
  return peak;
}

static float logarithm(const pith_mel_params* p, float band) {
  const float x = (band > p->log_floor ? band : p->log_floor) + p->log_offset;
  return p->log_scale * (float)pith_ln(x > SMALLEST_NORMAL ? x : SMALLEST_NORMAL);
}

// signal -> bands
static void add_up_bands(pith_mel* mel) {
  const pith_mel_params* p = &mel->params;
  const float* spectrum = pith_fft_real(&mel->fft, mel->signal, mel->spare);
  memset(mel->bands, 0, (size_t)p->bins * sizeof(float));
  for (size_t line = 0; line < line_count(p); ++line) {
    const int32_t edge = mel->edge[line];
    if (edge < 0) continue;
    const float re = spectrum[2 * line], im = spectrum[2 * line + 1];
    const float square = re * re + im * im;
    const float value = p->power ? square : sqrtf(square);
    const float rising = mel->rising[line];
    if (edge < p->bins) mel->bands[edge] += rising * value;
    if (edge > 0) mel->bands[edge - 1] += (1.0f - rising) * value;
  }
  for (int32_t bin = 0; bin < p->bins; ++bin) mel->bands[bin] = logarithm(p, mel->bands[bin] * mel->gain[bin]);
}

static void one_frame(pith_mel* mel, const pith_tensor_view* sound, int64_t first, float divisor, float* features) {
  const pith_mel_params* p = &mel->params;
  for (int32_t i = 0; i < p->window; ++i) {
    mel->signal[i] = limited(sample_at(mel, sound, first + i) / divisor) * mel->window[i];
  }
  memset(mel->signal + p->window, 0, (size_t)(p->fft_size - p->window) * sizeof(float));
  add_up_bands(mel);
  if (p->coefficients == 0) {
    memcpy(features, mel->bands, (size_t)p->bins * sizeof(float));
    return;
  }
  for (int32_t k = 0; k < p->coefficients; ++k) {
    float sum = 0.0f;
    for (int32_t n = 0; n < p->bins; ++n) sum += mel->cosines[k * p->bins + n] * mel->bands[n];
    features[k] = sum;
  }
}

pith_post_status pith_mel_features(pith_mel* mel, const pith_tensor_view* sound, int32_t frames, float* features,
                                   size_t capacity) {
  const pith_post_status status = pith_view_check(sound);
  if (status != PITH_POST_OK) return status;
  if (mel == NULL || mel->window == NULL || features == NULL) return PITH_POST_NULL;
  const pith_tensor_view clip = pith_post_squeeze(*sound, 1);
  if (clip.rank != 1) return PITH_POST_RANK;
  if (frames < 1) return PITH_POST_RANGE;
  const size_t width = (size_t)pith_mel_width(mel);
  if ((size_t)frames > capacity / width) return PITH_POST_CAPACITY;

  const float peak = mel->params.peak ? peak_of(mel, &clip) : 0.0f;
  const int64_t lead = mel->params.border == PITH_MEL_START ? 0 : mel->params.window / 2;
  for (int32_t t = 0; t < frames; ++t) {
    const int64_t first = (int64_t)t * mel->params.step - lead;
    one_frame(mel, &clip, first, peak > 0.0f ? peak : 1.0f, features + (size_t)t * width);
  }
  return PITH_POST_OK;
}
