// A sample of a folder, archive or array as a program's input: what programs that look at real values run on.
#pragma once

#include <string>
#include <vector>

#include "data/preprocess.h"
#include "data/samples.h"
#include "program/program.h"

namespace pith {

// Prepared as the program's metadata says.
inline Result<std::vector<float>> input_at(const Program& program, const SampleSet& samples, size_t index) {
  const auto recipe = program.metadata.find("preprocess");
  PITH_TRY(const Preprocess preprocess, parse_preprocess(recipe == program.metadata.end() ? "tensor" : recipe->second));
  PITH_TRY(const Sample sample, samples.read(index));
  PITH_TRY(const PreparedSample prepared, prepare(preprocess, sample));
  return to_floats(prepared.inputs[0].array);
}

inline Result<std::vector<float>> first_input(const Program& program, const std::string& samples_path) {
  PITH_TRY(const SampleSet samples, SampleSet::open(samples_path));
  return input_at(program, samples, 0);
}

}  // namespace pith
