// Float kernels for AVX-512; see float_kernels.inc.
#include "program/format.h"
#include "runtime/kernels/x86/avx512.h"

#define PITH_FLOAT_SUFFIX avx512
#define PITH_FLOAT_TARGET PITH_AVX512
#define PITH_FLOAT_LANES 16
#define PITH_FLOAT_BLOCKS 4
#define PITH_FLOAT_FMA(a, b, c) ((V)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define PITH_FLOAT_TOTAL(v) _mm512_reduce_add_ps((__m512)(v))
#include "runtime/kernels/float_kernels.inc"
