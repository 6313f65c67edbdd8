// Rows with a lifting are the codec's own, on every instruction set and number of threads, within their scratch; liftings
// that don't fit are refused.
#include <algorithm>

#include "coding/decode/activation_rows.h"
#include "runtime/testing/one_op.h"

namespace pith::runtime {
namespace {

using testing::OneOp;
using testing::Seeded;

struct Case {
  int32_t height, width, channels, bytes;
  numerics::Affine affine;
  std::vector<uint8_t> values, lifting, coded, decoded;

  std::string encode(OneOp& op, Isa isa, int threads) const {
    op.input(PITH_U8, {1, height, width, channels}, affine, values.data());
    op.constant(PITH_U8, {3, channels}, lifting.data());
    op.output(PITH_U8, {1, height, 1, bytes}, affine);
    return op.run(isa, PITH_MODE_FASTEST, threads);
  }
  std::string decode(OneOp& op, Isa isa, int threads) const {
    op.input(PITH_U8, {1, height, 1, bytes}, affine, coded.data());
    op.constant(PITH_U8, {3, channels}, lifting.data());
    op.output(PITH_U8, {1, height, width, channels}, affine);
    return op.run(isa, PITH_MODE_FASTEST, threads);
  }
};

Case draw(Seeded& r) {
  Case c{};
  c.height = r.integer(1, 5), c.width = r.integer(1, 30), c.channels = r.chance(20) ? r.integer(250, 300) : r.integer(1, 50);
  c.bytes = r.integer(1, c.width * c.channels + 8);
  c.affine = {static_cast<int16_t>(r.integer(-130, -20)), static_cast<uint8_t>(r.chance(30) ? 0 : r.next())};
  for (int32_t i = 0; i < 3 * c.channels; ++i)
    c.lifting.push_back(static_cast<uint8_t>(r.integer(0, i < c.channels ? std::min(i, 255) : i < 2 * c.channels ? 16 : 8)));
  const int noise = r.integer(0, 60);
  for (int64_t i = 0; i < int64_t{c.height} * c.width * c.channels; ++i)
    c.values.push_back(static_cast<uint8_t>(i < c.channels || r.chance(10) ? r.next() : std::clamp(c.values[static_cast<size_t>(i - c.channels)] + r.integer(-noise, noise), 0, 255)));
  c.coded.resize(static_cast<size_t>(c.height * c.bytes));
  c.decoded.resize(c.values.size());
  std::vector<coding::RowChannel> state(static_cast<size_t>(c.channels));
  std::vector<coding::LiftedChannel> lifted(state.size());
  std::vector<uint8_t> before(state.size());
  const coding::LiftedRows rows{{c.lifting.data(), c.channels}, c.affine.zero_point, c.width, state.data(), lifted.data()};
  for (int64_t h = 0; h < c.height; ++h) {
    rows.encode(c.values.data() + h * c.width * c.channels, before.data(), c.coded.data() + h * c.bytes, c.bytes);
    rows.decode(c.coded.data() + h * c.bytes, c.bytes, c.decoded.data() + h * c.width * c.channels);
  }
  return c;
}

TEST(LiftedRows, AreTheCodecsOnEveryInstructionSet) {
  Seeded r;
  for (int trial = 0; trial < 60; ++trial) {
    const Case c = draw(r);
    for (int isa = 0; isa < kIsaCount; ++isa) {
      if (!isa_available(static_cast<Isa>(isa))) continue;
      for (const int threads : {1, 3}) {
        SCOPED_TRACE("case " + std::to_string(trial) + " of seed " + std::to_string(Seeded::first_seed()) + ", " + isa_name(static_cast<Isa>(isa)));
        OneOp encode(PITH_OPCODE_EncodeLiftedRows, {}, {}), decode(PITH_OPCODE_DecodeLiftedRows, {}, {});
        ASSERT_EQ(c.encode(encode, static_cast<Isa>(isa), threads), "");
        ASSERT_EQ(encode.result<uint8_t>(0), c.coded);
        ASSERT_EQ(c.decode(decode, static_cast<Isa>(isa), threads), "");
        ASSERT_EQ(decode.result<uint8_t>(0), c.decoded);
      }
    }
  }
}

TEST(LiftedRows, RefusesWhatDoesNotFit) {
  Seeded r;
  Case sound = draw(r);
  while (sound.channels < 3) sound = draw(r);
  const size_t channels = static_cast<size_t>(sound.channels);
  OneOp narrow(PITH_OPCODE_EncodeLiftedRows, {}, {});
  narrow.input(PITH_U8, {1, sound.height, sound.width, sound.channels}, sound.affine, sound.values.data());
  narrow.constant(PITH_U8, {3, sound.channels - 1}, sound.lifting.data());
  narrow.output(PITH_U8, {1, sound.height, 1, sound.bytes}, sound.affine);
  EXPECT_NE(narrow.run(Isa::kReference, PITH_MODE_FASTEST, 1), "");
  for (int damage = 0; damage < 4; ++damage) {
    Case c = sound;
    if (damage == 1) c.lifting[1] = 2;  // before the first channel
    if (damage == 2) c.lifting[channels] = 17;
    if (damage == 3) c.lifting[3 * channels - 1] = 9;
    OneOp encode(PITH_OPCODE_EncodeLiftedRows, {}, {}), decode(PITH_OPCODE_DecodeLiftedRows, {}, {});
    EXPECT_EQ(c.encode(encode, Isa::kReference, 1).empty(), damage == 0) << damage;
    EXPECT_EQ(c.decode(decode, Isa::kReference, 1).empty(), damage == 0) << damage;
  }
}

}  // namespace
}  // namespace pith::runtime
