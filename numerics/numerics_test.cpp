// Exhaustive and randomised checks of the integer arithmetic against wide arithmetic and libm.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "numerics/arithmetic.h"
#include "numerics/functions.h"
#include "numerics/scale.h"
#include "numerics/unary.h"

namespace pith::numerics {
namespace {

uint64_t state = std::getenv("PITH_SEED") ? std::strtoull(std::getenv("PITH_SEED"), nullptr, 10) : 1;
uint64_t next() {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return state >> 11;
}

TEST(Scale, CodesAreALogarithmicGrid) {
  for (int code = -320; code <= 320; ++code) {
    EXPECT_NEAR(scale_value(code) / std::exp2(code / 16.0), 1.0, 1e-14) << code;
    EXPECT_EQ(scale_code_at_least(scale_value(code)), code);
    EXPECT_EQ(scale_code_at_least(scale_value(code) * 1.0001), code + 1);
  }
  EXPECT_EQ(scale_code_at_least(0), kScaleCodeMin);
  EXPECT_EQ(scale_code_at_least(1e300), kScaleCodeMax);
}

TEST(Scale, MultiplierIsTheFactor) {
  for (int code = -288; code <= 16 * 13; ++code) {
    const Multiplier m = multiplier(code);
    ASSERT_TRUE(m.shift >= 1 && m.shift <= 32 && m.mantissa < (1 << 15)) << code;
    EXPECT_NEAR(m.mantissa * std::exp2(-m.shift) / std::exp2(code / 16.0), 1.0, 4e-5) << code;
  }
  EXPECT_EQ(multiplier(kScaleCodeMin).mantissa, 0);
}

TEST(Requantize, EqualsWideArithmetic) {
  for (int i = 0; i < 200000; ++i) {
    const int32_t acc = static_cast<int32_t>(next()) >> (next() % 24);
    const Multiplier m = multiplier(static_cast<int>(next() % 500) - 300);
    const __int128 wide = (static_cast<__int128>(acc) * m.mantissa * 2 + (static_cast<__int128>(1) << m.shift)) >> (m.shift + 1);
    const __int128 saturated = wide < INT32_MIN ? INT32_MIN : wide > INT32_MAX ? INT32_MAX : wide;
    ASSERT_EQ(requantize(acc, m), static_cast<int32_t>(saturated)) << acc << " seed " << state;
    const int zero = static_cast<int>(next() % 256);
    const __int128 y = saturated + zero;
    ASSERT_EQ(requantize_u8(acc, m, zero, 0, 255), y < 0 ? 0 : y > 255 ? 255 : static_cast<int>(y));
  }
  EXPECT_EQ(requantize_u8(INT32_MAX, multiplier(16 * 13), 255, 0, 255), 255);
  EXPECT_EQ(requantize_u8(INT32_MIN, multiplier(16 * 13), 0, 0, 255), 0);
}

TEST(Quantize, RoundTripsEveryCode) {
  for (int code : {-100, -33, 0, 7, 50}) {
    for (int zero : {0, 3, 128, 255}) {
      const Affine a{static_cast<int16_t>(code), static_cast<uint8_t>(zero)};
      for (int q = 0; q < 256; ++q) ASSERT_EQ(quantize_u8(dequantize(q, a), a), q);
    }
  }
  EXPECT_EQ(quantize_u8(NAN, {0, 7}), 7);
  EXPECT_EQ(quantize_u8(INFINITY, {0, 7}), 255);
  EXPECT_EQ(quantize_u8(-INFINITY, {0, 7}), 0);
  EXPECT_EQ(round_half_up(-0.5), 0);
  EXPECT_EQ(round_half_up(-1.5), -1);
  EXPECT_EQ(round_half_up(2.5), 3);
}

TEST(Arithmetic, AddIsWithinOneStepOfReal) {
  for (int i = 0; i < 200; ++i) {
    const Affine a{static_cast<int16_t>(next() % 100 - 80), static_cast<uint8_t>(next())};
    const Affine b{static_cast<int16_t>(next() % 100 - 80), static_cast<uint8_t>(next())};
    const int larger = a.scale_code > b.scale_code ? a.scale_code : b.scale_code;
    const Affine out{static_cast<int16_t>(larger + static_cast<int>(next() % 24)), static_cast<uint8_t>(next())};
    const bool subtract = next() % 2 != 0;
    const AddParams p = add_params(a, b, out, subtract);
    for (int x = 0; x < 256; x += 3) {
      for (int y = 0; y < 256; ++y) {
        const double real = (dequantize(x, a) + (subtract ? -1 : 1) * dequantize(y, b)) / scale_value(out.scale_code) + out.zero_point;
        const double clamped = real < 0 ? 0 : real > 255 ? 255 : real;
        ASSERT_NEAR(add_u8(static_cast<uint8_t>(x), static_cast<uint8_t>(y), p), clamped, 0.52) << "seed " << state;
      }
    }
  }
}

TEST(Arithmetic, AddNeverOverflows) {
  for (int code_a = kScaleCodeMin; code_a <= kScaleCodeMax; code_a += 37) {
    for (int code_b = kScaleCodeMin; code_b <= kScaleCodeMax; code_b += 41) {
      for (uint8_t zero : {0, 255}) {
        const AddParams p = add_params({static_cast<int16_t>(code_a), zero}, {static_cast<int16_t>(code_b), zero}, {0, 0});
        ASSERT_TRUE(p.shift >= 1 && p.shift <= 31);
        for (int x : {0, 255}) {
          for (int y : {0, 255}) {
            const int64_t sum = int64_t{x - zero} * p.mantissa_a + int64_t{y - zero} * p.mantissa_b;
            ASSERT_LT(std::llabs(sum) + (int64_t{1} << (p.shift - 1)), int64_t{1} << 31);
          }
        }
      }
    }
  }
}

TEST(Arithmetic, MulAndAverageAreWithinOneStepOfReal) {
  for (int i = 0; i < 200; ++i) {
    const Affine a{static_cast<int16_t>(next() % 60 - 80), static_cast<uint8_t>(next())};
    const Affine b{static_cast<int16_t>(next() % 60 - 80), static_cast<uint8_t>(next())};
    const Affine out{static_cast<int16_t>(a.scale_code + b.scale_code + 60), static_cast<uint8_t>(next())};
    const MulParams p = mul_params(a, b, out);
    for (int x = 0; x < 256; x += 5) {
      for (int y = 0; y < 256; ++y) {
        const double real = dequantize(x, a) * dequantize(y, b) / scale_value(out.scale_code) + out.zero_point;
        const double clamped = real < 0 ? 0 : real > 255 ? 255 : real;
        ASSERT_NEAR(mul_u8(static_cast<uint8_t>(x), static_cast<uint8_t>(y), p), clamped, 0.7);
      }
    }
    const int32_t count = static_cast<int32_t>(next() % 4000) + 1;
    const Multiplier m = average_multiplier(-8, count);
    ASSERT_TRUE(m.shift >= 1 && m.shift <= 32 && m.mantissa < (1 << 15));
    for (int q : {-255, -17, 1, 100, 255}) {
      ASSERT_NEAR(requantize(q * count, m), q * std::exp2(-0.5), 0.55) << count;
    }
  }
}

TEST(Functions, AgreeWithLibm) {
  const auto close = [](double mine, double theirs) {
    return std::abs(mine - theirs) <= 2e-13 * std::max(1.0, std::abs(theirs));
  };
  for (int i = -4000; i <= 4000; ++i) {
    const double x = i / 100.0 + 0.00123;
    ASSERT_NEAR(numerics::exp(x) / std::exp(x), 1, 1e-13) << x;
    ASSERT_PRED2(close, numerics::tanh(x), std::tanh(x)) << x;
    ASSERT_PRED2(close, numerics::erf(x), std::erf(x)) << x;
    ASSERT_PRED2(close, numerics::sin(x), std::sin(x)) << x;
    ASSERT_PRED2(close, numerics::cos(x), std::cos(x)) << x;
    ASSERT_PRED2(close, numerics::atan(x), std::atan(x)) << x;
    ASSERT_PRED2(close, numerics::sigmoid(x), 1 / (1 + std::exp(-x))) << x;
    ASSERT_PRED2(close, numerics::softplus(x), x > 30 ? x : std::log1p(std::exp(x))) << x;
    if (x > 0) {
      ASSERT_PRED2(close, numerics::log(x), std::log(x)) << x;
    }
    if (x > -1) {
      ASSERT_PRED2(close, numerics::log1p(x), std::log1p(x)) << x;
    }
    ASSERT_NEAR(numerics::expm1(x) / std::expm1(x), 1, 1e-12) << x;
    ASSERT_EQ(numerics::floor(x), std::floor(x));
    ASSERT_EQ(numerics::ceil(x), std::ceil(x));
    ASSERT_EQ(numerics::round_even(i / 2.0), std::nearbyint(i / 2.0));
    if (x > 0) {
      ASSERT_NEAR(numerics::pow(x, 1.7) / std::pow(x, 1.7), 1, 1e-12);
    }
    ASSERT_NEAR(numerics::pow(x, 3) / std::pow(x, 3), 1, 1e-13);
  }
  EXPECT_TRUE(std::isnan(numerics::log(-1)));
  EXPECT_EQ(numerics::exp(1000), INFINITY);
  EXPECT_EQ(numerics::exp(-1000), 0);
}

TEST(Table, HoldsTheFunction) {
  uint8_t table[256];
  const Affine in{-60, 100}, out{-64, 12};
  build_table(Unary::kSilu, 1, 0, in, out, table);
  for (int q = 0; q < 256; ++q) {
    const double x = dequantize(q, in), y = x / (1 + std::exp(-x));
    const double code = std::floor(y / scale_value(out.scale_code) + 0.5) + 12;
    EXPECT_EQ(table[q], code < 0 ? 0 : code > 255 ? 255 : code);
  }
}

}  // namespace
}  // namespace pith::numerics
