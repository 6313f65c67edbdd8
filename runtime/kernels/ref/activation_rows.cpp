// Rows of activations in coded form, a value at a time: coding/decode/activation_rows.h is the definition.
#include "coding/decode/activation_rows.h"

#include "runtime/kernels/ref/ref.h"

namespace pith::runtime {

void encode_row_u8_ref(const EncodeRowU8& r) {
  coding::RowChannel* state = reinterpret_cast<coding::RowChannel*>(r.state);
  uint8_t* decoded = r.state + int64_t{r.channels} * int64_t{sizeof(coding::RowChannel)};
  coding::encode_activation_row(r.values, r.zero_point, r.width, r.channels, state, decoded, r.row, r.bytes);
}

void decode_row_u8_ref(const DecodeRowU8& r) {
  coding::decode_activation_row(r.row, r.bytes, r.zero_point, r.width, r.channels,
                                reinterpret_cast<coding::RowChannel*>(r.state), r.values);
}

void decode_pixels_u8_ref(const DecodePixelsU8& p) {
  coding::decode_activation_pixels(*p.row, p.zero_point, p.count, p.channels,
                                   reinterpret_cast<coding::RowChannel*>(p.state), p.values);
}

}  // namespace pith::runtime
