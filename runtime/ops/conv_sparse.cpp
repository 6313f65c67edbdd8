// Finding blocks of zeros, in rows as decoded and in blocks as packed.
#include "runtime/ops/conv_sparse.h"

#include <string.h>

#include "runtime/ops/weights.h"

namespace pith::runtime {
namespace {

constexpr int32_t kMostRow = 16384;      // weights of an output channel that are looked through, on the stack
constexpr int32_t kMostPositions = 4096;  // blocks of 16 input channels in them
constexpr int64_t kFewPositions = 16;    // blocks that tell nothing of the others

bool all_zero(const void* memory, int64_t bytes) {
  const uint8_t* p = static_cast<const uint8_t*>(memory);
  uint64_t any = 0, eight;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    memcpy(&eight, p, 8);
    any |= eight;
  }
  for (; bytes > 0; --bytes) any |= *p++;
  return any == 0;
}

int64_t value_bytes(const ConvPlan& plan) { return plan.is_float ? 4 : 1; }
int32_t positions_of(const ConvPlan& plan) { return plan.taps * ((plan.run + kSpanStep - 1) / kSpanStep); }

// The spans of a block, is_zero(tap, first, last) telling of each 16 input channels. body(span) for each.
template <typename IsZero, typename Body>
void each_span(const ConvPlan& plan, const IsZero& is_zero, const Body& body) {
  for (int32_t tap = 0; tap < plan.taps; ++tap) {
    Span span{tap, 0, 0};
    for (int32_t k = 0; k < plan.tap_values; k += kSpanStep) {
      const int32_t last = k + kSpanStep < plan.tap_values ? k + kSpanStep : plan.tap_values;
      if (is_zero(tap, k, last)) continue;
      if (span.end != k && span.end > 0) body(span);
      if (span.end != k) span.begin = k;
      span.end = last;
    }
    if (span.end > 0) body(span);
  }
}

struct Count {
  int64_t positions = 0, zeros = 0;
  // Zeros take a quarter or more: products without them take less time (tests/quality/block_sparse.csv).
  bool pays() const { return zeros * 4 >= positions; }
};

// The spans of a block whose flags tell which positions have weights.
template <typename Body>
void each_span(const ConvPlan& plan, const uint8_t* flags, Count& count, const Body& body) {
  const int32_t steps = (plan.run + kSpanStep - 1) / kSpanStep;
  const auto is_zero = [&](int32_t tap, int32_t first, int32_t) {
    const bool zero = flags[tap * steps + first / kSpanStep] == 0;
    ++count.positions, count.zeros += zero;
    return zero;
  };
  each_span(plan, is_zero, body);
}

// Flags the positions where a row has weights; returns how many have none yet.
int32_t flag_row(const ConvPlan& plan, const int8_t* row, uint8_t* flags) {
  int32_t zeros = 0;
  for (int32_t tap = 0; tap < plan.taps; ++tap) {
    for (int32_t k = 0; k < plan.run; k += kSpanStep, ++flags) {
      const int32_t step = plan.run - k < kSpanStep ? plan.run - k : kSpanStep;
      if (*flags == 0 && !all_zero(row, step)) *flags = 1;
      zeros += *flags == 0;
      row += step;
    }
  }
  return zeros;
}

// Looks through all rows, or as many as it takes to know that next to nothing is zero.
Kept count_blocks(const ConvPlan& plan) {
  Kept kept;
  kept.known = true;
  const int32_t length = plan.taps * plan.run, positions = positions_of(plan);
  if (plan.transposed || plan.merged || plan.source->dtype != PITH_I8 || length > kMostRow || positions > kMostPositions) return kept;
  Count count;
  int8_t row[kMostRow];
  uint8_t flags[kMostPositions];
  memset(row, 0, static_cast<size_t>(length));
  WeightRows rows(*plan.source);
  for (int32_t first = 0; first < plan.out_c;) {
    const int32_t left = plan.group_out - first % plan.group_out, n = left < kLanes ? left : kLanes;
    const int64_t seen = count.positions + positions;
    memset(flags, 0, static_cast<size_t>(positions));
    for (int32_t r = 0; r < n; ++r) {
      rows.next(row, length);
      const int64_t most_zeros = count.zeros + flag_row(plan, row, flags);
      if (most_zeros * 16 < seen && (seen >= kFewPositions || first + n == plan.out_c)) return kept;
    }
    each_span(plan, flags, count, [&](const Span& s) { ++kept.spans, kept.values += int64_t{s.end - s.begin} * kLanes; });
    first += n;
  }
  kept.blocks = count.positions - count.zeros;
  kept.pays = count.pays();
  return kept;
}

// Spans of a packed block; how many, or -1 where there is no room.
int32_t find_spans(const ConvPlan& plan, const void* block, Span* spans, int32_t room, Count& count) {
  const uint8_t* bytes = static_cast<const uint8_t*>(block);
  const int64_t lane_bytes = kLanes * value_bytes(plan);
  int32_t found = 0;
  const auto is_zero = [&](int32_t tap, int32_t first, int32_t last) {
    const bool zero = all_zero(bytes + (int64_t{tap} * plan.tap_values + first) * lane_bytes, (last - first) * lane_bytes);
    ++count.positions, count.zeros += zero;
    return zero;
  };
  each_span(plan, is_zero, [&](const Span& s) {
    if (found < room) spans[found] = s;
    ++found;
  });
  return found <= room ? found : -1;
}

// What isn't zero of a packed block, one span after the other, to `to`, which may be the block itself. Returns its end.
uint8_t* move_spans(const ConvPlan& plan, const SparseBlock& b, const void* block, uint8_t* to) {
  const int64_t lane_bytes = kLanes * value_bytes(plan);
  for (const Span* s = b.spans; s != b.spans + b.span_count; ++s) {
    const int64_t bytes = (s->end - s->begin) * lane_bytes;
    memmove(to, static_cast<const uint8_t*>(block) + (int64_t{s->tap} * plan.tap_values + s->begin) * lane_bytes, static_cast<size_t>(bytes));
    to += bytes;
  }
  return to;
}

}  // namespace

bool pack_sparse(Builder& builder, Kept& kept, ConvPlan& plan) {
  if (!kept.known) kept = count_blocks(plan);
  if (!kept.pays) return false;
  Memory& memory = builder.memory;
  const int64_t block_count = int64_t{plan.groups} * plan.group_blocks();
  const int64_t set_bytes = static_cast<int64_t>(plan.is_float ? sizeof(ChannelsF32) : sizeof(Channels));
  SparseBlock* blocks = memory.take<SparseBlock>(block_count);
  Span* spans = memory.take<Span>(kept.spans);
  uint8_t* weights = memory.take<uint8_t>(kept.values * value_bytes(plan) + PITH_OVERREAD, 64);
  uint8_t* channels = memory.take<uint8_t>(block_count * set_bytes, 64);
  const size_t mark = memory.mark();
  uint8_t* block = memory.take<uint8_t>(plan.block_values() * value_bytes(plan), 64);
  int8_t* row = memory.take<int8_t>(int64_t{plan.taps} * plan.run);
  memory.release(mark);
  plan.sparse = blocks;
  plan.channels = channels;
  if (blocks == nullptr || spans == nullptr || weights == nullptr || channels == nullptr || block == nullptr || row == nullptr) return true;
  WeightRows rows(*plan.source);
  Count count;
  plan.narrow = true;
  memset(row, 0, static_cast<size_t>(plan.taps * plan.run));
  for (int32_t i = 0; i < block_count; ++i) {
    const int32_t in_group = i % plan.group_blocks() * kLanes, left = plan.group_out - in_group;
    ConvTile tile{i / plan.group_blocks() * plan.group_out + in_group, left < kLanes ? left : kLanes, block, channels + i * set_bytes, row, true};
    pack_tile(plan, rows, tile);
    plan.narrow = plan.narrow && tile.narrow;
    blocks[i] = {spans, find_spans(plan, block, spans, INT32_MAX, count), weights};
    weights = move_spans(plan, blocks[i], block, weights);
    spans += blocks[i].span_count;
  }
  return true;
}

bool pack_sparse_rows(Builder& builder, Kept& kept, ConvPlan& plan) {
  if (!kept.known) kept = count_blocks(plan);
  if (!kept.pays) return false;
  Memory& memory = builder.memory;
  const int32_t length = plan.in_c;
  SparseBlock* blocks = memory.take<SparseBlock>(plan.group_blocks());
  Span* spans = memory.take<Span>(kept.spans);
  float* scales = memory.take<float>(plan.out_c);
  int8_t* weights = memory.take<int8_t>(kept.blocks * kLanes * kSpanStep + PITH_OVERREAD, 64);
  const size_t mark = memory.mark();
  int8_t* rows = memory.take<int8_t>(int64_t{kLanes + 1} * length);  // of a block, and the one before
  memory.release(mark);
  plan.sparse = blocks;
  plan.row_scales = scales;
  if (blocks == nullptr || spans == nullptr || scales == nullptr || weights == nullptr || rows == nullptr) return true;
  WeightRows source(*plan.source);
  Count count;
  memset(rows, 0, static_cast<size_t>(length));
  for (int32_t first = 0; first < plan.out_c; first += kLanes) {
    const int32_t n = plan.out_c - first < kLanes ? plan.out_c - first : kLanes;
    uint8_t flags[kMostPositions] = {};
    for (int32_t r = 1; r <= n; ++r) {
      int8_t* row = rows + int64_t{r} * length;
      memcpy(row, row - length, static_cast<size_t>(length));
      scales[first + r - 1] = static_cast<float>(numerics::scale_value(source.next(row, length)));
      flag_row(plan, row, flags);
    }
    SparseBlock& b = blocks[first / kLanes];
    b = {spans, 0, weights};
    each_span(plan, flags, count, [&](const Span& s) {
      *spans++ = s, ++b.span_count;
      for (int32_t k = s.begin; k < s.end; k += kSpanStep, weights += kLanes * kSpanStep) {
        const int32_t width = s.end - k < kSpanStep ? s.end - k : kSpanStep;
        memset(weights, 0, kLanes * kSpanStep);
        for (int32_t r = 0; r < n; ++r) memcpy(weights + r * kSpanStep, rows + int64_t{r + 1} * length + k, static_cast<size_t>(width));
      }
    });
    memcpy(rows, rows + int64_t{n} * length, static_cast<size_t>(length));
  }
  return true;
}

bool close_gaps(const ConvPlan& plan, const ConvTile& tile, SparseTile& sparse) {
  if (plan.transposed || plan.merged) return false;
  const int32_t blocks = (tile.row_count + kLanes - 1) / kLanes;
  uint8_t* weights = static_cast<uint8_t*>(tile.weights);
  const int64_t block_bytes = plan.block_values() * value_bytes(plan);
  Count count;
  int32_t used = 0;
  for (int32_t b = 0; b < blocks; ++b) {
    const int32_t found = find_spans(plan, weights + b * block_bytes, sparse.spans + used, kMostTileSpans - used, count);
    if (found < 0) return false;
    sparse.blocks[b] = {sparse.spans + used, found, weights + b * block_bytes};
    used += found;
  }
  if (!count.pays()) return false;
  for (int32_t b = 0; b < blocks; ++b) move_spans(plan, sparse.blocks[b], weights + b * block_bytes, weights + b * block_bytes);
  return true;
}

}  // namespace pith::runtime
