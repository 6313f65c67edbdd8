// Structural mutation of ONNX models: what byte flips rarely reach (another operator, an attribute of another type, an
// operand from elsewhere, a dimension that doesn't fit).
#pragma once

#include "base/random.h"
#include "importers/onnx/source.h"

namespace pith::fuzz {

// Changes one to four things about the model. The result is well-formed protobuf but rarely a sensible model.
void mutate(importers::SourceModel& model, Random& random);

}  // namespace pith::fuzz
