// The files of chip/devices as text, put together by the build.
#pragma once

#include <vector>

namespace pith::chip {

struct BuiltIn {
  const char *name, *text;
};
extern const std::vector<BuiltIn> kBuiltIn;

}  // namespace pith::chip
