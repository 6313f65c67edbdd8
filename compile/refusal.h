// What is said when a network can't run in the bytes that it may take.
//
// Why: whoever set a limit wants to know by how much it was missed, where, and what to change. Named are the bytes of
// the best placement that was found, the layer during which most of them are in use, what is in use there, and the
// flags that weren't given yet.
#pragma once

#include "compile/compile.h"

namespace pith {

// Error kDoesNotFit. `source`: the program as it was given; `placed`: what became of it in the fewest bytes, more than
// options.ram.
Error refuse_ram(const Program& source, const Program& placed, const CompileOptions& options);

}  // namespace pith
