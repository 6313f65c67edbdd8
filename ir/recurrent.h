// The activation functions of recurrent layers.
#pragma once

#include "ir/graph.h"

namespace pith::ir {

struct RecurrentFunction {
  enum Kind {
    kSigmoid,
    kTanh,
    kRelu,
    kAffine,
    kLeakyRelu,
    kThresholdedRelu,
    kScaledTanh,
    kHardSigmoid,
    kElu,
    kSoftsign,
    kSoftplus
  };
  Kind kind = kTanh;
  double alpha = 0, beta = 0;
  float operator()(float x) const;
};

// The functions of an LSTM (3 per direction: f, g, h), GRU (2) or RNN (1), directions one after the other.
Result<std::vector<RecurrentFunction>> recurrent_functions(const Node& node, int64_t directions);

}  // namespace pith::ir
