#include "post/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>

#include "post/internal.h"
#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

TEST(Status, EachHasItsOwnLine) {
  std::set<std::string> lines;
  for (int s = PITH_POST_OK; s <= PITH_POST_TEXT; ++s)
    lines.insert(pith_post_message(static_cast<pith_post_status>(s)));
  EXPECT_EQ(lines.size(), PITH_POST_TEXT + 1u);
  const std::string unknown = pith_post_message(static_cast<pith_post_status>(15));
  EXPECT_NE(unknown.find("unknown"), std::string::npos);
}

TEST(View, DenseStridesAndBytes) {
  const float data[24] = {};
  const int64_t dims[3] = {2, 3, 4};
  const pith_tensor_view v = pith_view_f32(data, 3, dims);
  EXPECT_EQ(v.strides[0], 12);
  EXPECT_EQ(v.strides[1], 4);
  EXPECT_EQ(v.strides[2], 1);
  EXPECT_EQ(v.bytes, sizeof data);
  EXPECT_EQ(pith_view_check(&v), PITH_POST_OK);
}

TEST(View, SwapAndAtReadTheSameElements) {
  float data[24];
  for (int i = 0; i < 24; ++i) data[i] = static_cast<float>(i);
  const int64_t dims[3] = {2, 3, 4};
  const pith_tensor_view v = pith_view_f32(data, 3, dims);
  const pith_tensor_view picked = pith_view_at(v, 1, 2);  // [2, 4]
  ASSERT_EQ(picked.rank, 2);
  ASSERT_EQ(pith_view_check(&picked), PITH_POST_OK);
  const pith_tensor_view turned = pith_view_swap(picked, 0, 1);  // [4, 2]
  ASSERT_EQ(pith_view_check(&turned), PITH_POST_OK);
  for (int i = 0; i < 4; ++i) {
    for (int b = 0; b < 2; ++b) {
      EXPECT_EQ(pith_read(&turned, i * turned.strides[0] + b * turned.strides[1]), static_cast<float>(b * 12 + 8 + i));
    }
  }
  pith_tensor_view one = v;
  for (int i = 0; i < 5; ++i) one = pith_view_at(one, 0, one.dims[0] - 1);
  ASSERT_EQ(one.rank, 1);
  EXPECT_EQ(pith_read(&one, 0), 23.0f);
}

TEST(View, DequantisesByHand) {
  const uint8_t u[3] = {0, 128, 255};
  const int8_t s[3] = {-128, 0, 127};
  const int64_t dims[1] = {3};
  const pith_tensor_view vu = pith_view_u8(u, 1, dims, 0.5f, 128), vs = pith_view_i8(s, 1, dims, 0.25f, -128);
  EXPECT_EQ(pith_read(&vu, 0), -64.0f);
  EXPECT_EQ(pith_read(&vu, 1), 0.0f);
  EXPECT_EQ(pith_read(&vu, 2), 63.5f);
  EXPECT_EQ(pith_read(&vs, 0), 0.0f);
  EXPECT_EQ(pith_read(&vs, 1), 32.0f);
  EXPECT_EQ(pith_read(&vs, 2), 63.75f);
}

TEST(View, EveryFaultHasItsStatus) {
  alignas(8) const float data[8] = {};
  const int64_t dims[2] = {2, 4};
  const pith_tensor_view good = pith_view_f32(data, 2, dims);
  const auto check = [&](auto change) {
    pith_tensor_view v = good;
    change(v);
    return pith_view_check(&v);
  };
  EXPECT_EQ(pith_view_check(nullptr), PITH_POST_NULL);
  EXPECT_EQ(check([](auto& v) { v.data = nullptr; }), PITH_POST_NULL);
  EXPECT_EQ(check([](auto& v) { v.rank = 0; }), PITH_POST_RANK);
  EXPECT_EQ(check([](auto& v) { v.rank = 6; }), PITH_POST_RANK);
  EXPECT_EQ(check([](auto& v) { v.rank = std::numeric_limits<int32_t>::min(); }), PITH_POST_RANK);
  EXPECT_EQ(check([](auto& v) { v.dims[1] = 0; }), PITH_POST_SHAPE);
  EXPECT_EQ(check([](auto& v) { v.dims[0] = -1; }), PITH_POST_SHAPE);
  const int unknown_dtype = 99;  // no enumerator: written as bytes, since C++ forbids the cast
  EXPECT_EQ(check([&](auto& v) { std::memcpy(&v.dtype, &unknown_dtype, sizeof unknown_dtype); }), PITH_POST_DTYPE);
  EXPECT_EQ(check([](auto& v) { v.bytes = 31; }), PITH_POST_BUFFER);
  EXPECT_EQ(check([](auto& v) { v.bytes = 0; }), PITH_POST_BUFFER);
  EXPECT_EQ(check([](auto& v) { v.strides[0] = 5; }), PITH_POST_BUFFER);
  EXPECT_EQ(check([](auto& v) { v.strides[1] = -1; }), PITH_POST_BUFFER);
  EXPECT_EQ(check([](auto& v) { v.strides[1] = std::numeric_limits<int64_t>::max(); }), PITH_POST_BUFFER);
  EXPECT_EQ(check([](auto& v) { v.data = reinterpret_cast<const char*>(v.data) + 1, v.bytes -= 1; }), PITH_POST_BUFFER);
  EXPECT_EQ(check([](auto& v) { v.dims[0] = v.dims[1] = int64_t{1} << 40; }), PITH_POST_TOO_BIG);
  EXPECT_EQ(check([](auto& v) { v.dims[0] = v.dims[1] = 1 << 16, v.strides[0] = v.strides[1] = 0; }),
            PITH_POST_TOO_BIG);
}

TEST(View, QuantisationParametersAreChecked) {
  const uint8_t data[4] = {};
  const int64_t dims[1] = {4};
  const auto u8 = [&](float scale, int zero) {
    const pith_tensor_view v = pith_view_u8(data, 1, dims, scale, zero);
    return pith_view_check(&v);
  };
  EXPECT_EQ(u8(1.0f, 0), PITH_POST_OK);
  EXPECT_EQ(u8(1.0f, 255), PITH_POST_OK);
  EXPECT_EQ(u8(1.0f, 256), PITH_POST_DTYPE);
  EXPECT_EQ(u8(1.0f, -1), PITH_POST_DTYPE);
  EXPECT_EQ(u8(0.0f, 0), PITH_POST_DTYPE);
  EXPECT_EQ(u8(-1.0f, 0), PITH_POST_DTYPE);
  EXPECT_EQ(u8(NAN, 0), PITH_POST_DTYPE);
  EXPECT_EQ(u8(INFINITY, 0), PITH_POST_DTYPE);
  const pith_tensor_view low = pith_view_i8(reinterpret_cast<const int8_t*>(data), 1, dims, 1.0f, -129);
  EXPECT_EQ(pith_view_check(&low), PITH_POST_DTYPE);
}

TEST(View, ShapesThatAreNoneGiveRankZero) {
  const float data[4] = {};
  const int64_t empty[2] = {2, 0}, huge[3] = {1 << 20, 1 << 20, 1 << 20};
  EXPECT_EQ(pith_view_f32(data, 2, empty).rank, 0);
  EXPECT_EQ(pith_view_f32(data, 3, huge).rank, 0);
  EXPECT_EQ(pith_view_f32(data, 0, empty).rank, 0);
  EXPECT_EQ(pith_view_f32(data, 6, empty).rank, 0);
  EXPECT_EQ(pith_view_f32(data, 1, nullptr).rank, 0);
  const int64_t dims[2] = {2, 2};
  const pith_tensor_view v = pith_view_f32(data, 2, dims);
  EXPECT_EQ(pith_view_at(v, 2, 0).rank, 0);
  EXPECT_EQ(pith_view_at(v, -1, 0).rank, 0);
  EXPECT_EQ(pith_view_at(v, 0, 2).rank, 0);
  EXPECT_EQ(pith_view_at(v, 0, -1).rank, 0);
  EXPECT_EQ(pith_view_swap(v, 0, 2).rank, 0);
  pith_tensor_view wild = v;
  wild.rank = 1 << 30;
  EXPECT_EQ(pith_view_swap(wild, 0, 7).rank, 0);
  EXPECT_EQ(pith_view_at(wild, 7, 0).rank, 0);
}

// The check must accept exactly the views whose furthest element is inside; recomputed here in wide arithmetic.
TEST(View, CheckAgreesWithWideArithmeticOnRandomViews) {
  Random random(1);
  const std::vector<uint8_t> data(64);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    pith_tensor_view v = {};
    v.data = data.data();
    v.dtype = PITH_POST_U8;
    v.scale = 1.0f;
    v.bytes = static_cast<size_t>(random.integer(0, 64));
    v.rank = random.integer(1, 5);
    __int128 furthest = 0, elements = 1;
    for (int axis = 0; axis < v.rank; ++axis) {
      v.dims[axis] = random.integer(0, 19) == 0 ? random.integer(0, INT32_MAX) : random.integer(1, 4);
      v.strides[axis] = random.integer(0, 19) == 0 ? int64_t{1} << random.integer(0, 62) : random.integer(0, 9);
      furthest += static_cast<__int128>(v.dims[axis] - 1) * v.strides[axis];
      elements *= v.dims[axis];
    }
    const bool sound = elements >= 1 && elements <= INT32_MAX && furthest < static_cast<__int128>(v.bytes);
    ASSERT_EQ(pith_view_check(&v) == PITH_POST_OK, sound) << "round " << round;
    accepted += sound;
  }
  EXPECT_GT(accepted, 1000);
}

TEST(Best, FirstOfTheLargestForEachType) {
  const int64_t dims[1] = {6};
  const float f[6] = {NAN, -INFINITY, 2.0f, NAN, 2.0f, 1.0f};
  const uint8_t u[6] = {3, 200, 7, 200, 0, 199};
  const int8_t s[6] = {-3, -100, -2, -2, -128, -3};
  const pith_tensor_view vf = pith_view_f32(f, 1, dims), vu = pith_view_u8(u, 1, dims, 2.0f, 100),
                         vs = pith_view_i8(s, 1, dims, 1.0f, 0);
  EXPECT_EQ(pith_post_best(&vf, 0, 1, 6).index, 2);
  EXPECT_EQ(pith_post_best(&vf, 0, 1, 2).index, 1);
  EXPECT_EQ(pith_post_best(&vf, 0, 3, 2).index, -1);
  EXPECT_EQ(pith_post_best(&vu, 0, 1, 6).index, 1);
  EXPECT_EQ(pith_post_best(&vu, 0, 1, 6).value, 200.0f);
  EXPECT_EQ(pith_post_best(&vs, 0, 1, 6).index, 2);
  EXPECT_EQ(pith_post_best(&vs, 1, 2, 3).index, 1);
}

}  // namespace
}  // namespace pith
