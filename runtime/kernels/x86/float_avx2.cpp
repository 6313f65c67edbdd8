// Float kernels for AVX2 and FMA; see float_kernels.inc.
#include "program/format.h"
#include "runtime/kernels/x86/avx2.h"

#define PITH_FLOAT_SUFFIX avx2
#define PITH_FLOAT_TARGET __attribute__((target("avx2,fma")))
#define PITH_FLOAT_LANES 8
#define PITH_FLOAT_BLOCKS 1
#define PITH_FLOAT_FMA(a, b, c) ((V)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define PITH_FLOAT_TOTAL(v) total((__m256)(v))
#include "runtime/kernels/float_kernels.inc"
