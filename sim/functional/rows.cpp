// Rows of activations into coded form and back.
#include "coding/decode/activation_rows.h"
#include "sim/functional/operand.h"

namespace pith::sim {

std::optional<std::string> execute_EncodeRows(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  std::vector<coding::RowChannel> state(static_cast<size_t>(x.dims[3]));
  std::vector<uint8_t> decoded(state.size());
  for (int64_t i = 0; i < x.dims[1]; ++i)
    coding::encode_activation_row(x.u8() + i * x.count(2, 4), x.affine.zero_point, x.dims[2], x.dims[3], state.data(), decoded.data(), y.u8() + i * y.dims[3], y.dims[3]);
  return {};
}

std::optional<std::string> execute_DecodeRows(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  std::vector<coding::RowChannel> state(static_cast<size_t>(y.dims[3]));
  for (int64_t i = 0; i < y.dims[1]; ++i)
    coding::decode_activation_row(x.u8() + i * x.dims[3], x.dims[3], y.affine.zero_point, y.dims[2], y.dims[3], state.data(), y.u8() + i * y.count(2, 4));
  return {};
}

namespace {

// What a lifting needs beside its rows.
struct Lifted {
  Lifted(const Operand& plain, const Operand& lifting)
      : state(static_cast<size_t>(plain.dims[3])), lifted(state.size()), decoded(state.size()), rows{{lifting.u8(), plain.dims[3]}, plain.affine.zero_point, plain.dims[2], state.data(), lifted.data()} {}
  std::vector<coding::RowChannel> state;
  std::vector<coding::LiftedChannel> lifted;
  std::vector<uint8_t> decoded;
  coding::LiftedRows rows;
};

}  // namespace

std::optional<std::string> execute_EncodeLiftedRows(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  Lifted l(x, c.in[1]);
  for (int64_t i = 0; i < x.dims[1]; ++i) l.rows.encode(x.u8() + i * x.count(2, 4), l.decoded.data(), y.u8() + i * y.dims[3], y.dims[3]);
  return {};
}

std::optional<std::string> execute_DecodeLiftedRows(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  Lifted l(y, c.in[1]);
  for (int64_t i = 0; i < y.dims[1]; ++i) l.rows.decode(x.u8() + i * x.dims[3], x.dims[3], y.u8() + i * y.count(2, 4));
  return {};
}

}  // namespace pith::sim
