// Products of rows in coded form are, bit for bit, those of the decoded rows: random shapes, rates, steps and damaged
// rows, on every instruction set, with weights packed and in tiles, on one and several threads.
#include <algorithm>

#include "coding/decode/activation_rows.h"
#include "runtime/testing/one_op.h"

namespace pith::runtime {
namespace {

using numerics::Affine;
using numerics::Unary;
using testing::OneOp;
using testing::Seeded;

struct Case {
  int32_t height, width, channels, outputs, bytes;
  Affine in, out, pre;
  bool has_bias;
  Unary activation;
  std::vector<uint8_t> coded, decoded;
  std::vector<int8_t> w;
  std::vector<int16_t> scales;
  std::vector<int32_t> bias;

  std::string run(OneOp& op, Isa isa, pith_mode mode, int threads, bool direct) const {
    if (direct)
      op.input(PITH_U8, {1, height, 1, bytes}, in, coded.data());
    else
      op.input(PITH_U8, {1, height, width, channels}, in, decoded.data());
    op.constant(PITH_I8, {outputs, 1, 1, channels}, w.data(), scales);
    if (has_bias)
      op.constant(PITH_I32, {outputs}, bias.data());
    else
      op.absent_input();
    op.output(PITH_U8, {1, height, width, outputs}, out);
    op.activation(activation, 0, 0, pre);
    return op.run(isa, mode, threads);
  }
};

// A row that stands still for some pixels, drifts, or is noise; at zero points mostly, or hardly ever.
void draw_row(Seeded& r, const Case& c, uint8_t* row) {
  const int kind = r.integer(0, 3), still = r.integer(0, 95);
  for (int64_t i = 0; i < int64_t{c.width} * c.channels; ++i) {
    const int left = i < c.channels ? c.in.zero_point : row[i - c.channels];
    row[i] = kind == 0             ? static_cast<uint8_t>(r.next())
             : r.chance(still)     ? static_cast<uint8_t>(left)
             : kind == 1           ? static_cast<uint8_t>(std::clamp(left + r.integer(-9, 9), 0, 255))
             : r.chance(kind * 30) ? c.in.zero_point
                                   : static_cast<uint8_t>(r.next());
  }
}

Case draw(Seeded& r) {
  Case c{};
  c.height = r.integer(1, 4), c.width = r.integer(1, 40);
  c.channels = r.chance(20) ? r.integer(120, 150) : r.integer(1, 50);
  c.outputs = r.chance(20) ? r.integer(30, 100) : r.integer(1, 40);
  c.bytes = r.chance(15) ? r.integer(1, 4) : r.integer(1, c.width * c.channels * 5 / 4 + 8);
  const auto affine = [&] {
    return Affine{static_cast<int16_t>(r.integer(-130, -20)), static_cast<uint8_t>(r.chance(30) ? 0 : r.next())};
  };
  c.in = affine(), c.out = affine(), c.pre = affine();
  c.activation = r.chance(50) ? Unary::kIdentity : r.chance(50) ? Unary::kRelu : Unary::kSigmoid;
  c.has_bias = r.chance(70);
  for (int32_t o = 0; o < c.outputs; ++o) {
    c.bias.push_back(r.integer(-100000, 100000));
    c.scales.push_back(static_cast<int16_t>(r.integer(-160, r.chance(10) ? 20 : -90)));
    for (int32_t i = 0; i < c.channels; ++i)
      c.w.push_back(static_cast<int8_t>(r.chance(30) ? 0 : r.integer(-127, 127)));
  }
  const int64_t values = int64_t{c.width} * c.channels;
  c.coded.resize(static_cast<size_t>(int64_t{c.height} * c.bytes));
  c.decoded.resize(static_cast<size_t>(c.height * values));
  std::vector<coding::RowChannel> state(static_cast<size_t>(c.channels));
  std::vector<uint8_t> row(static_cast<size_t>(values)), before(static_cast<size_t>(c.channels));
  for (int32_t h = 0; h < c.height; ++h) {
    uint8_t* coded = c.coded.data() + int64_t{h} * c.bytes;
    draw_row(r, c, row.data());
    coding::encode_activation_row(row.data(), c.in.zero_point, c.width, c.channels, state.data(), before.data(), coded,
                                  c.bytes);
    if (r.chance(20)) {  // what no writer makes
      for (int32_t i = 0; i < c.bytes; ++i) coded[i] = static_cast<uint8_t>(r.next() | r.next());
      coded[0] = static_cast<uint8_t>(r.integer(0, numerics::kRowStepCount + 1));
    }
    coding::decode_activation_row(coded, c.bytes, c.in.zero_point, c.width, c.channels, state.data(),
                                  c.decoded.data() + h * values);
  }
  return c;
}

TEST(CodedConv2d, IsConv2dOnDecodedRowsBitForBit) {
  Seeded r;
  for (int trial = 0; trial < 150; ++trial) {
    const Case c = draw(r);
    OneOp plain(PITH_OPCODE_Conv2d, {1, 1, 1, 1, 0, 0, 0, 0, 1}, {});
    ASSERT_EQ(c.run(plain, Isa::kReference, PITH_MODE_FASTEST, 1, false), "");
    const std::vector<uint8_t> expected = plain.result<uint8_t>(0);
    for (int isa = 0; isa < kIsaCount; ++isa) {
      if (!isa_available(static_cast<Isa>(isa))) continue;
      for (const pith_mode mode : {PITH_MODE_FASTEST, PITH_MODE_SMALLEST}) {
        for (const int threads : {1, 3}) {
          OneOp direct(PITH_OPCODE_CodedConv2d, {}, {});
          ASSERT_EQ(c.run(direct, static_cast<Isa>(isa), mode, threads, true), "");
          ASSERT_EQ(direct.result<uint8_t>(0), expected)
              << isa_name(static_cast<Isa>(isa)) << ", mode " << mode << ", " << threads << " threads, case " << trial
              << " of seed " << Seeded::first_seed() << ": " << c.height << "x" << c.width << "x" << c.channels
              << " to " << c.outputs << " in " << c.bytes << " bytes a row";
        }
      }
    }
  }
}

TEST(CodedConv2d, RefusesWhatDoesNotFit) {
  Seeded r;
  Case c = draw(r);
  for (int damage = 0; damage < 3; ++damage) {
    OneOp op(PITH_OPCODE_CodedConv2d, {}, {});
    op.input(PITH_U8, {1, c.height, damage == 0 ? c.bytes : 1, damage == 0 ? 1 : c.bytes}, c.in, c.coded.data());
    op.constant(PITH_I8, {c.outputs, 1, 1, c.channels}, c.w.data(), c.scales);
    op.absent_input();
    const int32_t outputs = damage == 1 ? c.outputs + 1 : c.outputs, height = damage == 2 ? c.height + 1 : c.height;
    op.output(PITH_U8, {1, height, c.width, outputs}, c.out);
    const bool sound = damage == 0 && c.bytes == 1;
    EXPECT_EQ(op.run(Isa::kReference, PITH_MODE_FASTEST, 1).empty(), sound) << damage;
  }
}

}  // namespace
}  // namespace pith::runtime
