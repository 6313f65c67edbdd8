// The writing side of coding/decode/floats.h: which way to predict, and over which distance.
#include "coding/encode/floats.h"

#include <algorithm>
#include <bit>
#include <memory>

#include "coding/decode/floats.h"
#include "coding/encode/binary.h"

namespace pith::coding {
namespace {

constexpr size_t kTried = 1 << 15;  // values that decide how to predict

class FloatWriter {
 public:
  static constexpr bool decoding = false;
  uint32_t bit(BitModel& model, uint32_t one) { return out_.bit(model, one), one; }
  uint32_t raw(uint32_t value, int count) { return out_.raw_bits(value, count), value; }
  uint32_t number(IntegerModel& model, uint32_t value) { return encode_unsigned(out_, model, value), value; }
  bool failed() const { return false; }
  std::vector<uint8_t> finish() { return out_.finish(); }

 private:
  BinaryEncoder out_;
};

struct Way {
  uint32_t predictor = 0, lag = 1;
};

std::vector<uint8_t> encode_one(std::span<const float> values, int shift, Way way) {
  FloatWriter out;
  // the template reads and writes its values; this Coder only reads them
  std::make_unique<FloatCode>()->code(out, const_cast<float*>(values.data()), static_cast<int64_t>(values.size()), shift, way.predictor, way.lag);
  return out.finish();
}

int trailing_zeros(std::span<const float> values) {
  uint32_t any = 0;
  for (const float x : values) any |= std::bit_cast<uint32_t>(x);
  return any == 0 ? 30 : std::min(std::countr_zero(any), 30);
}

// 1, the last dimension, the last two ...: neighbours in each direction.
std::vector<uint32_t> lags(size_t count, std::span<const int32_t> dims) {
  std::vector<uint32_t> found = {1};
  uint64_t stride = 1;
  for (size_t i = dims.size(); i-- > 1;) {
    stride *= static_cast<uint64_t>(std::max(dims[i], 1));
    if (stride < count && stride != found.back()) found.push_back(static_cast<uint32_t>(stride));
  }
  return found;
}

}  // namespace

CodedFloats encode_floats(std::span<const float> values, std::span<const int32_t> dims) {
  CodedFloats coded;
  coded.shift = trailing_zeros(values);
  const auto tried = values.first(std::min(values.size(), kTried));
  Way best;
  size_t least = encode_one(tried, coded.shift, best).size();
  for (const uint32_t lag : lags(values.size(), dims)) {
    for (uint32_t predictor = 0; predictor < kFloatPredictors; ++predictor) {
      const size_t bytes = encode_one(tried, coded.shift, {predictor, lag}).size();
      if (bytes < least) least = bytes, best = {predictor, lag};
    }
  }
  coded.bytes = encode_one(values, coded.shift, best);
  return coded;
}

}  // namespace pith::coding
