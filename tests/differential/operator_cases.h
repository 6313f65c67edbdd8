// Small networks that together compile to every machine operator of program/opcodes.inc: for the differential test, and
// as first inputs of the fuzzers. Shapes and values are drawn, so that each call explores others.
#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "ir/graph.h"

namespace pith::testing {

struct OperatorCase {
  std::string name;
  ir::Graph graph;                             // float
  std::vector<std::vector<ir::Tensor>> samples;  // for calibration; the first is the one to compare on
};

std::vector<OperatorCase> operator_cases(Random& random);

}  // namespace pith::testing
