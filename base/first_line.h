// What a library threw, in one line.
//
// Why: an error of pith's is one line (result.h); libtorch's messages go on with a stack.
#pragma once

#include <string>

namespace pith {

inline std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace pith
