// See post_place.h.
#include "compile/post_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace pith {
namespace {

constexpr int64_t kBoxBytes = 28, kMostBoxes = 1000, kRankedBytes = 8, kBestClasses = 5, kSymbolBytes = 16;

std::string text_of(const Program& p, const std::string& key) {
  const auto at = p.metadata.find(key);
  return at == p.metadata.end() ? std::string() : at->second;
}

// Elements of an output as the caller sees it, rows that never lie anywhere together included.
int64_t port_elements(const Program& p, size_t index, const RowPorts& rows) {
  std::vector<int32_t> dims = p.tensors[static_cast<size_t>(p.outputs[index].tensor)].dims;
  if (rows.outputs[index] > 0) dims[1] = rows.outputs[index];
  int64_t n = 1;
  for (int32_t d : dims) n *= d;
  return n;
}

}  // namespace

int64_t post_bytes(const Program& p) {
  const std::string head = text_of(p, "head");
  if (p.outputs.empty() || head.empty()) return 0;
  const RowPorts rows = row_ports(p);
  const int64_t first = port_elements(p, 0, rows);
  if (head == "classifier") return 4 * first + kRankedBytes * std::min(first, kBestClasses);
  const std::vector<int32_t>& dims = p.tensors[static_cast<size_t>(p.outputs[0].tensor)].dims;
  if (head == "ctc") return kSymbolBytes * (first / std::max(1, dims.empty() ? 1 : dims.back()));
  if (head != "ssd" && !head.starts_with("yolo")) return 0;
  int64_t numbers = 0;  // a box takes five of them at least
  for (size_t i = 0; i < p.outputs.size(); ++i) numbers += port_elements(p, i, rows);
  return kBoxBytes * std::clamp<int64_t>(numbers / 5, 1, kMostBoxes);
}

std::optional<StorageInterval> post_interval(const Program& p) {
  const int64_t bytes = post_bytes(p), steps = static_cast<int64_t>(p.ops.size());
  if (bytes == 0) return std::nullopt;
  const auto first = std::find_if(p.ops.begin(), p.ops.end(), [](const ProgramOp& op) { return op.opcode == PITH_OPCODE_RowsOut; });
  return StorageInterval{fmt::format("post-processing ({})", text_of(p, "head")), "post", first - p.ops.begin(), steps, bytes, std::strtoll(text_of(p, "post").c_str(), nullptr, 10), kNone, -1};
}

void set_post_place(Program& p, int64_t offset) {
  const int64_t bytes = post_bytes(p);
  p.metadata.erase("post");
  if (bytes > 0) p.metadata["post"] = fmt::format("{} {}", offset, bytes);
}

}  // namespace pith
