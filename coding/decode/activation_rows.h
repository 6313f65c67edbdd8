// Rows of activations in a fixed number of bytes, both ways: a runtime stores what waits long and takes it up again.
//
// The first byte is the index of the row's step (numerics/row_model.h); then the number of each value: `high` zeros and
// a one, high = number >> parameter, and its low bits; or kRowEscape zeros and the number in 8 bits. Bits fill bytes from
// the lowest on; what is left is 0. The writer takes the finest step whose numbers fit, by bisection, so that rows with
// little in them are exact; where not even the coarsest fits, the row becomes its zero point.
//
// Freestanding. Readers are safe on any bytes.
#pragma once

#include <stdint.h>

#include "numerics/row_lifting.h"
#include "numerics/row_model.h"

namespace pith::coding {

using numerics::LiftedChannel;
using numerics::LiftedRowModel;
using numerics::RowChannel;
using numerics::RowExpectation;
using numerics::RowLifting;
using numerics::RowModel;

class RowBits {
 public:
  RowBits(const uint8_t* data, int64_t bytes) : data_(data), bytes_(bytes) {}
  int number(int parameter) {
    if (count_ < 32) fill();
    const int high = __builtin_ctzll(bits_ | uint64_t{1} << numerics::kRowEscape);
    if (high == numerics::kRowEscape) {
      const int number = static_cast<int>(bits_ >> numerics::kRowEscape & 255);
      drop(numerics::kRowEscape + 8);
      return number;
    }
    const int low = static_cast<int>(bits_ >> (high + 1)) & ((1 << parameter) - 1);
    drop(high + 1 + parameter);
    const int number = high << parameter | low;
    return number < 256 ? number : 255;
  }

 private:
  void drop(int n) {
    bits_ >>= n;
    count_ -= n;
  }
  // Beyond the row's end there are zeros.
  void fill() {
    if (at_ + 4 <= bytes_) {
      uint32_t four;
      __builtin_memcpy(&four, data_ + at_, 4);
      bits_ |= static_cast<uint64_t>(four) << count_;
      at_ += 4;
    } else {
      for (int i = 0; i < 4; ++i, ++at_) {
        if (at_ < bytes_) bits_ |= static_cast<uint64_t>(data_[at_]) << (count_ + 8 * i);
      }
    }
    count_ += 32;
  }
  const uint8_t* data_;
  int64_t bytes_, at_ = 0;
  uint64_t bits_ = 0;
  int count_ = 0;
};

// What RowBits reads. Only bytes that hold bits are written.
class RowWriter {
 public:
  explicit RowWriter(uint8_t* to) : to_(to) {}
  void put(int number, int parameter) {
    const int unary = number >> parameter;
    if (unary < numerics::kRowEscape) {
      bits_ |= (uint64_t{1} | static_cast<uint64_t>(number & ((1 << parameter) - 1)) << 1) << (count_ + unary);
      count_ += unary + 1 + parameter;
    } else {
      bits_ |= static_cast<uint64_t>(number) << (count_ + numerics::kRowEscape);
      count_ += numerics::kRowEscape + 8;
    }
    if (count_ >= 32) {
      __builtin_memcpy(to_, &bits_, 4);
      to_ += 4, bits_ >>= 32, count_ -= 32;
    }
  }
  // Behind the last byte, which is filled up with zeros.
  uint8_t* end() {
    for (; count_ > 0; count_ -= 8, bits_ >>= 8) *to_++ = static_cast<uint8_t>(bits_);
    return to_;
  }

 private:
  uint8_t* to_;
  uint64_t bits_ = 0;
  int count_ = 0;
};

// How far a row has been decoded, for readers that take a few pixels at a time.
struct RowProgress {
  RowProgress(const uint8_t* row, int64_t bytes) : bits(row + 1, bytes - 1), step_index(bytes < 1 ? numerics::kRowFlat : row[0]) {}
  bool flat() const { return step_index >= numerics::kRowFlat; }
  RowBits bits;
  int step_index;
  int32_t column = 0;
};

// The next `count` pixels of a row that isn't flat, as a model expects them. `values`: count x channels of them, behind the pixel before.
template <typename Model>
void decode_modelled_pixels(Model model, RowProgress& row, uint8_t zero_point, int32_t count, int32_t channels, uint8_t* values) {
  for (int32_t i = 0; i < count; ++i, ++row.column) {
    const bool first = row.column == 0;
    for (int32_t c = 0; c < channels; ++c, ++values) {
      const int left = first ? zero_point : values[-channels];
      const RowExpectation e = model.expect(c, first, left);
      const int number = row.bits.number(e.parameter), value = model.value(e, number);
      *values = static_cast<uint8_t>(value);
      model.learn(c, first, left, value, number);
    }
  }
}

// The next `count` pixels. `state`: one for each channel, kept from call to call.
inline void decode_activation_pixels(RowProgress& row, uint8_t zero_point, int32_t count, int32_t channels, RowChannel* state, uint8_t* values) {
  if (row.flat()) {
    for (int64_t i = 0; i < int64_t{count} * channels; ++i) values[i] = zero_point;
    return;
  }
  // what a model knows of all channels serves the first column alone, so each call may begin a new one
  decode_modelled_pixels(RowModel(state, row.step_index, zero_point), row, zero_point, count, channels, values);
}

// `values`: width x channels of them. `state`: one for each channel.
inline void decode_activation_row(const uint8_t* row, int64_t bytes, uint8_t zero_point, int32_t width, int32_t channels, RowChannel* state, uint8_t* values) {
  RowProgress progress(row, bytes);
  decode_activation_pixels(progress, zero_point, width, channels, state, values);
}

// Calls put(number, parameter) for each value while it returns true; `decoded`: one byte for each channel.
template <typename Model, typename Put>
bool walk_modelled_row(Model model, const uint8_t* values, uint8_t zero_point, int32_t width, int32_t channels, uint8_t* decoded, const Put& put) {
  for (int32_t x = 0; x < width; ++x) {
    for (int32_t c = 0; c < channels; ++c, ++values) {
      const int left = x == 0 ? zero_point : decoded[c];
      const RowExpectation e = model.expect(c, x == 0, left);
      const bool down = numerics::row_rounds_down(x, c, x == 0 ? zero_point : values[-channels], left);
      const int number = model.number(e, *values, down), value = model.value(e, number);
      if (!put(number, e.parameter)) return false;
      decoded[c] = static_cast<uint8_t>(value);
      model.learn(c, x == 0, left, value, number);
    }
  }
  return true;
}

template <typename Put>
bool walk_activation_row(const uint8_t* values, int step_index, uint8_t zero_point, int32_t width, int32_t channels, RowChannel* state, uint8_t* decoded, const Put& put) {
  return walk_modelled_row(RowModel(state, step_index, zero_point), values, zero_point, width, channels, decoded, put);
}

// Do a row's numbers fit? walk(put) goes over them.
template <typename Walk>
bool fits_activation_row(const Walk& walk, int64_t bytes) {
  int64_t room = 8 * (bytes - 1);
  return walk([&](int number, int parameter) {
    room -= numerics::row_number_bits(number, parameter);
    return room >= 0;
  });
}

// Fills all of the row's bytes, at least one. Returns the index of its step.
template <typename Walk>
int write_activation_row(const Walk& walk, int step_index, uint8_t* row, int64_t bytes) {
  row[0] = static_cast<uint8_t>(step_index);
  uint8_t* end = row + 1;
  if (step_index < numerics::kRowFlat) {
    RowWriter writer(end);
    walk([&](int number, int parameter) {
      writer.put(number, parameter);
      return true;
    });
    end = writer.end();
  }
  while (end < row + bytes) *end++ = 0;
  return step_index;
}

inline int encode_activation_row(const uint8_t* values, uint8_t zero_point, int32_t width, int32_t channels, RowChannel* state, uint8_t* decoded, uint8_t* row, int64_t bytes) {
  const auto with = [&](int step_index) { return [=](const auto& put) { return walk_activation_row(values, step_index, zero_point, width, channels, state, decoded, put); }; };
  const int step_index = numerics::bisected_row_step([&](int s) { return fits_activation_row(with(s), bytes); });
  return write_activation_row(with(step_index), step_index, row, bytes);
}

// Rows with a lifting across their channels, both ways: what a row needs of memory, and what it is made of.
struct LiftedRows {
  RowLifting lifting;
  uint8_t zero_point;
  int32_t width;
  RowChannel* state;      // of each channel
  LiftedChannel* lifted;  // of each channel

  template <typename Put>
  bool walk(const uint8_t* values, int step_index, uint8_t* decoded, const Put& put) const {
    return walk_modelled_row(LiftedRowModel(lifting, state, lifted, step_index, zero_point), values, zero_point, width, lifting.channels, decoded, put);
  }
  int encode(const uint8_t* values, uint8_t* decoded, uint8_t* row, int64_t bytes) const {
    const auto with = [&](int step_index) { return [=, this](const auto& put) { return walk(values, step_index, decoded, put); }; };
    const int step_index = numerics::first_row_step([&](int s) { return fits_activation_row(with(s), bytes); });
    return write_activation_row(with(step_index), step_index, row, bytes);
  }
  void decode(const uint8_t* row, int64_t bytes, uint8_t* values) const {
    RowProgress progress(row, bytes);
    if (progress.flat()) return decode_activation_pixels(progress, zero_point, width, lifting.channels, state, values);
    decode_modelled_pixels(LiftedRowModel(lifting, state, lifted, progress.step_index, zero_point), progress, zero_point, width, lifting.channels, values);
  }
};

}  // namespace pith::coding
