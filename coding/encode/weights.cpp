// See weights.h and coding/decode/weights.h, whose every step this mirrors.
#include "coding/encode/weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "coding/decode/weights.h"
#include "coding/encode/binary.h"
#include "coding/encode/rans.h"
#include "coding/encode/scales.h"

namespace pith::coding {
namespace {

std::vector<uint8_t> join(std::vector<uint8_t> side, const std::vector<uint8_t>& body) {
  std::vector<uint8_t> out;
  append_varint(out, side.size());
  out.insert(out.end(), side.begin(), side.end());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

using Histogram = std::array<int64_t, 128>;  // of magnitudes

// Bits that a histogram costs under a table; magnitudes share their two signs' frequency.
double cost(const Histogram& h, const uint16_t* cumulative, int limit) {
  double bits = 0;
  for (int q = 0; q <= limit; ++q) {
    if (h[static_cast<size_t>(q)] == 0) continue;
    const int f = cumulative[limit + q + 1] - cumulative[limit + q];
    bits += static_cast<double>(h[static_cast<size_t>(q)]) * (kRansBits - std::log2(f));
  }
  return bits;
}

struct RansPlan {
  int family = 0;
  std::vector<int> widths;
  std::vector<uint8_t> choice;  // per row, an index into widths
  double bits = std::numeric_limits<double>::infinity();
};

// Up to four widths for a family: rows vote for their best width, the classes are split at equal shares of elements.
RansPlan plan_rans(const CodedRows& rows, const std::vector<Histogram>& histograms, int family, int limit) {
  std::vector<std::array<uint16_t, 257>> tables(kWidthClasses);
  for (int w = 0; w < kWidthClasses; ++w) build_rans_table(family, w, limit, tables[static_cast<size_t>(w)].data());
  std::vector<std::vector<double>> costs(histograms.size(), std::vector<double>(kWidthClasses));
  std::vector<int> best(histograms.size());
  std::array<int64_t, kWidthClasses> votes{};
  for (size_t r = 0; r < histograms.size(); ++r) {
    for (int w = 0; w < kWidthClasses; ++w) costs[r][static_cast<size_t>(w)] = cost(histograms[r], tables[static_cast<size_t>(w)].data(), limit);
    best[r] = static_cast<int>(std::min_element(costs[r].begin(), costs[r].end()) - costs[r].begin());
    ++votes[static_cast<size_t>(best[r])];
  }
  RansPlan plan;
  plan.family = family;
  for (int part = 0; part < kRansTables; ++part) {  // the middles of four equal shares of the rows
    const int64_t target = (2 * part + 1) * rows.rows / (2 * kRansTables);
    int64_t sum = 0;
    int w = 0;
    while (w < kWidthClasses - 1 && (sum += votes[static_cast<size_t>(w)]) <= target) ++w;
    if (plan.widths.empty() || plan.widths.back() != w) plan.widths.push_back(w);
  }
  plan.bits = 6.0 * static_cast<double>(plan.widths.size());
  for (size_t r = 0; r < histograms.size(); ++r) {
    uint8_t chosen = 0;
    for (size_t i = 1; i < plan.widths.size(); ++i) {
      if (costs[r][static_cast<size_t>(plan.widths[i])] < costs[r][static_cast<size_t>(plan.widths[chosen])]) chosen = static_cast<uint8_t>(i);
    }
    plan.choice.push_back(chosen);
    plan.bits += costs[r][static_cast<size_t>(plan.widths[chosen])] + 1;
  }
  return plan;
}

}  // namespace

std::vector<uint8_t> encode_raw(const CodedRows& rows) {
  BinaryEncoder side;
  ScaleWriter scales(rows.scale_codes, side, rows.own_scales);
  std::vector<uint8_t> body;
  uint32_t accumulator = 0;
  int filled = 0;
  for (int64_t r = 0; r < rows.rows; ++r) {
    scales.row(r, false);
    for (int64_t k = 0; k < rows.row_length; ++k) {
      const int32_t q = rows.integers[static_cast<size_t>(r * rows.row_length + k)];
      accumulator |= static_cast<uint32_t>(q + (1 << (rows.bits - 1))) << filled;
      filled += rows.bits;
      for (; filled >= 8; filled -= 8, accumulator >>= 8) body.push_back(static_cast<uint8_t>(accumulator));
    }
  }
  if (filled > 0) body.push_back(static_cast<uint8_t>(accumulator));
  return join(side.finish(), body);
}

std::vector<uint8_t> encode_rans(const CodedRows& rows) {
  std::vector<Histogram> histograms(static_cast<size_t>(rows.rows), Histogram{});
  int limit = 0;
  for (int64_t r = 0; r < rows.rows; ++r) {
    for (int64_t k = 0; k < rows.row_length; ++k) {
      const int m = std::abs(rows.integers[static_cast<size_t>(r * rows.row_length + k)]);
      ++histograms[static_cast<size_t>(r)][static_cast<size_t>(m)];
      limit = std::max(limit, m);
    }
  }
  RansPlan plan;
  for (int family = 0; family < 3; ++family) {
    RansPlan candidate = plan_rans(rows, histograms, family, limit);
    if (candidate.bits < plan.bits) plan = std::move(candidate);
  }
  if (plan.widths.empty()) plan.widths.push_back(0);  // no rows at all

  BinaryEncoder side;
  ScaleWriter scales(rows.scale_codes, side, rows.own_scales);
  side.raw_bits(static_cast<uint32_t>(plan.family), 2);
  side.raw_bits(static_cast<uint32_t>(limit), rows.bits - 1);
  side.raw_bits(static_cast<uint32_t>(plan.widths.size() - 1), 2);
  std::vector<std::array<uint16_t, 257>> tables(plan.widths.size());
  for (size_t i = 0; i < plan.widths.size(); ++i) {
    side.raw_bits(static_cast<uint32_t>(plan.widths[i]), 6);
    build_rans_table(plan.family, plan.widths[i], limit, tables[i].data());
  }
  BitModel choice[kRansTables];
  for (int64_t r = 0; r < rows.rows; ++r) {
    scales.row(r, false);
    const int chosen = plan.choice[static_cast<size_t>(r)];
    for (int i = 0; i < static_cast<int>(plan.widths.size()) - 1 && i <= chosen; ++i) side.bit(choice[i], i < chosen);
  }

  const std::vector<uint8_t> body = encode_states(rows.rows * rows.row_length, kRansBits, [&](int64_t i) {
    const uint16_t* cumulative = tables[plan.choice[static_cast<size_t>(i / rows.row_length)]].data() + rows.integers[static_cast<size_t>(i)] + limit;
    return RansSlots{cumulative[0], static_cast<uint32_t>(cumulative[1] - cumulative[0])};
  });
  return join(side.finish(), body);
}

std::vector<uint8_t> encode_adaptive(const CodedRows& rows) {
  BinaryEncoder out;
  ScaleWriter scales(rows.scale_codes, out, rows.own_scales);
  AdaptiveWeightModels models;
  uint32_t mean16 = 0;
  for (int64_t r = 0; r < rows.rows; ++r) {
    scales.row(r, false);
    const int32_t* row = rows.integers.data() + r * rows.row_length;
    const int32_t* previous = r > 0 ? row - rows.row_length : nullptr;
    uint32_t left = 0, left2 = 0;
    for (int64_t k = 0; k < rows.row_length; ++k) {
      const uint32_t above = previous ? static_cast<uint32_t>(std::abs(previous[k])) : 0;
      const int c = magnitude_class(left, left2, above, mean16);
      const uint32_t magnitude = static_cast<uint32_t>(std::abs(row[k]));
      out.bit(models.nonzero[c], magnitude > 0);
      if (magnitude > 0) {
        out.raw_bits(row[k] < 0, 1);
        const int len = std::bit_width(magnitude);
        for (int i = 1; i < rows.bits - 1 && i <= len; ++i) out.bit(models.longer[c][i - 1], i < len);
        int known = 0;
        uint32_t prefix = 1;
        for (int i = len - 2; i >= 0; --i, ++known) {
          const uint32_t b = (magnitude >> i) & 1;
          if (known < 3) {
            out.bit(models.mantissa[len - 1][prefix], b);
          } else {
            out.raw_bits(b, 1);
          }
          if (known < 2) prefix = prefix << 1 | b;
        }
      }
      left2 = left;
      left = magnitude;
      mean16 = static_cast<uint32_t>(static_cast<int32_t>(mean16) +
                                     ((static_cast<int32_t>(magnitude << 8) - static_cast<int32_t>(mean16) * 16 + 256) >> 9));
    }
  }
  return out.finish();
}

std::vector<uint8_t> encode_groups(const CodedRows& rows, int64_t group_rows) {
  const auto encode = [&](int codec, std::vector<uint8_t> (*code)(const CodedRows&)) {
    std::vector<uint8_t> out, table, streams;
    append_varint(out, static_cast<uint64_t>(group_rows));
    out.push_back(static_cast<uint8_t>(codec));
    for (int64_t first = 0; first < rows.rows; first += group_rows) {
      CodedRows group = rows;
      group.rows = std::min(group_rows, rows.rows - first);
      group.integers = rows.integers.subspan(static_cast<size_t>(first * rows.row_length), static_cast<size_t>(group.rows * rows.row_length));
      group.own_scales = rows.scale_codes.size() > 1;
      if (group.own_scales) group.scale_codes = rows.scale_codes.subspan(static_cast<size_t>(first), static_cast<size_t>(group.rows));
      const std::vector<uint8_t> stream = code(group);
      append_varint(table, stream.size());
      streams.insert(streams.end(), stream.begin(), stream.end());
    }
    append_varint(out, table.size());
    out.insert(out.end(), table.begin(), table.end());
    out.insert(out.end(), streams.begin(), streams.end());
    return out;
  };
  if (rows.trellis) return encode(kCodecClassesTrellis, encode_classes);
  std::vector<uint8_t> fast = encode(kCodecRans, encode_rans), small = encode(kCodecClasses, encode_classes);
  return small.size() + small.size() / 128 < fast.size() ? small : fast;
}

}  // namespace pith::coding
