#pragma once

#include "cli/cli.h"

namespace pith::cli {

void add_share(Context c);  // `pith share` (share.cpp)

}  // namespace pith::cli
