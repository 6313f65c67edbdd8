// Whole-file reading and atomic writing.
//
// Why: outputs are written beside their final place and renamed into it, so that a full disk or Ctrl-C loses nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pith {

// Reads a whole file. Error kUsage names the path and the system's reason.
Result<std::vector<uint8_t>> read_file(const std::string& path);
Result<std::string> read_text_file(const std::string& path);

// Writes `path`.partial, flushes it to disk and renames it to `path`; on failure the old file is untouched.
Result<void> write_file(const std::string& path, std::span<const uint8_t> bytes);
Result<void> write_file(const std::string& path, std::string_view text);

}  // namespace pith
