// Discrete Fourier transform of real signals, for mel.h and for whoever needs a spectrum.
//
//   X[k] = sum over n of x[n] exp(-2 pi i k n / size),  k = 0 .. size / 2
//
// Sizes are 4 times any product of 2, 3 and 5, up to 16384: 256, 400, 512, 1024, ...
#ifndef PITH_POST_FFT_H_
#define PITH_POST_FFT_H_

#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PITH_FFT_MAX_SIZE = 16384 };

typedef struct pith_fft {
  int32_t size;
  float* cosines;  // [size] cos(2 pi i / size), in the caller's memory
} pith_fft;

int pith_fft_size_ok(int32_t size);  // 1 for a size as above

// Fills the table, which lies in the caller's memory and must stay there: room for `size` floats.
// Errors: PITH_POST_NULL; PITH_POST_RANGE (the size).
pith_post_status pith_fft_init(pith_fft* fft, int32_t size, float* cosines);

// The transform of `size` real numbers in `signal`. Both buffers have room for size + 2 floats and are overwritten; the
// answer is the one of them that holds the result: size / 2 + 1 pairs (real, imaginary). Relative error about 1e-7 of
// the largest value. The caller has checked everything: NULL isn't caught here.
float* pith_fft_real(const pith_fft* fft, float* signal, float* spare);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_FFT_H_
