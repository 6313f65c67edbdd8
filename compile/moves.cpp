// See moves.h.
#include "compile/moves.h"

#include <algorithm>
#include <utility>

namespace pith {
std::string result_name(const Program& p, const ProgramOp& op) {
  for (int32_t id : op.outputs)
    if (id != kNone) return p.tensors[static_cast<size_t>(id)].name;
  return {};
}

int64_t macs_of(const Program& p) {
  int64_t macs = 0;
  for (const ProgramOp& op : p.ops) macs += op_macs(p, op);
  return macs;
}

std::vector<int64_t> occupied_bytes(const Program& p) {
  std::vector<std::vector<std::pair<int64_t, int64_t>>> spans(p.ops.size());
  for (const StorageInterval& s : storage_intervals(p)) {
    for (int64_t step = s.first; step <= s.last && step < static_cast<int64_t>(spans.size()); ++step)
      spans[static_cast<size_t>(step)].push_back({s.offset, s.offset + s.bytes});
  }
  std::vector<int64_t> bytes;
  for (auto& span : spans) {
    std::sort(span.begin(), span.end());
    int64_t total = 0, end = 0;
    for (const auto& [from, to] : span) {
      total += std::max<int64_t>(0, to - std::max(from, end));
      end = std::max(end, to);
    }
    bytes.push_back(total);
  }
  return bytes;
}

std::vector<MemoryMove> describe_moves(const Program& source, const Program& streamed,
                                       const std::vector<StreamGroup>& groups, const std::vector<size_t>& origin) {
  const std::vector<int64_t> before = occupied_bytes(source), after = occupied_bytes(streamed);
  std::vector<MemoryMove> moves;
  for (const StreamGroup& g : groups) {
    MemoryMove m;
    m.first = result_name(source, source.ops[g.first]);
    m.last = result_name(source, source.ops[g.last - 1]);
    m.bands = g.bands;
    m.layers = static_cast<int64_t>(g.last - g.first);
    for (size_t i = g.first; i < g.last; ++i) {
      m.bytes_before = std::max(m.bytes_before, before[i]);
      m.macs -= op_macs(source, source.ops[i]);
    }
    for (size_t i = 0; i < origin.size(); ++i) {
      if (origin[i] < g.first || origin[i] >= g.last) continue;
      m.bytes_after = std::max(m.bytes_after, after[i]);
      m.macs += op_macs(streamed, streamed.ops[i]);
      ++m.operators;
    }
    m.operators -= m.layers;
    constexpr const char* kNames[] = {"", "points", "wide rows", "all rows"};
    m.borders = kNames[static_cast<int>(g.borders)];
    moves.push_back(std::move(m));
  }
  return moves;
}

}  // namespace pith
