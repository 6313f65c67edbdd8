// Rows of weights as vectors out of a book: the code that is looked up.
//
// Why: the arithmetic decoders of the other codes take ten nanoseconds a weight and rANS a step for each; an index that stands
// for two, four or eight weights at once takes one look-up for all of them, and where its vectors are as long as that it
// costs no more bits (A. Gersho and R. Gray, "Vector quantization and signal compression", 1992).
//
// A row is cut into runs of n weights, each the index of a vector; of the last run's vector as much counts as the row still
// has. Weights have no preferred sign, so a book is symmetric and holds half of itself: index 0 is the vector of zeros, which
// isn't stored, 2v - 1 is its vector v and 2v the negative of that, v = 1..count; other indices are zeros. The first bytes
// of a stream are the book, so that other constants' streams can use it where it lies. Indices have a fixed width, or go
// under rANS (Duda, 2013; rans.h) with a frequency for each vector, its negative having the same.
//
// Freestanding.
#pragma once

#include "coding/decode/rans.h"

namespace pith::coding {

inline constexpr int kMostVectors = 511;  // of a book, beside zeros and negatives
inline constexpr int kVectorBits = 12;    // frequencies are in 1/4096

// A stream whose book is used in another.
struct BookOwner {
  const uint8_t* data = nullptr;
  uint64_t bytes = 0;
};

// What a stream begins with, and the vectors themselves where they are its own.
struct VectorBook {
  const int8_t* vectors = nullptr;
  int length = 0, count = 0;  // n; vectors in use
  bool coded = false;         // indices are entropy-coded

  // A byte: log2(n) - 1 and, as bit 2, whether indices are entropy-coded; a varint: how many vectors; those, unless they are another's.
  bool read(const uint8_t*& at, const uint8_t* end, bool own) {
    uint64_t vectors_used = 0;
    if (at == end || (*at & 3) == 3 || *at > 7) return false;
    length = 2 << (*at & 3);
    coded = *at++ >> 2 != 0;
    if (!read_varint(at, end, vectors_used) || vectors_used > kMostVectors) return false;
    count = static_cast<int>(vectors_used);
    if (!own) return true;
    vectors = reinterpret_cast<const int8_t*>(at);
    if (end - at < int64_t{count} * length) return false;
    at += count * length;
    return true;
  }
};

class VectorRows {
 public:
  // After the side information's scales: frequencies from there, indices from `data`. False where they are malformed.
  bool begin(const VectorBook& book, BinaryDecoder& side, const uint8_t* data, const uint8_t* end, int limit);
  void row(int8_t* row, int64_t length);
  bool overrun() const { return overrun_; }

 private:
  bool read_frequencies(const VectorBook& book, BinaryDecoder& side);
  template <int n>
  void indices(int8_t* row, int64_t length);
  template <int n>
  void symbols(int8_t* row, int64_t length);
  // One run of a row, from index to weights.
  template <int n>
  void look_up(uint32_t index, int8_t* row, int64_t left) const {
    const int8_t* v = vectors_ + n * index;
    if (left >= n) {
      __builtin_memcpy(row, v, n);
    } else {
      for (int64_t k = 0; k < left; ++k) row[k] = v[k];
    }
  }

  int8_t vectors_[2 * (kMostVectors + 1) * 8];  // by index
  uint16_t symbol_[1 << kVectorBits];           // of each slot
  uint16_t start_[2 * kMostVectors + 2];        // of each symbol
  uint32_t state_[2];
  uint64_t ahead_;
  const uint8_t* next_;
  const uint8_t* end_;
  int length_, width_, available_, turn_;
  bool coded_, overrun_;
};

// ---- implementation ----

inline bool VectorRows::begin(const VectorBook& book, BinaryDecoder& side, const uint8_t* data, const uint8_t* end, int limit) {
  next_ = data;
  end_ = end;
  length_ = book.length;
  coded_ = book.coded;
  overrun_ = false;
  ahead_ = 0;
  available_ = turn_ = width_ = 0;
  while ((2 * book.count) >> width_ != 0) ++width_;
  for (int i = 0; i < length_ << width_; ++i) vectors_[i] = 0;
  for (int i = 0; i < length_ * book.count; ++i) {
    const int x = book.vectors[i], v = x < -limit ? -limit : x > limit ? limit : x, at = (2 * (i / length_) + 1) * length_ + i % length_;
    vectors_[at] = static_cast<int8_t>(v);
    vectors_[at + length_] = static_cast<int8_t>(-v);
  }
  return !coded_ || read_frequencies(book, side);
}

// Signed differences of each vector's frequency to the one before; what they leave of all is that of zeros.
inline bool VectorRows::read_frequencies(const VectorBook& book, BinaryDecoder& side) {
  constexpr int32_t kAll = 1 << kVectorBits;
  IntegerModel model;
  int32_t total = 0, frequency = 0;
  uint16_t of[kMostVectors];
  for (int v = 0; v < book.count; ++v) {
    const int32_t change = decode_signed(side, model);
    if (change < -kAll || change > kAll) return false;
    frequency += change;
    total += 2 * frequency;
    if (frequency < 0 || total > kAll) return false;
    of[v] = static_cast<uint16_t>(frequency);
  }
  int32_t slot = 0;
  const auto fill = [&](int symbol, int32_t size) {
    start_[symbol] = static_cast<uint16_t>(slot);
    for (const int32_t last = slot + size; slot < last; ++slot) symbol_[slot] = static_cast<uint16_t>(symbol);
  };
  fill(0, kAll - total);
  for (int v = 0; v < book.count; ++v) {
    fill(2 * v + 1, of[v]);
    fill(2 * v + 2, of[v]);
  }
  start_[2 * book.count + 1] = kAll;
  return begin_rans(state_, next_, end_);
}

inline void VectorRows::row(int8_t* row, int64_t length) {
  switch (length_) {
    case 2: return coded_ ? symbols<2>(row, length) : indices<2>(row, length);
    case 4: return coded_ ? symbols<4>(row, length) : indices<4>(row, length);
    default: return coded_ ? symbols<8>(row, length) : indices<8>(row, length);
  }
}

template <int n>
inline void VectorRows::indices(int8_t* row, int64_t length) {
  const uint8_t* next = next_;
  uint64_t ahead = ahead_;
  int available = available_;
  const uint32_t mask = (1u << width_) - 1;
  for (int64_t k = 0; k < length; k += n) {
    if (available < width_) {
      if (end_ - next >= 4) {
        ahead |= (uint64_t{next[0]} | uint64_t{next[1]} << 8 | uint64_t{next[2]} << 16 | uint64_t{next[3]} << 24) << available;
        next += 4;
        available += 32;
      } else {
        for (; available < width_; available += 8) {
          if (next >= end_) overrun_ = true;
          ahead |= static_cast<uint64_t>(next < end_ ? *next++ : 0) << available;
        }
      }
    }
    look_up<n>(static_cast<uint32_t>(ahead) & mask, row + k, length - k);
    ahead >>= width_;
    available -= width_;
  }
  next_ = next;
  ahead_ = ahead;
  available_ = available;
}

template <int n>
inline void VectorRows::symbols(int8_t* row, int64_t length) {
  uint32_t one = state_[turn_], other = state_[turn_ ^ 1];
  for (int64_t k = 0; k < length; k += n) {
    const uint32_t slot = one & ((1u << kVectorBits) - 1), symbol = symbol_[slot], start = start_[symbol];
    const uint32_t s = (start_[symbol + 1] - start) * (one >> kVectorBits) + slot - start;
    one = other;
    other = refilled(s, next_, end_, overrun_);
    turn_ ^= 1;
    look_up<n>(symbol, row + k, length - k);
  }
  state_[turn_] = one;
  state_[turn_ ^ 1] = other;
}

}  // namespace pith::coding
