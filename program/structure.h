// The structure of a .pith file, coded like a codec's side information: every field goes through an adaptive integer or
// bit model of its own kind, dimensions are predicted from the operator that makes the tensor, and what follows from
// earlier fields costs a small part of a bit. One template describes the order of the fields; with a decoder it reads
// them, with an encoder it writes them, so that the two can't disagree. docs/format.md describes the same in words.
//
// A Coder has: bool decoding; void number(IntegerModel&, uint32_t&); void bit(BitModel&, uint32_t&);
// void raw(uint32_t&, int bits); void fail(). Freestanding: fixed-size records, no heap.
#pragma once

#include "coding/decode/binary.h"
#include "coding/decode/mixed.h"
#include "numerics/scale.h"
#include "program/schema.h"

namespace pith::format {

struct Header {
  uint32_t tensors = 0, constants = 0, ops = 0, inputs = 0, outputs = 0, states = 0;
  uint32_t arena_units = 0;  // of PITH_ARENA_ALIGNMENT bytes
};

struct Dims {
  uint32_t rank = 0;
  uint32_t size[PITH_MAX_RANK] = {};
};

struct TensorRecord {
  uint32_t dtype = PITH_U8;
  // 0, or: this tensor is other dimensions for the memory of tensor (own id - alias_age), or for a part of it that begins
  // alias_units * PITH_ARENA_ALIGNMENT bytes into it; its dtype and affine are that tensor's, and it takes no memory of
  // its own
  uint32_t alias_age = 0, alias_units = 0;
  Dims dims;
  numerics::Affine affine;
  uint32_t offset_units = 0;
};

struct ConstantRecord {
  uint32_t dtype = PITH_I8, codec = 0, bits = 8, row_scales = 0;
  uint32_t book = 0;   // PITH_CODEC_VECTORS: 0 its own, otherwise that of the constant so many before
  uint32_t shift = 0;  // numbers are stored without this many trailing zero bits (not PITH_I8, not PITH_CODEC_FLOAT)
  Dims dims;
  numerics::Affine affine;  // PITH_U8
  uint32_t bytes = 0;       // of its payload; payloads follow each other in the order of the records
};

struct OpRecord {
  uint32_t opcode = PITH_OPCODE_Convert;  // a default record predicts that what it makes looks like tensor 0
  // operands: >= 0 tensor id, -1 absent, <= -2 constant id as -2 - id
  int32_t inputs[kMaxInputs];
  int32_t outputs[kMaxOutputs];
  int32_t ints[kMaxInts];
  float reals[kMaxReals];
  uint32_t activation = 0;
  float a = 0, b = 0;
  numerics::Affine pre;
  uint32_t scratch_units = 0;
};

struct PortRecord {
  int32_t tensor = 0;
  uint32_t name_length = 0;
  char name[64];
  uint32_t rank = 0;
  uint8_t permutation[PITH_MAX_RANK];
};

inline constexpr uint32_t kMaxCount = 1u << 20;  // of tensors, constants, operators
inline constexpr int kOpModels = 53;             // hashed by opcode and parameter

template <typename Coder>
class StructureCodec {
 public:
  explicit StructureCodec(Coder& coder) : c(coder) {}

  void header(Header& h) {
    for (uint32_t* field : {&h.tensors, &h.constants, &h.ops, &h.inputs, &h.outputs, &h.states}) {
      c.number(counts_, *field);
      if (*field > kMaxCount) c.fail();
    }
    c.number(arena_, h.arena_units);
  }

  void port(PortRecord& p) {
    reference(p.tensor, references_[0]);
    c.number(name_length_, p.name_length);
    if (p.name_length > sizeof p.name) {
      c.fail();
      p.name_length = 0;
    }
    for (uint32_t i = 0; i < p.name_length; ++i) {
      uint32_t letter = static_cast<uint8_t>(p.name[i]);
      c.raw(letter, 8);
      p.name[i] = static_cast<char>(letter);
    }
    c.number(rank_, p.rank);
    if (p.rank > PITH_MAX_RANK) {
      c.fail();
      p.rank = 0;
    }
    for (uint32_t i = 0; i < p.rank; ++i) {
      uint32_t axis = p.permutation[i];
      c.number(permutation_, axis);
      if (axis >= p.rank) c.fail();
      p.permutation[i] = static_cast<uint8_t>(axis);
    }
  }

  // Everything of an operator but its operands.
  void op_head(OpRecord& op) {
    c.number(opcode_[last_opcode_ % 8], op.opcode);
    if (op.opcode >= PITH_OPCODE_COUNT) {
      c.fail();
      op.opcode = 0;
    }
    last_opcode_ = op.opcode;
    const Schema& schema = kSchemas[op.opcode];
    for (uint32_t i = 0; i < schema.ints; ++i) signed_number(ints_[(op.opcode * 17 + i) % kOpModels], op.ints[i]);
    for (uint32_t i = 0; i < schema.reals; ++i) real(op.reals[i]);
    c.number(activation_, op.activation);
    if (op.activation != 0) {
      real(op.a);
      real(op.b);
      if (op.activation > 2) affine(op.pre, last_pre_);  // Relu and Clip need none
    }
    uint32_t scratch = op.scratch_units != 0;
    c.bit(has_scratch_, scratch);
    if (scratch) c.number(scratch_, op.scratch_units);
    if (!scratch) op.scratch_units = 0;
  }

  // One operand. Returns 1 when a constant record follows (a constant's first use), 2 when a tensor record follows.
  int operand(OpRecord& op, bool output, uint32_t slot) {
    int32_t& id = output ? op.outputs[slot] : op.inputs[slot];
    return reference(id, references_[1 + (op.opcode * 5 + slot + (output ? 3 : 0)) % 16]);
  }

  void tensor(TensorRecord& t, const Dims& predicted) {
    uint32_t alias = t.alias_age != 0;
    c.bit(is_alias_, alias);
    if (alias) {
      c.number(alias_age_, t.alias_age);
      if (t.alias_age == 0 || t.alias_age > tensors_) c.fail();
      c.number(alias_units_, t.alias_units);
      dims(t.dims, predicted, alias_dims_);
      remember(t.dims);
      ++tensors_;
      return;
    }
    t.alias_age = 0;
    c.number(dtype_, t.dtype);
    if (t.dtype > PITH_I32) {
      c.fail();
      t.dtype = PITH_U8;
    }
    dims(t.dims, predicted, tensor_dims_);
    if (t.dtype == PITH_U8) affine(t.affine, last_affine_);
    c.number(offset_, t.offset_units);
    remember(t.dims);
    ++tensors_;
  }

  void constant(ConstantRecord& k, const Dims& predicted) {
    c.number(constant_dtype_, k.dtype);
    if (k.dtype > PITH_I8) {
      c.fail();
      k.dtype = PITH_I8;
    }
    c.number(codec_[k.dtype], k.codec);
    const bool codes_floats = k.codec == PITH_CODEC_FLOAT || k.codec == PITH_CODEC_PREDICTED;
    if (k.codec > PITH_CODEC_VECTORS || codes_floats != (k.dtype == PITH_F32) || (k.codec == PITH_CODEC_VECTORS && k.dtype != PITH_I8)) c.fail();
    if (k.dtype == PITH_I8) {
      c.number(bits_, k.bits);
      c.bit(row_scales_, k.row_scales);
      if (k.codec == PITH_CODEC_VECTORS) c.number(book_, k.book);
      if (k.book > constants_) c.fail();
    } else {
      c.number(shift_, k.shift);
      if (k.shift > 30) c.fail();
      if (k.dtype == PITH_U8) affine(k.affine, last_affine_);
    }
    dims(k.dims, predicted, constant_dims_);
    c.number(bytes_, k.bytes);
    last_constant_ = k.dims;
    ++constants_;
  }

  // ---- predictions, from the operator and the tensors that the codec still remembers ----

  const Dims& known(int32_t tensor_id) const {
    const int64_t age = static_cast<int64_t>(tensors_) - 1 - tensor_id;
    return tensor_id >= 0 && age >= 0 && age < kRing ? ring_[static_cast<uint32_t>(tensor_id) % kRing] : ring_[tensors_ == 0 ? 0 : (tensors_ - 1) % kRing];
  }

  Dims predict_constant(const OpRecord& op, uint32_t slot) const {
    Dims p = last_constant_;
    const Dims& x = known(op.inputs[0]);
    const uint32_t depth = x.rank > 0 ? x.size[x.rank - 1] : 0;
    if (slot == 1 && op.opcode == PITH_OPCODE_Conv2d) {
      p.rank = 4;
      p.size[3] = op.ints[8] > 0 ? depth / static_cast<uint32_t>(op.ints[8]) : depth;
    } else if (slot == 1 && op.opcode == PITH_OPCODE_Dense) {
      p.rank = 2;
      p.size[1] = depth;
    } else if (slot == 2 && (op.opcode == PITH_OPCODE_Conv2d || op.opcode == PITH_OPCODE_Dense)) {
      p.rank = 1;
    }
    return p;
  }

  Dims predict_output(const OpRecord& op) const {
    Dims p = known(op.inputs[0]);
    const bool conv = op.opcode == PITH_OPCODE_Conv2d, pool = op.opcode == PITH_OPCODE_Pool2d;
    if ((conv || pool) && p.rank == 4) {
      const int32_t* s = op.ints + (conv ? 0 : 3);  // strides, dilations, pads
      for (int i = 0; i < 2; ++i) {
        const int64_t kernel = conv ? kernel_[1 + i] : op.ints[1 + i];
        const int64_t reach = s[2 + i] * (kernel - 1) + 1;
        const int64_t padded = static_cast<int64_t>(p.size[1 + i]) + s[4 + i] + s[6 + i];
        p.size[1 + i] = s[i] > 0 && padded >= reach ? static_cast<uint32_t>((padded - reach) / s[i] + 1) : 0;
      }
      if (conv) p.size[3] = kernel_[0];
    } else if (op.opcode == PITH_OPCODE_Dense && p.rank > 0) {
      p.size[p.rank - 1] = kernel_[0];
    }
    return p;
  }
  // Call after the weights' record (input 1 of Conv2d and Dense) is known, whether it was just read or used before.
  void set_kernel(const Dims& weights) {
    for (int i = 0; i < 3; ++i) kernel_[i] = weights.size[i];
  }

 private:
  static constexpr int64_t kRing = 32;

  void signed_number(coding::IntegerModel& m, int32_t& x) {
    uint32_t z = coding::zigzag(x);
    c.number(m, z);
    x = coding::unzigzag(z);
  }
  void real(float& x) {  // 0, 1, or 32 bits
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    uint32_t kind = bits == 0 ? 0 : bits == 0x3f800000u ? 1 : 2;
    c.number(real_kind_, kind);
    if (kind == 0) bits = 0;
    if (kind == 1) bits = 0x3f800000u;
    if (kind >= 2) c.raw(bits, 32);
    __builtin_memcpy(&x, &bits, 4);
  }
  void affine(numerics::Affine& a, numerics::Affine& last) {
    int32_t scale = a.scale_code - last.scale_code;
    signed_number(scale_, scale);
    uint32_t same = a.zero_point == last.zero_point;
    c.bit(same_zero_, same);
    uint32_t zero = a.zero_point;
    if (same) zero = last.zero_point;
    if (!same) c.raw(zero, 8);
    const int32_t code = numerics::saturate_i32(int64_t{scale} + last.scale_code);
    if (code < numerics::kScaleCodeMin || code > numerics::kScaleCodeMax) c.fail();
    a.scale_code = static_cast<int16_t>(numerics::clamp(code, numerics::kScaleCodeMin, numerics::kScaleCodeMax));
    a.zero_point = static_cast<uint8_t>(zero);
    last = a;
  }
  struct DimsModels {
    coding::IntegerModel rank, size[PITH_MAX_RANK];
    coding::BitModel same_rank, same[PITH_MAX_RANK];
  };
  void dims(Dims& d, const Dims& predicted, DimsModels& m) {
    uint32_t same = d.rank == predicted.rank;
    c.bit(m.same_rank, same);
    if (same) {
      d.rank = predicted.rank;
    } else {
      c.number(m.rank, d.rank);
    }
    if (d.rank > PITH_MAX_RANK) {
      c.fail();
      d.rank = 0;
    }
    for (uint32_t i = 0; i < d.rank; ++i) {
      const uint32_t guess = i < predicted.rank ? predicted.size[i] : 1;
      uint32_t equal = d.size[i] == guess;
      c.bit(m.same[i], equal);
      if (equal) {
        d.size[i] = guess;
      } else {
        c.number(m.size[i], d.size[i]);
      }
      if (d.size[i] > 0x7fffffffu) c.fail();
    }
  }
  // 0 absent, 1 a new constant, 2 a new tensor, 3 a known constant + its age, 4 + age a known tensor.
  int reference(int32_t& id, coding::IntegerModel& m) {
    uint32_t code = 0;
    if (!c.decoding) {
      const uint32_t constant = static_cast<uint32_t>(-2 - id);
      code = id == -1                                        ? 0
             : id <= -2                                      ? (constant == constants_ ? 1 : 3)
             : static_cast<uint32_t>(id) == tensors_         ? 2
                                                             : 4 + (tensors_ - 1 - static_cast<uint32_t>(id));
    }
    c.number(m, code);
    if (code == 0) {
      id = -1;
    } else if (code == 1) {
      id = -2 - static_cast<int32_t>(constants_);
      return 1;
    } else if (code == 2) {
      id = static_cast<int32_t>(tensors_);
      return 2;
    } else if (code == 3) {
      uint32_t age = c.decoding ? 0 : constants_ - 1 - static_cast<uint32_t>(-2 - id);
      c.number(constant_age_, age);
      if (age >= constants_) {
        c.fail();
        id = -1;
      } else {
        id = -2 - static_cast<int32_t>(constants_ - 1 - age);
      }
    } else {
      const uint32_t age = code - 4;
      if (age >= tensors_) {
        c.fail();
        id = -1;
      } else {
        id = static_cast<int32_t>(tensors_ - 1 - age);
      }
    }
    return 0;
  }
  void remember(const Dims& d) { ring_[tensors_ % kRing] = d; }

  Coder& c;
  coding::IntegerModel counts_, arena_, name_length_, rank_, permutation_, opcode_[8], ints_[kOpModels],
      activation_, scratch_, references_[17], dtype_, offset_, constant_dtype_, codec_[4], bits_, book_, shift_, bytes_,
      real_kind_, scale_, constant_age_, alias_age_, alias_units_;
  coding::BitModel has_scratch_, row_scales_, same_zero_, is_alias_;
  DimsModels tensor_dims_, constant_dims_, alias_dims_;
  numerics::Affine last_affine_, last_pre_;
  Dims ring_[kRing], last_constant_;
  uint32_t kernel_[3] = {0, 0, 0};
  uint32_t tensors_ = 0, constants_ = 0, last_opcode_ = 0;
};

// How the rows of a constant of these dimensions lie.
inline coding::RowShape row_shape(const Dims& d) {
  coding::RowShape shape;
  if (d.rank >= 2) shape.inner = d.size[d.rank - 1];
  if (d.rank >= 3) shape.width = d.size[d.rank - 2];
  return shape;
}

// A constant has at most so many elements for its payload's bytes: zeros are nearly free, but not more than this.
inline constexpr int64_t kElementsPerByte = 1 << 16;
inline bool plausible_count(int64_t elements, uint64_t bytes) {
  return elements / kElementsPerByte <= static_cast<int64_t>(bytes);
}

// The Coder that reads.
class ReadingCoder {
 public:
  static constexpr bool decoding = true;
  explicit ReadingCoder(const uint8_t* data, uint64_t bytes) : in_(data, bytes) {}
  void number(coding::IntegerModel& m, uint32_t& x) { x = coding::decode_unsigned(in_, m); }
  void bit(coding::BitModel& m, uint32_t& x) { x = in_.bit(m); }
  void raw(uint32_t& x, int bits) { x = in_.raw_bits(bits); }
  void fail() { failed_ = true; }
  bool failed() const { return failed_ || in_.overrun(); }

 private:
  coding::BinaryDecoder in_;
  bool failed_ = false;
};

// The frame around the structure: 'P', version, varint of the structure's bytes, the structure, varint of the metadata's
// bytes, the metadata, the constants' payloads in order, CRC-32 of all that (IEEE 802.3, little-endian).
struct Frame {
  const uint8_t* structure = nullptr;
  uint64_t structure_bytes = 0;
  const uint8_t* metadata = nullptr;
  uint64_t metadata_bytes = 0;
  const uint8_t* payload = nullptr;
  uint64_t payload_bytes = 0;
};

enum class FrameError { kNone, kNotPith, kVersion, kTruncated, kChecksum };

// The checksum's remainders, four bytes at a time (Kounavis and Berry, 2005): bit by bit, checking a large file took longer than
// decoding it. of[k][b]: byte b with k zero bytes after it.
struct CrcTables {
  uint32_t of[4][256] = {};
  constexpr CrcTables() {
    for (uint32_t b = 0; b < 256; ++b) {
      of[0][b] = b;
      for (int k = 0; k < 8; ++k) of[0][b] = of[0][b] >> 1 ^ (0xedb88320u & (0u - (of[0][b] & 1)));
    }
    for (int k = 1; k < 4; ++k)
      for (uint32_t b = 0; b < 256; ++b) of[k][b] = of[k - 1][b] >> 8 ^ of[0][of[k - 1][b] & 255];
  }
};
inline constexpr CrcTables kCrc;

inline uint32_t crc32(const uint8_t* data, uint64_t bytes) {
  uint32_t crc = 0xffffffffu;
  uint64_t i = 0;
  for (; i + 4 <= bytes; i += 4) {
    crc ^= static_cast<uint32_t>(data[i]) | static_cast<uint32_t>(data[i + 1]) << 8 | static_cast<uint32_t>(data[i + 2]) << 16 | static_cast<uint32_t>(data[i + 3]) << 24;
    crc = kCrc.of[3][crc & 255] ^ kCrc.of[2][crc >> 8 & 255] ^ kCrc.of[1][crc >> 16 & 255] ^ kCrc.of[0][crc >> 24];
  }
  for (; i < bytes; ++i) crc = crc >> 8 ^ kCrc.of[0][(crc ^ data[i]) & 255];
  return ~crc;
}

inline FrameError read_frame(const uint8_t* file, uint64_t bytes, Frame& f) {
  if (bytes < 2 || file[0] != PITH_FORMAT_MAGIC) return FrameError::kNotPith;
  if (file[1] < PITH_FORMAT_OLDEST || file[1] > PITH_FORMAT_VERSION) return FrameError::kVersion;
  if (bytes < 8) return FrameError::kTruncated;
  const uint64_t end = bytes - 4;
  uint64_t at = 2;
  const auto section = [&](const uint8_t*& data, uint64_t& length) {
    length = 0;
    for (int shift = 0;; shift += 7) {
      if (at >= end || shift > 35) return false;
      const uint8_t b = file[at++];
      length |= static_cast<uint64_t>(b & 127) << shift;
      if (b < 128) break;
    }
    if (length > end - at) return false;
    data = file + at;
    at += length;
    return true;
  };
  if (!section(f.structure, f.structure_bytes) || !section(f.metadata, f.metadata_bytes)) return FrameError::kTruncated;
  f.payload = file + at;
  f.payload_bytes = end - at;
  const uint32_t stored = static_cast<uint32_t>(file[end]) | static_cast<uint32_t>(file[end + 1]) << 8 |
                          static_cast<uint32_t>(file[end + 2]) << 16 | static_cast<uint32_t>(file[end + 3]) << 24;
  return crc32(file, end) == stored ? FrameError::kNone : FrameError::kChecksum;
}

}  // namespace pith::format
