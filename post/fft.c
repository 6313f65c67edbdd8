// Real FFT: see fft.h.
//
// A real signal of 2n numbers is read as n complex ones (even samples real, odd imaginary), transformed, and unfolded.
// The complex transform is Stockham's: decimation in frequency, one pass per prime factor (4 counts as one), each pass
// reading one buffer and writing the other in the order that the next one needs, so that no bit reversal remains and
// mixed factors cost nothing extra. Formulas: C. Van Loan, Computational Frameworks for the Fast Fourier Transform,
// SIAM 1992, sections 1.7 and 4.3. One table of cosines over a full turn serves all factors; sines are a quarter turn
// away.
#include "post/fft.h"

#include "post/exact_math.h"

enum { MAX_RADIX = 5 };

typedef struct complex_number {
  float re, im;
} complex_number;

// The next factor to split off a length, 0 if none of 4, 2, 3, 5 divides it.
static int32_t next_radix(int32_t length) {
  if (length % 4 == 0) return 4;
  if (length % 2 == 0) return 2;
  if (length % 3 == 0) return 3;
  return length % 5 == 0 ? 5 : 0;
}

int pith_fft_size_ok(int32_t size) {
  if (size < 4 || size > PITH_FFT_MAX_SIZE || size % 4 != 0) return 0;
  int32_t left = size / 2;
  while (left > 1) {
    const int32_t radix = next_radix(left);
    if (radix == 0) return 0;
    left /= radix;
  }
  return 1;
}

pith_post_status pith_fft_init(pith_fft* fft, int32_t size, float* cosines) {
  if (fft == NULL || cosines == NULL) return PITH_POST_NULL;
  if (!pith_fft_size_ok(size)) return PITH_POST_RANGE;
  fft->size = size;
  fft->cosines = cosines;
  for (int32_t i = 0; i < size; ++i) cosines[i] = (float)pith_cos_of_turn(i, size);
  return PITH_POST_OK;
}

// exp(-2 pi i index / size), 0 <= index < size
static complex_number root(const pith_fft* fft, int32_t index) {
  const int32_t quarter = index + fft->size / 4;
  const complex_number r = {fft->cosines[index], fft->cosines[quarter < fft->size ? quarter : quarter - fft->size]};
  return r;
}

static complex_number multiply(complex_number a, complex_number b) {
  const complex_number product = {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  return product;
}

// out[k] = sum of in[r] exp(-2 pi i r k / radix); `roots` are those of the radix, for 3 and 5.
static void small_transform(int32_t radix, const complex_number* roots, const complex_number* in, complex_number* out) {
  if (radix == 2) {
    out[0] = (complex_number){in[0].re + in[1].re, in[0].im + in[1].im};
    out[1] = (complex_number){in[0].re - in[1].re, in[0].im - in[1].im};
    return;
  }
  if (radix == 4) {
    const complex_number a = {in[0].re + in[2].re, in[0].im + in[2].im}, b = {in[0].re - in[2].re, in[0].im - in[2].im};
    const complex_number c = {in[1].re + in[3].re, in[1].im + in[3].im}, d = {in[1].re - in[3].re, in[1].im - in[3].im};
    out[0] = (complex_number){a.re + c.re, a.im + c.im};
    out[1] = (complex_number){b.re + d.im, b.im - d.re};
    out[2] = (complex_number){a.re - c.re, a.im - c.im};
    out[3] = (complex_number){b.re - d.im, b.im + d.re};
    return;
  }
  for (int32_t k = 0; k < radix; ++k) {
    out[k] = in[0];
    for (int32_t r = 1; r < radix; ++r) {
      const complex_number term = multiply(in[r], roots[r * k % radix]);
      out[k].re += term.re;
      out[k].im += term.im;
    }
  }
}

// One pass: `length` is what is left to transform, `stride` how many transforms of it lie interleaved.
static void pass(const pith_fft* fft, int32_t radix, int32_t length, int32_t stride, const complex_number* from,
                 complex_number* to) {
  const int32_t part = length / radix;
  complex_number roots[MAX_RADIX], twiddles[MAX_RADIX], in[MAX_RADIX], out[MAX_RADIX];
  for (int32_t r = 0; r < radix; ++r) roots[r] = root(fft, r * (fft->size / radix));
  for (int32_t q = 0; q < part; ++q) {
    for (int32_t k = 1; k < radix; ++k) twiddles[k] = root(fft, 2 * stride * q * k);
    for (int32_t t = 0; t < stride; ++t) {
      for (int32_t r = 0; r < radix; ++r) in[r] = from[t + stride * (q + part * r)];
      small_transform(radix, roots, in, out);
      complex_number* target = to + t + stride * radix * q;
      target[0] = out[0];
      for (int32_t k = 1; k < radix; ++k) target[k * stride] = multiply(out[k], twiddles[k]);
    }
  }
}

// From the transform Z of the folded signal to X, in place: with E, O the transforms of the even and the odd samples,
// Z = E + iO, and X[k] = E[k] + exp(-2 pi i k / size) O[k].
static void unfold(const pith_fft* fft, complex_number* z) {
  const int32_t half = fft->size / 2;
  z[half] = z[0];
  for (int32_t k = 0; k <= half / 2; ++k) {
    const complex_number a = z[k], b = z[half - k];
    const complex_number even = {0.5f * (a.re + b.re), 0.5f * (a.im - b.im)};
    const complex_number odd = multiply(root(fft, k), (complex_number){0.5f * (a.im + b.im), 0.5f * (b.re - a.re)});
    z[k] = (complex_number){even.re + odd.re, even.im + odd.im};
    z[half - k] = (complex_number){even.re - odd.re, odd.im - even.im};
  }
}

float* pith_fft_real(const pith_fft* fft, float* signal, float* spare) {
  complex_number* from = (complex_number*)(void*)signal;
  complex_number* to = (complex_number*)(void*)spare;
  for (int32_t length = fft->size / 2, stride = 1; length > 1;) {
    const int32_t radix = next_radix(length);
    pass(fft, radix, length, stride, from, to);
    complex_number* const written = to;
    to = from;
    from = written;
    length /= radix;
    stride *= radix;
  }
  unfold(fft, from);
  return &from->re;
}
