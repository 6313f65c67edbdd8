// Books that constants of a file share: found by the writer, the same to every reader, and refused where there is none.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/file.h"
#include "base/random.h"
#include "coding/encode/binary.h"
#include "coding/encode/vectors.h"
#include "program/program.h"
#include "program/structure.h"

namespace pith {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 5;
}

// An input and tables of 30 x 14 integers that are added to it one after the other: vectors of four out of as many books as said.
Program sums(int tables, int books) {
  Random random(seed());
  Program p;
  const auto tensor = [&](int64_t offset) {
    ProgramTensor t;
    t.dtype = PITH_F32;
    t.dims = {30, 14};
    t.offset = offset;
    p.tensors.push_back(t);
    return static_cast<int32_t>(p.tensors.size() - 1);
  };
  std::vector<std::vector<int32_t>> vectors(static_cast<size_t>(books));
  for (auto& book : vectors) {
    for (int i = 0; i < 4 * 31; ++i) book.push_back(static_cast<int32_t>(random.integer(-90, 90)));
  }
  int32_t x = tensor(0);
  p.inputs.push_back({"x", x, {0, 1}});
  for (int table = 0; table < tables; ++table) {
    ProgramConstant k;
    k.dims = {30, 14};
    const auto& book = vectors[static_cast<size_t>(table % books)];
    for (int i = 0, v = 0, sign = 1; i < 420; ++i) {
      if (i % 14 % 4 == 0) v = static_cast<int>(random.integer(0, 30)), sign = random.integer(0, 1) == 0 ? 1 : -1;
      k.integers.push_back(sign * book[static_cast<size_t>(4 * v + i % 14 % 4)]);
    }
    for (int r = 0; r < (table % 2 ? 30 : 1); ++r) k.scale_codes.push_back(static_cast<int16_t>(4 * random.integer(-30, -20)));
    p.constants.push_back(k);
    ProgramOp op;
    op.opcode = PITH_OPCODE_Binary;
    op.inputs = {x, kConstantBase + table};
    op.ints = {PITH_BINARY_ADD};
    op.outputs = {x = tensor(1680 * (1 - table % 2))};
    p.ops.push_back(op);
  }
  p.outputs.push_back({"y", x, {0, 1}});
  p.arena_bytes = 2 * 1680;
  return p;
}

TEST(Books, ConstantsShareOne) {
  const Program one = sums(6, 1), six = sums(6, 6);
  const auto shared = write_program(one, CodecChoice::kFastest), apart = write_program(six, CodecChoice::kFastest);
  ASSERT_TRUE(shared.ok()) << shared.error().message;
  ASSERT_TRUE(apart.ok());
  EXPECT_EQ((*shared)[1], PITH_FORMAT_VERSION);
  EXPECT_LT(shared->size() + 5 * 110, apart->size()) << "five books of some 31 vectors less";
  for (const Program* p : {&one, &six}) {
    const auto q = read_program(*write_program(*p, CodecChoice::kFastest));
    ASSERT_TRUE(q.ok()) << q.error().message;
    for (size_t i = 0; i < p->constants.size(); ++i) {
      EXPECT_EQ(q->constants[i].integers, p->constants[i].integers) << "PITH_SEED=" << seed();
      EXPECT_EQ(q->constants[i].scale_codes, p->constants[i].scale_codes);
    }
    EXPECT_EQ(*write_program(*q, CodecChoice::kFastest), *write_program(*p, CodecChoice::kFastest));
  }
}

class Coder {  // writes a structure
 public:
  static constexpr bool decoding = false;
  void number(coding::IntegerModel& m, uint32_t& x) { coding::encode_unsigned(out, m, x); }
  void bit(coding::BitModel& m, uint32_t& x) { out.bit(m, x); }
  void raw(uint32_t& x, int bits) { out.raw_bits(x, bits); }
  void fail() {}
  coding::BinaryEncoder out;
};

// The first two tables of `p` with records as given, whatever they promise.
std::vector<uint8_t> file_with(const Program& p, const format::ConstantRecord (&records)[2], const std::vector<uint8_t> (&payloads)[2]) {
  Coder coder;
  auto codec = std::make_unique<format::StructureCodec<Coder>>(coder);
  format::Header h{3, 2, 2, 1, 1, 0, static_cast<uint32_t>(p.arena_bytes / PITH_ARENA_ALIGNMENT)};
  codec->header(h);
  const auto port = [&](int32_t tensor) {
    format::PortRecord r{};
    r.tensor = tensor, r.name_length = 1, r.name[0] = 'x', r.rank = 2, r.permutation[1] = 1;
    codec->port(r);
  };
  const auto tensor = [&](int32_t id, const format::OpRecord& op) {
    format::TensorRecord t;
    t.dtype = PITH_F32;
    t.dims = {2, {30, 14}};
    t.offset_units = static_cast<uint32_t>(p.tensors[static_cast<size_t>(id)].offset / PITH_ARENA_ALIGNMENT);
    codec->tensor(t, codec->predict_output(op));
  };
  port(0);
  tensor(0, {});
  for (int i = 0; i < 2; ++i) {
    format::OpRecord op{};
    op.opcode = PITH_OPCODE_Binary;
    op.inputs[0] = i, op.inputs[1] = -2 - i, op.outputs[0] = i + 1;
    codec->op_head(op);
    codec->operand(op, false, 0);
    codec->operand(op, false, 1);
    format::ConstantRecord k = records[i];
    k.dims = {2, {30, 14}};
    k.bytes = static_cast<uint32_t>(payloads[i].size());
    codec->constant(k, codec->predict_constant(op, 1));
    codec->set_kernel(k.dims);
    codec->operand(op, true, 0);
    tensor(i + 1, op);
  }
  port(2);
  const std::vector<uint8_t> structure = coder.out.finish();
  std::vector<uint8_t> out{PITH_FORMAT_MAGIC, PITH_FORMAT_VERSION};
  coding::append_varint(out, structure.size());
  out.insert(out.end(), structure.begin(), structure.end());
  out.push_back(0);
  for (const auto& payload : payloads) out.insert(out.end(), payload.begin(), payload.end());
  const uint32_t crc = format::crc32(out.data(), out.size());
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<uint8_t>(crc >> (8 * i)));
  return out;
}

TEST(Books, WhatHasNoneLendsNone) {
  const Program p = sums(2, 1);
  coding::CodedRows rows[2];
  for (size_t i = 0; i < 2; ++i) rows[i] = {8, 30, 14, p.constants[i].integers, p.constants[0].scale_codes, {14, 1}};
  const coding::Book book = *coding::book_of_both(*coding::book_of(rows[0], 4), *coding::book_of(rows[1], 4));
  const std::vector<uint8_t> own = *coding::encode_vectors(rows[0], book, true, false), borrowed = *coding::encode_vectors(rows[1], book, false, true), rans = coding::encode_rans(rows[0]);
  const auto record = [](int codec, uint32_t age) {
    format::ConstantRecord k;
    k.codec = static_cast<uint32_t>(codec), k.book = age;
    return k;
  };
  const auto good = read_program(file_with(p, {record(PITH_CODEC_VECTORS, 0), record(PITH_CODEC_VECTORS, 1)}, {own, borrowed}));
  ASSERT_TRUE(good.ok()) << good.error().message;
  EXPECT_EQ(good->constants[1].integers, p.constants[1].integers);
  const auto refused = [&](const char* why, const std::vector<uint8_t>& file) {
    const auto q = read_program(file);
    ASSERT_FALSE(q.ok()) << why;
    EXPECT_NE(q.error().message.find(why), std::string::npos) << q.error().message;
  };
  refused("constant 1 uses the book of constant 0, which has none", file_with(p, {record(PITH_CODEC_RANS, 0), record(PITH_CODEC_VECTORS, 1)}, {rans, borrowed}));
  refused("constant 0", file_with(p, {record(PITH_CODEC_VECTORS, 1), record(PITH_CODEC_VECTORS, 1)}, {borrowed, borrowed}));  // its own, later ones
  refused("constant 1", file_with(p, {record(PITH_CODEC_VECTORS, 0), record(PITH_CODEC_VECTORS, 2)}, {own, borrowed}));
  format::ConstantRecord bytes = record(PITH_CODEC_VECTORS, 0);
  bytes.dtype = PITH_U8;
  refused("constant 0", file_with(p, {bytes, record(PITH_CODEC_VECTORS, 1)}, {own, borrowed}));
  const std::vector<uint8_t> pairs = *coding::encode_vectors(rows[0], *coding::book_of(rows[0], 2), true, false);
  refused("constant 1's head", file_with(p, {record(PITH_CODEC_VECTORS, 0), record(PITH_CODEC_VECTORS, 1)}, {pairs, borrowed}));
}

}  // namespace
}  // namespace pith
