// See refusal.h.
#include "compile/refusal.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "compile/code_rows.h"
#include "compile/moves.h"

namespace pith {
namespace {

// The layer that made this, or that it was made from (".coded", ".again"), with its number in the program as it was
// given.
std::string layer(const Program& source, const std::string& name) {
  for (const std::string& made : {name, name.substr(0, name.rfind('.'))}) {
    for (size_t i = 0; i < source.ops.size(); ++i)
      if (result_name(source, source.ops[i]) == made) return fmt::format("layer {} '{}'", i, made);
  }
  return fmt::format("layer '{}'", name);
}

// The most of what is in use at a step, by name.
std::string largest(const Program& placed, int64_t step) {
  constexpr size_t kNamed = 3;
  std::map<std::string, int64_t> bytes;
  for (const StorageInterval& s : storage_intervals(placed))
    if (s.first <= step && step <= s.last)
      bytes[s.kind == "scratch" ? "scratch" : fmt::format("{} '{}'", s.kind, s.name)] += s.bytes;
  std::vector<std::pair<std::string, int64_t>> all(bytes.begin(), bytes.end());
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (size_t i = 0; i < std::min(kNamed, all.size()); ++i)
    text += fmt::format("{}{} {}", i > 0 ? ", " : "", all[i].first, all[i].second);
  return text;
}

bool hands_out_floats(const Program& placed, int64_t step) {
  const std::vector<StorageInterval> alive = storage_intervals(placed);
  return std::any_of(alive.begin(), alive.end(), [&](const StorageInterval& s) {
    return s.kind == "output" && s.first <= step && step <= s.last &&
           placed.tensors[static_cast<size_t>(s.tensor)].dtype == PITH_F32;
  });
}

}  // namespace

Error refuse_ram(const Program& source, const Program& placed, const CompileOptions& options) {
  const std::vector<int64_t> occupied = occupied_bytes(placed);
  const auto fullest = std::max_element(occupied.begin(), occupied.end()) - occupied.begin();
  std::string mend = fmt::format("give --ram {}", placed.arena_bytes);
  if (!options.row_ports) mend += ", --rows";
  if (options.macs_overhead <= 0) mend += ", --max-macs-overhead 10";
  if (!codable_tensors(source).empty())
    mend += options.coding.bits > 0 ? ", fewer --activation-bits" : ", --activation-bits 4 (pith compile)";
  if (hands_out_floats(placed, fullest)) mend += ", --integer-outputs (pith compress)";
  return error(ErrorCode::kDoesNotFit,
               fmt::format("the network needs {} bytes, {} more than --ram {}: {} can't do with less (in use there: "
                           "{}); {}, or a smaller input",
                           placed.arena_bytes, placed.arena_bytes - options.ram, options.ram,
                           layer(source, result_name(placed, placed.ops[static_cast<size_t>(fullest)])),
                           largest(placed, fullest), mend));
}

}  // namespace pith
