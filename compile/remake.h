// Tensors that are made again just before a late use, instead of waiting for it.
//
// Why: a tensor that waits long takes its bytes from everything that runs meanwhile. Where it follows from tensors that
// are alive at its late use anyhow (or from a smaller one, which then waits in its place), the operators that make it can
// run once more: fewer bytes, more multiplications, the same bits. This is rematerialisation (Chen et al., "Training deep
// nets with sublinear memory cost", 2016) in an inference compiler; bands of rows then run over the result (stream.h).
#pragma once

#include <vector>

#include "compile/compile.h"

namespace pith {

// `tensor` from operator `before` on is another one, made there by `ops` once more.
struct Remade {
  int32_t tensor = kNone;
  size_t before = 0;        // the late use
  std::vector<size_t> ops;  // ascending
  int64_t bytes = 0;        // that need not wait, those deducted that wait instead
  int64_t macs = 0;
};

// Everything that saves bytes for at most `most_macs`: of each gap between uses the ways that end at tensors that are
// alive anyhow, or at one that is smaller.
std::vector<Remade> remakable(const Program& program, int64_t most_macs);

// The program with that tensor made again; tensors keep their numbers, new ones come after them.
Program make_again(const Program& program, const Remade& remade);

// As place() does under options.ram or options.least, with what options.macs_overhead allows: tensors that are made again
// where that lets the program run in less, and borders of bands (stream.h).
Result<void> fit_remade(Program& program, const CompileOptions& options, MemoryReport* report);

}  // namespace pith
