// The writing side of coding/decode/mixed.h and classes.h: the same templates with a Coder that writes, or that only counts.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "coding/decode/classes.h"
#include "coding/encode/binary.h"
#include "coding/encode/scales.h"
#include "coding/encode/weights.h"

namespace pith::coding {
namespace {

uint32_t largest_magnitude(const CodedRows& rows) {
  int32_t largest = 0;
  for (int32_t q : rows.integers) largest = std::max(largest, std::abs(q));
  return static_cast<uint32_t>(largest);
}

// Calls head(r, empty) before each row and codes those that hold anything.
template <typename Model, typename Coder, typename Head>
void code_rows(const CodedRows& rows, Model& model, Coder& coder, Head head) {
  std::vector<int8_t> row(static_cast<size_t>(rows.row_length), 0), intended(row.size());
  for (int64_t r = 0; r < rows.rows; ++r) {
    const auto source = rows.integers.subspan(static_cast<size_t>(r * rows.row_length), row.size());
    const bool empty = std::all_of(source.begin(), source.end(), [](int32_t q) { return q == 0; });
    head(r, empty);
    std::transform(source.begin(), source.end(), intended.begin(), [](int32_t q) { return static_cast<int8_t>(q); });
    if (empty) {
      row = intended;
    } else {
      model.code_row(coder, row.data(), rows.row_length, intended.data());
    }
  }
}

}  // namespace

const double* const BitMeter::lengths_ = [] {
  static std::array<double, 65537> t{};
  for (size_t i = 1; i < t.size(); ++i) t[i] = 16 - std::log2(static_cast<double>(i));
  t[0] = 17;
  return t.data();
}();

RowShape row_shape(std::span<const int32_t> dims) {
  RowShape shape;
  if (dims.size() >= 2) shape.inner = dims[dims.size() - 1];
  if (dims.size() >= 3) shape.width = dims[dims.size() - 2];
  return shape;
}

std::vector<int32_t> trellis_rows(std::span<const int32_t> integers, int64_t row_length) {
  std::vector<int32_t> indices(integers.size());
  Trellis path;
  for (size_t i = 0; i < integers.size(); ++i) {
    if (static_cast<int64_t>(i) % row_length == 0) path = Trellis();
    indices[i] = trellis_index(integers[i]);
    if (trellis_value(indices[i], path.grid()) != integers[i]) return {};
    path.follow(indices[i]);
  }
  return indices;
}

void trellis_multiples(std::span<int32_t> indices, int64_t row_length) {
  Trellis path;
  for (size_t i = 0; i < indices.size(); ++i) {
    if (static_cast<int64_t>(i) % row_length == 0) path = Trellis();
    const int32_t index = indices[i];
    indices[i] = trellis_value(index, path.grid());
    path.follow(index);
  }
}

std::vector<uint8_t> encode_mixed(const CodedRows& rows) {
  BinaryEncoder out;
  ScaleWriter scales(rows.scale_codes, out, rows.own_scales);
  const uint32_t largest = largest_magnitude(rows);
  out.raw_bits(largest, rows.bits - 1);
  BitModel empty_model;
  auto model = std::make_unique<MixedRows>();
  model->begin(largest, rows.shape, rows.trellis);
  code_rows(rows, *model, out, [&](int64_t r, bool empty) {
    if (largest > 0) out.bit(empty_model, empty);
    scales.row(r, empty);
  });
  return out.finish();
}

std::vector<uint8_t> encode_classes(const CodedRows& rows) {
  const uint32_t largest = largest_magnitude(rows);
  const auto encode = [&](bool raw_signs) {
    BinaryEncoder out;
    ScaleWriter scales(rows.scale_codes, out, rows.own_scales);
    out.raw_bits(largest, rows.bits - 1);
    out.raw_bits(raw_signs, 1);
    BitModel empty_model;
    auto model = std::make_unique<ClassRows>();
    model->begin(largest, raw_signs, rows.shape, rows.trellis);
    code_rows(rows, *model, out, [&](int64_t r, bool empty) {
      if (largest > 0) out.bit(empty_model, empty);
      scales.row(r, empty);
    });
    return out.finish();
  };
  std::vector<uint8_t> raw = encode(true), modelled = encode(false);
  return raw.size() <= modelled.size() + modelled.size() / 256 ? raw : modelled;
}

double estimate_bits(const CodedRows& rows) {
  BitMeter meter;
  const uint32_t largest = largest_magnitude(rows);
  BinaryEncoder heads;  // scales and flags, few enough to be written
  ScaleWriter scales(rows.scale_codes, heads, rows.own_scales);
  BitModel empty_model;
  auto model = std::make_unique<MixedRows>();
  model->begin(largest, rows.shape, rows.trellis);
  code_rows(rows, *model, meter, [&](int64_t r, bool empty) {
    if (largest > 0) heads.bit(empty_model, empty);
    scales.row(r, empty);
  });
  return meter.bits() + 8 * static_cast<double>(heads.finish().size());
}

}  // namespace pith::coding
