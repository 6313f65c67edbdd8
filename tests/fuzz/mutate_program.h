// Structural mutation of compiled programs: what flips of entropy-coded bytes rarely reach (one odd parameter in an
// otherwise sound file, operands of another shape, regions that overlap, an operator in another's place).
#pragma once

#include "base/random.h"
#include "program/program.h"

namespace pith::fuzz {

// Every operator, compiled from small networks; the same on each call.
std::vector<Program> seed_programs();

// Changes one to three things. The result can be written (write_unchecked) but is rarely a sound program.
void mutate(Program& program, Random& random);

}  // namespace pith::fuzz
