// Float kernels for NEON; see float_kernels.inc.
#include <arm_neon.h>

#include "program/format.h"
#include "runtime/kernels/kernels.h"

#define PITH_FLOAT_SUFFIX neon
#define PITH_FLOAT_TARGET
#define PITH_FLOAT_LANES 4
#define PITH_FLOAT_BLOCKS 1
#define PITH_FLOAT_FMA(a, b, c) ((V)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define PITH_FLOAT_TOTAL(v) vaddvq_f32((float32x4_t)(v))
#include "runtime/kernels/float_kernels.inc"
