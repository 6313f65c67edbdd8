// Float kernels for AVX2 and FMA; see float_kernels.inc.
#include <immintrin.h>

#include "program/format.h"
#include "runtime/kernels/kernels.h"

#define PITH_FLOAT_SUFFIX avx2
#define PITH_FLOAT_TARGET __attribute__((target("avx2,fma")))
#define PITH_FLOAT_LANES 8
#define PITH_FLOAT_BLOCKS 1
#define PITH_FLOAT_FMA(a, b, c) ((V)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#include "runtime/kernels/float_kernels.inc"
