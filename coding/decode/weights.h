// Decoding a constant's integers, row by row, from one of several codecs.
//
// A weight tensor is coded as rows (output channels): for each row its scale code (when every row has its own) and its
// integers. Decoding is sequential and needs no memory but this object and one row, so a layer can be decoded a tile of
// rows at a time while it executes.
//
//   RAW       fixed-width fields
//   RANS      rans.h: fast
//   ADAPTIVE  adaptive binary arithmetic code; zero flag and bit length of the magnitude under a context of the
//             neighbouring magnitudes (left, the one before, the row above, a running mean): small state
//   MIXED     mixed.h: the smallest for very sparse weights
//   CLASSES   classes.h: as small as MIXED elsewhere, and several times as fast
//   MIXED and CLASSES of a TRELLIS (trellis.h)
//   VECTORS   vectors.h: what is looked up, several weights at once
//   GROUPS    so many rows at a time, each group a stream of its own under one of the others: rows in any order
//   LEVELS    levels.h: any of these, GROUPS too, of multiples that stand for learned levels
//
// docs/format.md is the specification. Freestanding.
#pragma once

#include "coding/decode/binary.h"
#include "coding/decode/classes.h"
#include "coding/decode/levels.h"
#include "coding/decode/mixed.h"
#include "coding/decode/rans.h"
#include "coding/decode/scales.h"
#include "coding/decode/vectors.h"

namespace pith::coding {

enum : int { kCodecRaw = 0, kCodecRans = 1, kCodecAdaptive = 2, kCodecMixed = 4, kCodecClasses = 6, kCodecGroups = 7, kCodecMixedTrellis = 8, kCodecClassesTrellis = 9, kCodecLevels = 10, kCodecVectors = 11 };  // as program/format.h has them

// Codes rows one after the other, as a constant of its own or as a group.
inline bool is_row_codec(int codec) {
  return codec == kCodecRaw || codec == kCodecRans || codec == kCodecAdaptive || codec == kCodecMixed || codec == kCodecClasses || codec == kCodecMixedTrellis || codec == kCodecClassesTrellis;
}

// Whether rows can be decoded in any order: GROUPS, or LEVELS of GROUPS.
inline bool in_any_order(const uint8_t* data, uint64_t bytes, int codec) { return codec == kCodecGroups || (codec == kCodecLevels && bytes > 0 && (*data & 15) == kCodecGroups); }

// Context of the adaptive codec: a class of expected magnitude out of the neighbours.
inline constexpr int kMagnitudeClasses = 16;
inline int magnitude_class(uint32_t left, uint32_t left2, uint32_t above, uint32_t mean16) {
  // in 1/32: 6 left + 3 left2 + 4 above (scaled), and 20 of the running mean (which is in 1/16)
  const uint32_t t = 6 * left + 3 * left2 + 5 * above + mean16 + mean16 / 8;
  // half-octave classes of t
  if (t < 6) return static_cast<int>(t) / 2;  // 0, 1, 2
  int octave = 31 - __builtin_clz(t);
  const int half = static_cast<int>((t >> (octave - 1)) & 1);
  const int c = 2 * octave + half - 2;  // t = 6 -> 2*2+1-2 = 3
  return c < kMagnitudeClasses ? c : kMagnitudeClasses - 1;
}

struct AdaptiveWeightModels {
  BitModel nonzero[kMagnitudeClasses];
  BitModel longer[kMagnitudeClasses][8];  // is the bit length of |q| greater than i+1
  BitModel mantissa[8][8];                // by bit length and the up to three bits already known
};

class WeightDecoder {
 public:
  WeightDecoder() {}

  // `bits` 2..8; `row_scales`: each row carries its own scale code, otherwise one is read at the start.
  // `book`: the stream under VECTORS, with a book of its own, whose book this one uses. Returns false when the parameters or
  // the head are malformed.
  bool begin(const uint8_t* data, uint64_t bytes, int codec, int bits, bool row_scales, RowShape shape, BookOwner book = {});

  // Decodes the next row in place: on entry `row` holds the previous row (zeros before the first), on return the new
  // one. Values lie in [-limit, limit], limit = 2^(bits-1) - 1. Returns the row's scale code.
  int next_row(int8_t* row, int64_t length);

  // GROUPS only (in LEVELS too): goes to the group that holds row `row`, 0 <= row, and returns its first row, which is decoded next (no
  // row before is needed). -1 for other codecs.
  int64_t seek(int64_t row);

  // True once more was read than was there: the stream is damaged.
  bool overrun() const { return head_.overrun() || rans_.overrun() || (codec_ == kCodecVectors && vectors_.overrun()) || overrun_; }

 private:
  bool begin_stream(const uint8_t* data, uint64_t bytes, int codec);
  bool begin_groups(const uint8_t* data, uint64_t bytes);
  bool begin_vectors(const uint8_t* data, uint64_t bytes, BookOwner owner);
  void next_group();
  void adaptive_row(int8_t* row, int64_t length);
  void raw_row(int8_t* row, int64_t length);
  BinaryDecoder head_;  // scale codes and choices; with ADAPTIVE, MIXED and CLASSES everything
  ScaleReader scales_;
  AdaptiveWeightModels models_;
  RansRows rans_;
  union {  // of the codec in use
    MixedRows mixed_;
    ClassRows classes_;
    VectorRows vectors_;
  };
  BitModel empty_;  // MIXED and CLASSES: the row is all zeros
  uint32_t mean16_ = 0, largest_ = 0;
  const uint8_t* next_ = nullptr;
  const uint8_t* end_ = nullptr;
  uint32_t accumulator_ = 0;
  int available_ = 0, codec_ = 0, bits_ = 8, limit_ = 127;
  bool overrun_ = false, row_scales_ = false, trellis_ = false;
  RowShape shape_;
  Levels levels_;
  // GROUPS: the sizes of groups as varints, their streams, and how far we are
  const uint8_t *table_ = nullptr, *next_size_ = nullptr, *streams_ = nullptr, *next_stream_ = nullptr, *groups_end_ = nullptr;
  int64_t group_rows_ = 0, row_in_group_ = 0;
  int group_codec_ = 0;
};

// ---- implementation ----

inline bool WeightDecoder::begin(const uint8_t* data, uint64_t bytes, int codec, int bits, bool row_scales, RowShape shape, BookOwner book) {
  if (bits < 2 || bits > 8) return false;
  bits_ = bits;
  limit_ = (1 << (bits - 1)) - 1;
  row_scales_ = row_scales;
  shape_ = shape;
  overrun_ = false;
  group_rows_ = 0;
  codec_ = kCodecRaw;
  head_ = BinaryDecoder();
  rans_ = RansRows();
  levels_ = Levels();
  if (codec == kCodecVectors) return begin_vectors(data, bytes, book);
  const uint8_t* const end = data + bytes;
  if (codec == kCodecLevels && !levels_.begin(data, end, codec)) return false;
  const auto left = static_cast<uint64_t>(end - data);
  return codec == kCodecGroups ? begin_groups(data, left) : begin_stream(data, left, codec);
}

// A varint: rows of a group; a byte: their codec; a varint: the bytes of the table; the table of the groups' sizes.
inline bool WeightDecoder::begin_groups(const uint8_t* data, uint64_t bytes) {
  const uint8_t *at = data, *end = data + bytes;
  uint64_t rows = 0, table = 0;
  if (!read_varint(at, end, rows) || rows < 1 || at == end) return false;
  group_codec_ = *at++;
  if (!is_row_codec(group_codec_) || !read_varint(at, end, table) || table > static_cast<uint64_t>(end - at)) return false;
  group_rows_ = static_cast<int64_t>(rows);
  table_ = next_size_ = at;
  streams_ = next_stream_ = at + table;
  groups_end_ = end;
  row_in_group_ = 0;
  return true;
}

// The book, side information (scales, frequencies) after its length, indices.
inline bool WeightDecoder::begin_vectors(const uint8_t* data, uint64_t bytes, BookOwner owner) {
  const uint8_t *at = data, *end = data + bytes;
  VectorBook book, whole;
  if (!book.read(at, end, owner.data == nullptr)) return false;
  if (owner.data != nullptr) {
    if (!whole.read(owner.data, owner.data + owner.bytes, true) || whole.length != book.length || whole.count < book.count) return false;
    book.vectors = whole.vectors;
  }
  uint64_t side_bytes = 0;
  if (!read_varint(at, end, side_bytes) || side_bytes > static_cast<uint64_t>(end - at)) return false;
  codec_ = kCodecVectors;
  trellis_ = false;
  head_ = BinaryDecoder(at, side_bytes);
  scales_ = ScaleReader();
  scales_.begin(head_, row_scales_);
  return vectors_.begin(book, head_, at + side_bytes, end, limit_);
}

inline void WeightDecoder::next_group() {
  uint64_t size = 0;
  const bool damaged = overrun();
  const bool there = read_varint(next_size_, streams_, size) && size <= static_cast<uint64_t>(groups_end_ - next_stream_);
  if (!there || !begin_stream(next_stream_, size, group_codec_)) {
    begin_stream(next_stream_, 0, kCodecAdaptive);  // zeros
    overrun_ = true;
  } else {
    overrun_ = damaged;
  }
  next_stream_ += there ? size : 0;
}

inline int64_t WeightDecoder::seek(int64_t row) {
  if (group_rows_ == 0) return -1;
  next_size_ = table_;
  next_stream_ = streams_;
  row_in_group_ = 0;
  for (int64_t skip = row / group_rows_; skip > 0; --skip) {
    uint64_t size = 0;
    if (!read_varint(next_size_, streams_, size) || size > static_cast<uint64_t>(groups_end_ - next_stream_)) {
      overrun_ = true;
      break;
    }
    next_stream_ += size;
  }
  return row / group_rows_ * group_rows_;
}

inline bool WeightDecoder::begin_stream(const uint8_t* data, uint64_t bytes, int codec) {
  trellis_ = codec == kCodecMixedTrellis || codec == kCodecClassesTrellis;
  if (trellis_) codec = codec == kCodecMixedTrellis ? kCodecMixed : kCodecClasses;
  if (!is_row_codec(codec)) return false;
  const bool mixed = codec == kCodecMixed || codec == kCodecClasses, whole = codec == kCodecAdaptive || mixed;
  scales_ = ScaleReader();
  models_ = AdaptiveWeightModels();
  rans_ = RansRows();
  empty_ = BitModel();
  mean16_ = largest_ = accumulator_ = 0;
  available_ = 0;
  codec_ = codec;
  if (whole) {
    head_ = BinaryDecoder(data, bytes);
    scales_.begin(head_, row_scales_);
    if (mixed) largest_ = head_.raw_bits(bits_ - 1);
    if (trellis_ && 2 * largest_ > static_cast<uint32_t>(limit_) + 1) return false;
    if (codec == kCodecMixed) mixed_.begin(largest_, shape_, trellis_);
    if (codec == kCodecClasses) classes_.begin(largest_, head_.raw_bits(1) != 0, shape_, trellis_);
    return true;
  }
  uint64_t side_bytes = 0;
  next_ = data;
  end_ = data + bytes;
  if (!read_varint(next_, end_, side_bytes) || side_bytes > static_cast<uint64_t>(end_ - next_)) return false;
  head_ = BinaryDecoder(next_, side_bytes);
  next_ += side_bytes;
  scales_.begin(head_, row_scales_);
  return codec != kCodecRans || rans_.begin(head_, next_, end_, bits_);
}

inline int WeightDecoder::next_row(int8_t* row, int64_t length) {
  if (group_rows_ > 0) {
    if (row_in_group_ == 0) {
      next_group();
      for (int64_t k = 0; k < length; ++k) row[k] = 0;
    }
    if (++row_in_group_ == group_rows_) row_in_group_ = 0;
  }
  const bool empty = (codec_ == kCodecMixed || codec_ == kCodecClasses) && (largest_ == 0 || head_.bit(empty_));
  const int scale = scales_.next(head_, empty);
  if (empty) {
    for (int64_t k = 0; k < length; ++k) row[k] = 0;
    return scale;
  }
  if (levels_.count > 0) levels_.multiples(row, length);
  if (codec_ == kCodecMixed || codec_ == kCodecClasses) {
    if (trellis_) trellis_indices(row, length);
    if (codec_ == kCodecMixed) mixed_.code_row(head_, row, length, nullptr);
    if (codec_ == kCodecClasses) classes_.code_row(head_, row, length, nullptr);
    if (trellis_) trellis_values(row, length, limit_);
  } else if (codec_ == kCodecAdaptive) {
    adaptive_row(row, length);
  } else if (codec_ == kCodecVectors) {
    vectors_.row(row, length);
  } else if (codec_ == kCodecRans) {
    rans_.row(head_, row, length);
  } else {
    raw_row(row, length);
  }
  if (levels_.count > 0) levels_.values(row, length, limit_);
  return scale;
}

inline void WeightDecoder::adaptive_row(int8_t* row, int64_t length) {
  uint32_t left = 0, left2 = 0, mean16 = mean16_;
  for (int64_t k = 0; k < length; ++k) {
    const uint32_t above = static_cast<uint32_t>(row[k] < 0 ? -row[k] : row[k]);
    const int c = magnitude_class(left, left2, above, mean16);
    uint32_t magnitude = 0;
    int32_t q = 0;
    if (head_.bit(models_.nonzero[c])) {
      const uint32_t negative = head_.raw_bits(1);
      int len = 1;
      while (len < bits_ - 1 && head_.bit(models_.longer[c][len - 1])) ++len;
      magnitude = 1;
      int known = 0;
      uint32_t prefix = 1;
      for (int i = len - 2; i >= 0; --i, ++known) {
        const uint32_t b = known < 3 ? head_.bit(models_.mantissa[len - 1][prefix]) : head_.raw_bits(1);
        if (known < 2) prefix = prefix << 1 | b;
        magnitude = magnitude << 1 | b;
      }
      q = negative ? -static_cast<int32_t>(magnitude) : static_cast<int32_t>(magnitude);
    }
    row[k] = static_cast<int8_t>(q);
    left2 = left;
    left = magnitude;
    mean16 = static_cast<uint32_t>(static_cast<int32_t>(mean16) +
                                   ((static_cast<int32_t>(magnitude << 8) - static_cast<int32_t>(mean16) * 16 + 256) >> 9));
  }
  mean16_ = mean16;
}

inline void WeightDecoder::raw_row(int8_t* row, int64_t length) {
  for (int64_t k = 0; k < length; ++k) {
    while (available_ < bits_) {
      if (next_ >= end_) overrun_ = true;
      accumulator_ |= static_cast<uint32_t>(next_ < end_ ? *next_++ : 0) << available_;
      available_ += 8;
    }
    const int32_t field = static_cast<int32_t>(accumulator_ & ((1u << bits_) - 1));
    accumulator_ >>= bits_;
    available_ -= bits_;
    const int32_t q = field - (1 << (bits_ - 1));
    row[k] = static_cast<int8_t>(q < -limit_ ? -limit_ : q);
  }
}

}  // namespace pith::coding
