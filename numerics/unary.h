// Element-wise functions and their 256-entry tables for 8-bit activations. See unary.inc.
#pragma once

#include "numerics/functions.h"
#include "numerics/scale.h"

namespace pith::numerics {

enum class Unary : uint8_t {
#define PITH_UNARY(name, formula) k##name,
#include "numerics/unary.inc"
#undef PITH_UNARY
};
inline constexpr int kUnaryCount = 0
#define PITH_UNARY(name, formula) +1
#include "numerics/unary.inc"
#undef PITH_UNARY
    ;

inline const char* unary_name(Unary f) {
  switch (f) {
#define PITH_UNARY(name, formula) \
  case Unary::k##name:            \
    return #name;
#include "numerics/unary.inc"
#undef PITH_UNARY
  }
  return "?";
}

inline double clamp_unit(double x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

// f(x) with the function's parameters a and b (unused ones are ignored).
inline double apply_unary(Unary f, double x, double a, double b) {
  (void)a;
  (void)b;
  switch (f) {
#define PITH_UNARY(name, formula) \
  case Unary::k##name:            \
    return formula;
#include "numerics/unary.inc"
#undef PITH_UNARY
  }
  return x;
}

// table[q] = the 8-bit code under `out` of f applied to the value that q means under `in`. NaN results become the code
// of zero. Both scale codes must lie in [kScaleCodeMin, kScaleCodeMax].
inline void build_table(Unary f, double a, double b, Affine in, Affine out, uint8_t table[256]) {
  for (int q = 0; q < 256; ++q) table[q] = quantize_u8(apply_unary(f, dequantize(q, in), a, b), out);
}

}  // namespace pith::numerics
