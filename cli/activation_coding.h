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
#include "ir/recode.h"

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
  std::string lifting;  // samples that show which channels go together
  bool wanted() const { return !bits.empty() || error > 0 || all || !lifting.empty() || !samples.empty(); }
};
void add_coding_flags(CLI::App* verb, CodingFlags& flags);

// Error kUsage where flags don't go together.
Result<void> check_coding(const CodingFlags& flags, const CompileOptions& placing);

// For a lowered (or placed) program with its preprocessing in the metadata. Errors as check_coding()'s.
// Where activations shall stay as they are, metadata "activations" should say "lossless".
Result<ActivationCoding> choose_coding(const CodingFlags& flags, const Program& program, const CompileOptions& placing);

// One choice for a network that changes: made on the first program that is shown, and carried over to later ones by the
// tensors' names.
class CodingChoice {
 public:
  CodingChoice(const CodingFlags& flags, const CompileOptions& placing) : flags_(flags), placing_(placing) {}
  Result<ActivationCoding> of(const Program& program);
  // How that waits which would be stored in coded form, lossy, if `program` (lowered) were placed now; by name.
  Result<std::map<std::string, ir::CodedRows>> coded(const Program& program);

 private:
  CodingFlags flags_;
  CompileOptions placing_;
  std::optional<ActivationCoding> first_;
  std::map<std::string, ir::CodedRows> rows_;  // first_'s bits_of and lifting_of
};

// Values and bytes of what was coded.
nlohmann::json coding_json(const MemoryReport& memory);

}  // namespace pith::cli
