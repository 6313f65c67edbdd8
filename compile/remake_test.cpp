// Which tensors can be made again, from what, and what is left of the program.
#include "compile/remake.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "compile/moves.h"
#include "program/schema.h"

namespace pith {
namespace {

// x -> narrow -> wide -> `between` operators -> join(wide): the wide tensor waits.
Program waiting(int between, bool narrow_lives) {
  Program p;
  const auto picture = [&](const char* name, int32_t channels) {
    ProgramTensor t;
    t.name = name;
    t.dims = {1, 8, 8, channels};
    p.tensors.push_back(t);
    return static_cast<int32_t>(p.tensors.size() - 1);
  };
  const auto op = [&](int opcode, std::vector<int32_t> inputs, int32_t output, std::vector<int32_t> ints) {
    ProgramOp o;
    o.opcode = opcode;
    o.inputs = std::move(inputs);
    o.outputs = {output};
    o.ints = std::move(ints);
    if (opcode == PITH_OPCODE_Unary) o.reals = {0, 0};
    p.ops.push_back(o);
  };
  const auto point = [&](int32_t from, int32_t to, int32_t channels) {
    ProgramConstant k;
    const int32_t inputs = p.tensors[static_cast<size_t>(from)].dims[3];
    k.dims = {channels, 1, 1, inputs};
    k.scale_codes = {-100};
    k.integers.assign(static_cast<size_t>(channels * inputs), 1);
    p.constants.push_back(k);
    op(PITH_OPCODE_Conv2d, {from, static_cast<int32_t>(kConstantBase + p.constants.size() - 1), kNone}, to, {1, 1, 1, 1, 0, 0, 0, 0, 1});
  };
  const int32_t x = picture("x", 16), narrow = picture("narrow", 16), wide = picture("wide", 64);
  p.inputs.push_back({"x", x, {0, 1, 2, 3}});
  point(x, narrow, 16);
  point(narrow, wide, 64);
  int32_t at = picture("slim", 16);
  point(wide, at, 16);
  for (int i = 0; i < between; ++i) {
    const int32_t y = picture("between", 16);
    op(PITH_OPCODE_Unary, {at}, y, {0});
    at = y;
  }
  const int32_t back = picture("back", 64), sum = picture("sum", 64), y = picture("y", 16);
  point(at, back, 64);
  op(PITH_OPCODE_Binary, {back, wide}, sum, {PITH_BINARY_ADD});
  point(sum, y, 16);
  p.outputs.push_back({"y", y, {0, 1, 2, 3}});
  if (narrow_lives) p.outputs.push_back({"narrow", narrow, {0, 1, 2, 3}});
  return p;
}

TEST(Remake, WhatIsNarrowWaitsInItsPlace) {
  const Program p = waiting(6, false);
  const std::vector<Remade> found = remakable(p, INT64_MAX);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(p.tensors[static_cast<size_t>(found[0].tensor)].name, "wide");
  EXPECT_EQ(found[0].ops, (std::vector<size_t>{1}));
  EXPECT_EQ(found[0].bytes, 8 * 8 * (64 - 16));
  EXPECT_EQ(found[0].macs, 8 * 8 * 64 * 16);
}

TEST(Remake, WhatLivesAnyhowCostsNothing) {
  const std::vector<Remade> found = remakable(waiting(6, true), INT64_MAX);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].bytes, 8 * 8 * 64);
}

TEST(Remake, NothingWithoutMultiplicationsOrWaiting) {
  EXPECT_TRUE(remakable(waiting(6, false), 8 * 8 * 64 * 16 - 1).empty());
  EXPECT_TRUE(remakable(waiting(0, false), INT64_MAX).empty());
}

TEST(Remake, TheLateUseReadsTheCopy) {
  const Program p = waiting(6, false);
  Program again = make_again(p, remakable(p, INT64_MAX)[0]);
  EXPECT_EQ(again.ops.size(), p.ops.size() + 1);
  EXPECT_EQ(macs_of(again), macs_of(p) + 8 * 8 * 64 * 16);
  Program whole = p;
  ASSERT_TRUE(plan_arena(whole, {}, nullptr).ok() && plan_arena(again, {}, nullptr).ok());
  const auto sound = check_program(again);
  EXPECT_TRUE(sound.ok()) << sound.error().message;
}

}  // namespace
}  // namespace pith
