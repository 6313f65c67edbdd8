// Activations that wait in coded form: a tensor is coded when it is made and decoded where it is read again.
//
// Why: skip connections, the inputs of late concatenations and what passes between groups of layers take most of the arena
// at its peak, and nobody looks at them meanwhile. EncodeRows stores each row of a picture in a number of bytes that is
// fixed beforehand, so the plan stays a promise. Both operators run by rows, so within bands neither side is ever whole.
//
// The codec loses little at 4 bits a value and next to nothing at 6 (numerics/row_model.h). Who may be lossy, and
// how much, is the caller's choice; this pass only knows bytes.
#pragma once

#include <vector>

#include "compile/compile.h"

namespace pith {

// May the tensor wait in coded form? 8-bit pictures that operators make and others read, with no other name for their memory.
std::vector<int32_t> codable_tensors(const Program& program);

// Bytes of a row at so many bits a value: a multiple of PITH_ARENA_ALIGNMENT, never more than the row itself.
int32_t coded_row_bytes(const ProgramTensor& tensor, double bits_per_value);

// How a tensor is to be coded; no bytes where it stays as it is.
CodedTensor wanted_form(const Program& program, int32_t tensor, const ActivationCoding& coding);

// The program with these tensors (codable, each once) coded behind their last writer; all readers read what was decoded, but
// with `direct` convolutions that are linear pixel by pixel take the coded rows themselves (CodedConv2d: the same bits), which
// rows with a lifting have no form for.
Program code_rows(const Program& program, const std::vector<CodedTensor>& tensors, bool direct = false);
// What a tensor's channels look at, as a constant of EncodeLiftedRows and DecodeLiftedRows.
int32_t lifting_constant(Program& program, int32_t tensor, const std::vector<uint8_t>& lifting);
// All codable tensors that don't stay as they are.
std::vector<CodedTensor> all_coded(const Program& program, const ActivationCoding& coding);
// What was coded, for reports.
std::vector<CodedActivation> describe_coded(const Program& program, const std::vector<CodedTensor>& tensors);

// As place() does under options.ram or options.least, with tensors coded that are whole at the peak, at options.coding's
// rates, as long as that helps.
Result<void> fit_coded(Program& program, const CompileOptions& options, MemoryReport* report);

}  // namespace pith
