// Where tensors are coded and decoded again.
#include "compile/code_rows.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "program/schema.h"

namespace pith {
namespace {

// x -> a -> b -> ... (n operators), and the last one also reads a: a chain with a connection around it.
Program chain(int n) {
  Program p;
  const auto picture = [&](const char* name) {
    ProgramTensor t;
    t.name = name;
    t.dims = {1, 8, 16, 16};
    p.tensors.push_back(t);
    return static_cast<int32_t>(p.tensors.size() - 1);
  };
  const auto op = [&](int opcode, std::vector<int32_t> inputs, int32_t output, std::vector<int32_t> ints, std::vector<float> reals) {
    ProgramOp o;
    o.opcode = opcode;
    o.inputs = std::move(inputs);
    o.outputs = {output};
    o.ints = std::move(ints);
    o.reals = std::move(reals);
    p.ops.push_back(o);
  };
  int32_t at = picture("x");
  p.inputs.push_back({"x", at, {0, 1, 2, 3}});
  int32_t first = kNone;
  for (int i = 0; i < n; ++i) {
    const int32_t y = picture(i == 0 ? "a" : "b");
    op(PITH_OPCODE_Unary, {at}, y, {0}, {0, 0});
    if (i == 0) first = y;
    at = y;
  }
  const int32_t sum = picture("sum"), y = picture("y");
  op(PITH_OPCODE_Binary, {at, first}, sum, {PITH_BINARY_ADD}, {});
  op(PITH_OPCODE_Unary, {sum}, y, {0}, {0, 0});
  p.outputs.push_back({"y", y, {0, 1, 2, 3}});
  return p;
}

int32_t named(const Program& p, const std::string& name) {
  for (size_t i = 0; i < p.tensors.size(); ++i)
    if (p.tensors[i].name == name) return static_cast<int32_t>(i);
  return kNone;
}
int64_t count(const Program& p, int opcode) {
  return std::count_if(p.ops.begin(), p.ops.end(), [&](const ProgramOp& op) { return op.opcode == opcode; });
}

TEST(CodeRows, PortsStayAsTheyAre) {
  const Program p = chain(2);
  const std::vector<int32_t> ids = codable_tensors(p);
  EXPECT_EQ(ids, (std::vector<int32_t>{named(p, "a"), named(p, "b"), named(p, "sum")}));
}

TEST(CodeRows, ReadersFarApartDecodeForThemselves) {
  const Program p = chain(8);
  Program coded = code_rows(p, {{named(p, "a"), 64}});
  EXPECT_EQ(count(coded, PITH_OPCODE_EncodeRows), 1);
  EXPECT_EQ(count(coded, PITH_OPCODE_DecodeRows), 2);
  ASSERT_TRUE(plan_arena(coded, {}, nullptr).ok());
  EXPECT_TRUE(check_program(coded).ok());
  // those behind one another share
  const Program near = code_rows(chain(3), {{named(p, "a"), 64}});
  EXPECT_EQ(count(near, PITH_OPCODE_DecodeRows), 1);
}

TEST(CodeRows, RowsAreAlignedAndNeverLarger) {
  const Program p = chain(1);
  const ProgramTensor& t = p.tensors[0];  // rows of 256 bytes
  EXPECT_EQ(coded_row_bytes(t, 4), 128);
  EXPECT_EQ(coded_row_bytes(t, 3.2), 96);
  EXPECT_EQ(coded_row_bytes(t, 8), 256);
  EXPECT_EQ(coded_row_bytes(t, 0.01), 16);
}

TEST(CodeRows, EachTensorGetsItsBytesAndLosslessOnesWhatTheyNeed) {
  const Program p = chain(2);
  const int32_t a = named(p, "a"), b = named(p, "b"), sum = named(p, "sum");  // rows of 256 bytes
  ActivationCoding coding;
  coding.bits = 4;
  coding.bits_of = {{b, 8}, {sum, 2}};
  EXPECT_EQ(wanted_form(p, a, coding).row_bytes, 128);
  EXPECT_EQ(wanted_form(p, b, coding).row_bytes, 0);
  EXPECT_EQ(wanted_form(p, sum, coding).row_bytes, 64);
  coding.lossless = true;
  coding.row_bytes_of = {{a, 240}, {b, 256}};
  EXPECT_EQ(wanted_form(p, a, coding).row_bytes, 240);
  EXPECT_EQ(wanted_form(p, b, coding).row_bytes, 0);  // nothing would be saved
  EXPECT_EQ(wanted_form(p, sum, coding).row_bytes, 0);
  const std::vector<CodedTensor> all = all_coded(p, coding);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].tensor, a);
}

// As chain(8), but the last reader of a is a convolution of so many rows and columns, to 8 channels.
Program with_product(int32_t kernel) {
  Program p = chain(8);
  ProgramConstant w;
  w.dims = {8, kernel, kernel, 16};
  w.integers.assign(static_cast<size_t>(8 * kernel * kernel * 16), 3);
  w.scale_codes = {-100};
  p.constants.push_back(w);
  ProgramTensor t;
  t.name = "product";
  t.dims = {1, 8, 16, 8};
  p.tensors.push_back(t);
  ProgramOp op;
  op.opcode = PITH_OPCODE_Conv2d;
  op.inputs = {named(p, "a"), kConstantBase, kNone};
  op.outputs = {static_cast<int32_t>(p.tensors.size() - 1)};
  const int32_t pad = kernel / 2;
  op.ints = {1, 1, 1, 1, pad, pad, pad, pad, 1};
  p.ops.push_back(op);
  p.outputs.push_back({"product", op.outputs[0], {0, 1, 2, 3}});
  return p;
}

TEST(CodeRows, ProductsOfPixelsTakeCodedRowsAsTheyAre) {
  const Program p = with_product(1);
  EXPECT_EQ(count(code_rows(p, {{named(p, "a"), 64}}), PITH_OPCODE_CodedConv2d), 0);
  Program direct = code_rows(p, {{named(p, "a"), 64}}, true);
  EXPECT_EQ(count(direct, PITH_OPCODE_CodedConv2d), 1);
  EXPECT_EQ(count(direct, PITH_OPCODE_DecodeRows), 2);  // for the others
  ASSERT_TRUE(plan_arena(direct, {}, nullptr).ok());
  ASSERT_TRUE(check_program(direct).ok());
  EXPECT_EQ(op_macs(direct, direct.ops.back()), 8 * 16 * 8 * 16);
  const Program window = with_product(3);
  EXPECT_EQ(count(code_rows(window, {{named(window, "a"), 64}}, true), PITH_OPCODE_CodedConv2d), 0);

  const size_t coded = static_cast<size_t>(named(direct, "a.coded")), product = static_cast<size_t>(named(direct, "product"));
  for (int damage = 0; damage < 5; ++damage) {
    Program bad = direct;
    if (damage == 0) bad.tensors[product].dims = {1, 8, 16, 9};
    if (damage == 1) bad.tensors[product].dims = {1, 7, 16, 8};
    if (damage == 2) bad.tensors[product].dtype = PITH_F32;
    if (damage == 3) bad.constants[0].dims = {8, 2, 8, 1};
    if (damage == 4) bad.tensors[coded].dims = {1, 8, 2, 32};
    EXPECT_FALSE(check_program(bad).ok()) << damage;
  }
}

// 16 channels, of which the odd ones look at those before them.
std::vector<uint8_t> lifting_of_pairs() {
  std::vector<uint8_t> lifting;
  for (int i = 0; i < 48; ++i) lifting.push_back(static_cast<uint8_t>(i < 16 ? i % 2 : i < 32 ? 10 : 3));
  return lifting;
}

TEST(CodeRows, LiftingsGoWithTheirTensorsAndProductsTakeRowsWithoutOne) {
  const Program p = with_product(1);
  ActivationCoding coding;
  coding.bits = 4;
  coding.lifting_of = {{named(p, "a"), lifting_of_pairs()}};
  EXPECT_EQ(wanted_form(p, named(p, "a"), coding).lifting, lifting_of_pairs());
  EXPECT_TRUE(wanted_form(p, named(p, "b"), coding).lifting.empty());
  coding.lossless = true;
  coding.row_bytes_of = {{named(p, "a"), 240}};
  coding.lifted_row_bytes_of = {{named(p, "a"), 224}};
  EXPECT_EQ(wanted_form(p, named(p, "a"), coding).row_bytes, 224);

  for (const bool direct : {false, true}) {
    Program lifted = code_rows(p, {{named(p, "a"), 64, lifting_of_pairs()}}, direct);
    EXPECT_EQ(count(lifted, PITH_OPCODE_EncodeLiftedRows), 1);
    EXPECT_EQ(count(lifted, PITH_OPCODE_DecodeLiftedRows), 2);  // the product shares with its neighbour
    EXPECT_EQ(count(lifted, PITH_OPCODE_EncodeRows) + count(lifted, PITH_OPCODE_DecodeRows) + count(lifted, PITH_OPCODE_CodedConv2d), 0);
    ASSERT_TRUE(plan_arena(lifted, {}, nullptr).ok());
    EXPECT_TRUE(check_program(lifted).ok());
  }
}

TEST(CodeRows, DamagedLiftingsAreRefused) {
  const Program p = chain(8);
  Program sound = code_rows(p, {{named(p, "a"), 64, lifting_of_pairs()}});
  ASSERT_TRUE(plan_arena(sound, {}, nullptr).ok());
  ASSERT_TRUE(check_program(sound).ok());
  for (int damage = 0; damage < 7; ++damage) {
    Program bad = sound;
    ProgramConstant& k = bad.constants.back();
    if (damage == 0) k.integers[0] = 1;   // before the first channel
    if (damage == 1) k.integers[5] = 6;
    if (damage == 2) k.integers[16] = 17;  // multipliers above 2
    if (damage == 3) k.integers[40] = 9;
    if (damage == 4) k.dims = {2, 24};
    if (damage == 5) k.dtype = PITH_I32;
    if (damage == 6)
      for (ProgramOp& op : bad.ops)
        if (op.opcode == PITH_OPCODE_DecodeLiftedRows) op.inputs[1] = op.inputs[0];
    EXPECT_FALSE(check_program(bad).ok()) << damage;
  }
}

TEST(CodeRows, DamagedFormsAreRefused) {
  const Program p = chain(8);
  Program sound = code_rows(p, {{named(p, "a"), 64}});
  ASSERT_TRUE(plan_arena(sound, {}, nullptr).ok());
  ASSERT_TRUE(check_program(sound).ok());
  const int32_t id = named(sound, "a.coded");
  ASSERT_NE(id, kNone);
  for (int damage = 0; damage < 4; ++damage) {
    Program bad = sound;
    ProgramTensor& t = bad.tensors[static_cast<size_t>(id)];
    if (damage == 0) t.affine.zero_point = 9;
    if (damage == 1) t.dims = {1, 4, 1, 64};
    if (damage == 2) t.dims = {1, 8, 2, 32};
    if (damage == 3) t.dtype = PITH_I32;
    EXPECT_FALSE(check_program(bad).ok()) << damage;
  }
}

}  // namespace
}  // namespace pith
