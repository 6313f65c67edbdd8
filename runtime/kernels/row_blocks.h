// What vector forms of the row codec share: channels in blocks, the first column, the search for a step.
//
// What is expected of a value depends on the pixel before, not on the channels beside it; only the place of its bits
// does. So predictions, parameters, steps and what is learnt are vectors of a block's channels, and a loop over its
// numbers reads or writes bits between them. The writer's search for the finest step that fits needs no bits at all,
// only their count. The first column alone goes value by value (numerics/row_model.h): its channels learn from each
// other.
#pragma once

#include <string.h>

#include "coding/decode/activation_rows.h"
#include "runtime/kernels/kernels.h"

namespace pith::runtime {

// What a block's channels have shown so far, as RowChannel has it of one.
template <int kBlock>
struct RowBlock {
  uint16_t level[kBlock], zero[kBlock], left[kBlock], middle[kBlock];
};

// The blocks of all channels: in the caller's memory, and where that holds whole ones only, a last one in part on the
// stack.
template <int kBlock>
class RowBlocks {
 public:
  static_assert(sizeof(RowBlock<kBlock>) == kBlock * sizeof(coding::RowChannel));
  // `room`: blocks that the memory holds.
  RowBlocks(uint8_t* state, int32_t channels, int32_t room)
      : in_memory_(reinterpret_cast<RowBlock<kBlock>*>(state)),
        room_(room),
        count_((channels + kBlock - 1) / kBlock),
        channels_(channels) {}
  int32_t count() const { return count_; }
  int32_t channels_of(int32_t b) const { return (b + 1) * kBlock <= channels_ ? kBlock : channels_ - b * kBlock; }
  RowBlock<kBlock>& at(int32_t b) { return b < room_ ? in_memory_[b] : rest_; }

 private:
  RowBlock<kBlock>* in_memory_;
  RowBlock<kBlock> rest_;
  int32_t room_, count_, channels_;
};

// Where decoded values of the pixel before stand while a row is written: the whole blocks' behind the state.
template <int kBlock>
struct PixelBefore {
  PixelBefore(uint8_t* state, int32_t channels)
      : whole(state + int64_t{channels} * int64_t{sizeof(coding::RowChannel)}), channels(channels) {}
  uint8_t* at(int32_t b) { return (b + 1) * kBlock <= channels ? whole + b * kBlock : rest; }
  uint8_t* whole;
  int32_t channels;
  uint8_t rest[kBlock] = {};
};

// The first column, value by value: at(channel, model, expectation, number, value) gives the last two.
template <int kBlock, typename At>
__attribute__((always_inline)) inline void first_column(RowBlocks<kBlock>& blocks, int step_index, uint8_t zero_point,
                                                        const At& at) {
  coding::RowChannel channels[kBlock];
  coding::RowModel model(channels, step_index, zero_point);
  for (int32_t b = 0; b < blocks.count(); ++b) {
    RowBlock<kBlock>& block = blocks.at(b);
    for (int i = 0; i < blocks.channels_of(b); ++i) {
      const coding::RowExpectation e = model.expect(i, true, zero_point);
      int number = 0, value = 0;
      at(b * kBlock + i, model, e, number, value);
      model.learn(i, true, zero_point, value, number);
      block.level[i] = channels[i].level, block.zero[i] = channels[i].zero, block.left[i] = channels[i].left,
      block.middle[i] = channels[i].middle;
    }
  }
}

// The same of a row that is read: its values go where `values` says.
template <int kBlock>
__attribute__((always_inline)) inline void decode_first_column(coding::RowBits& bits, RowBlocks<kBlock>& blocks, int step_index, uint8_t zero_point, uint8_t* values) {
  first_column(blocks, step_index, zero_point, [&](int32_t c, const coding::RowModel& model, const coding::RowExpectation& e, int& number, int& value) {
    number = bits.number(e.parameter);
    value = model.value(e, number);
    values[c] = static_cast<uint8_t>(value);
  });
}

// Writes a row with the finest step that fits. walk(step index, room, writer) puts every number there, or without a
// writer returns how many bits they take, at least until they pass `room`.
template <typename Walk>
__attribute__((always_inline)) inline void write_row(const EncodeRowU8& r, const Walk& walk) {
  const int64_t room = 8 * (r.bytes - 1);
  const int step_index = numerics::bisected_row_step([&](int s) { return walk(s, room, nullptr) <= room; });
  r.row[0] = static_cast<uint8_t>(step_index);
  uint8_t* end = r.row + 1;
  if (step_index < numerics::kRowFlat) {
    coding::RowWriter writer(end);
    walk(step_index, room, &writer);
    end = writer.end();
  }
  memset(end, 0, static_cast<size_t>(r.row + r.bytes - end));
}

}  // namespace pith::runtime
