// How many bits a value each activation gets while it waits in coded form: the flags, and rates by measured sensitivity.
//
// Why: networks bear coarse values in some tensors and not in others. Method: one tensor at a time goes through the codec
// at each of some rates, and the outputs' relative squared error on a few samples tells what that costs; the allocator
// (base/allocate.h) then spends the bits where they count. Errors of several tensors are taken to add up.
//
// `lossless`: each tensor gets the bytes that the fullest of its rows takes with step 1 on the samples, and a sixteenth
// more. A row with more in it is stored coarser, in the same bytes, and counted (pith_stored_rows): a bound that is known
// beforehand can't be lossless for every input, since 8-bit values without a pattern take 8 bits.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "compile/compile.h"

namespace CLI {
class App;
}

namespace pith::cli {

struct CodingFlags {
  std::string bits;  // a number, or "lossless"
  double error = 0;
  bool all = false;
  std::string samples;
  size_t count = 8;
};
void add_coding_flags(CLI::App* verb, CodingFlags& flags);

// For a lowered (or placed) program with its preprocessing in the metadata. Error kUsage where flags don't go together.
// Where activations shall stay as they are, metadata "activations" should say "lossless".
Result<ActivationCoding> choose_coding(const CodingFlags& flags, const Program& program, const CompileOptions& placing);

// Values and bytes of what was coded.
nlohmann::json coding_json(const MemoryReport& memory);

}  // namespace pith::cli
