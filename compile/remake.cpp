// See remake.h. The operators that make a tensor again are found backwards from it: what isn't alive at the late use is
// made again as well, up to some operators, or waits itself where it is smaller. Which of them pay is tried: by first looks
// at the least memory, most bytes for a multiplication first; then what was best is searched for in earnest.
#include "compile/remake.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "compile/moves.h"
#include "compile/refusal.h"
#include "compile/rows.h"
#include "compile/stream.h"

namespace pith {
namespace {

constexpr size_t kLeastGap = 3;   // operators between two uses
constexpr size_t kMostAgain = 32; // operators that make a tensor
constexpr size_t kLooks = 6;      // proposals that are tried in vain

class Finder {
 public:
  Finder(const Program& p, int64_t most_macs) : p_(p), users_(users_of(p)), most_macs_(most_macs), fixed_(p.tensors.size(), 0) {
    const auto fix = [&](int32_t id) { fixed_[static_cast<size_t>(root_of(p, id))] = 1; };
    for (const ProgramTensor& t : p.tensors)
      if (t.alias_of != kNone) fixed_[static_cast<size_t>(t.alias_of)] = 1, fixed_[static_cast<size_t>(&t - p.tensors.data())] = 1;
    for (const ProgramPort& port : p.inputs) fix(port.tensor);
    for (const ProgramPort& port : p.outputs) fix(port.tensor);
    for (const auto& [in, out] : p.state) fix(in), fix(out);
  }

  std::vector<Remade> all() {
    std::vector<Remade> found;
    for (size_t t = 0; t < p_.tensors.size(); ++t) {
      const std::vector<size_t>& uses = users_.uses[t];
      if (fixed_[t] || users_.writers[t].empty() || uses.empty() || uses.front() <= users_.writers[t].back()) continue;
      for (size_t i = 1; i < uses.size(); ++i)
        if (uses[i] - uses[i - 1] > kLeastGap && uses[i] < p_.ops.size()) propose(static_cast<int32_t>(t), uses[i], found);
    }
    return found;
  }

 private:
  int64_t bytes(int32_t id) const { return tensor_bytes(tensor(p_, id)); }
  // Alive at operator `at`, whatever we do?
  bool alive(int32_t id, size_t at) const {
    const auto& uses = users_.uses[static_cast<size_t>(id)];
    return !uses.empty() && uses.back() >= at && (users_.writers[static_cast<size_t>(id)].empty() || users_.writers[static_cast<size_t>(id)].front() < at);
  }
  bool can_run_again(int32_t id) const {
    const auto& writers = users_.writers[static_cast<size_t>(id)];
    return !fixed_[static_cast<size_t>(id)] && !writers.empty() && std::all_of(writers.begin(), writers.end(), [&](size_t i) {
      const ProgramOp& op = p_.ops[i];
      return op.outputs.size() == 1 && op.outputs[0] == id && op.opcode != PITH_OPCODE_Recurrent && op.opcode != PITH_OPCODE_RowsIn;
    });
  }

  // Ways to make tensor t again in front of `before`: level by level back from it; after each level what would have to wait
  // is added up.
  void propose(int32_t t, size_t before, std::vector<Remade>& found) const {
    std::set<int32_t> edge = {t}, again;
    std::set<size_t> ops;
    int64_t macs = 0;
    while (ops.size() < kMostAgain && macs <= most_macs_) {
      std::set<int32_t> next;
      bool stuck = false;
      for (int32_t id : edge) {
        if (id != t && alive(id, before)) continue;
        if (!can_run_again(id)) {
          stuck = true;
          break;
        }
        again.insert(id);
        for (size_t i : users_.writers[static_cast<size_t>(id)]) {
          if (ops.insert(i).second) macs += op_macs(p_, p_.ops[i]);
          for (int32_t x : p_.ops[i].inputs)
            if (x != kNone && !is_constant(x)) next.insert(root_of(p_, x));
        }
      }
      if (stuck || next.empty()) return;
      for (int32_t id : again) next.erase(id);
      edge = std::move(next);
      int64_t waiting = 0;
      bool done = true;
      for (int32_t id : edge) {
        if (alive(id, before)) continue;
        waiting += bytes(id);
        done = false;
      }
      const bool ports = std::any_of(edge.begin(), edge.end(), [&](int32_t id) { return users_.writers[static_cast<size_t>(id)].empty(); });
      if (waiting < bytes(t) && macs <= most_macs_ && !ports) found.push_back({t, before, {ops.begin(), ops.end()}, bytes(t) - waiting, macs});
      if (done) return;
    }
  }

  const Program& p_;
  const Users users_;
  int64_t most_macs_;
  std::vector<char> fixed_;  // ports, state, and what has several names
};

struct Placed {
  Program source, program;
  MemoryReport report;
};

// Does the tensor wait, whole, while most of the arena is in use? `number` of the lowered program.
bool waits_at_peak(const Placed& placed, const Remade& r) {
  const std::vector<int64_t> occupied = occupied_bytes(placed.program);
  const int64_t most = *std::max_element(occupied.begin(), occupied.end());
  for (const StorageInterval& s : storage_intervals(placed.program)) {
    if (s.tensor == kNone || placed.report.whole[static_cast<size_t>(s.tensor)] != r.tensor) continue;
    for (int64_t step = s.first; step <= s.last; ++step)
      if (occupied[static_cast<size_t>(step)] >= most - most / 8) return true;
  }
  return false;
}

}  // namespace

std::vector<Remade> remakable(const Program& program, int64_t most_macs) { return Finder(program, most_macs).all(); }

Program make_again(const Program& source, const Remade& r) {
  Program p = source;
  p.ops.clear();
  std::map<int32_t, int32_t> copies;
  for (size_t i : r.ops) {
    const int32_t id = source.ops[i].outputs[0];
    const auto [entry, fresh] = copies.try_emplace(id, static_cast<int32_t>(p.tensors.size()));
    if (fresh) {
      ProgramTensor copy = tensor(p, id);
      copy.name += ".again";
      p.tensors.push_back(std::move(copy));
    }
  }
  const auto rename = [&](std::vector<int32_t>& ids, bool only_it) {
    for (int32_t& id : ids)
      if (const auto at = copies.find(id); at != copies.end() && (!only_it || id == r.tensor)) id = at->second;
  };
  for (size_t i = 0; i < source.ops.size(); ++i) {
    if (i == r.before) {
      for (size_t again : r.ops) {
        p.ops.push_back(source.ops[again]);
        rename(p.ops.back().inputs, false);
        rename(p.ops.back().outputs, false);
      }
    }
    p.ops.push_back(source.ops[i]);
    if (i >= r.before) rename(p.ops.back().inputs, true);
  }
  return p;
}

Result<void> fit_remade(Program& program, const CompileOptions& options, MemoryReport* report) {
  const int64_t macs = macs_of(program), most = static_cast<int64_t>((1 + options.macs_overhead) * static_cast<double>(macs));
  // What is left of the multiplications goes to borders of bands.
  const auto fit = [&](Program source, bool rough, bool again = true) -> Result<Placed> {
    CompileOptions now = options;
    now.rough = rough;
    now.least = options.least || rough;
    now.macs_overhead = !again ? 0 : std::max(0.0, static_cast<double>(most) / static_cast<double>(std::max<int64_t>(macs_of(source), 1)) - 1);
    Placed placed;
    placed.program = source;
    placed.source = std::move(source);
    PITH_CHECK_OK(fit_ram(placed.program, now, &placed.report));
    return placed;
  };
  PITH_TRY(Placed best, fit(program, true));
  std::vector<RemadeTensor> remade;
  for (size_t vain = 0; vain < kLooks;) {
    std::vector<Remade> proposals = remakable(best.source, most - macs_of(best.source));
    std::erase_if(proposals, [&](const Remade& r) { return r.bytes * 64 < best.program.arena_bytes || !waits_at_peak(best, r); });
    const auto worth = [&](const Remade& r) { return static_cast<double>(r.bytes) / static_cast<double>(r.macs + macs / 1000); };
    std::stable_sort(proposals.begin(), proposals.end(), [&](const Remade& a, const Remade& b) { return worth(a) > worth(b); });
    bool better = false;
    for (const Remade& r : proposals) {
      if (vain++ >= kLooks) break;
      PITH_TRY(Placed now, fit(make_again(best.source, r), true));
      if (now.program.arena_bytes >= best.program.arena_bytes) continue;
      remade.push_back({tensor(best.source, r.tensor).name, r.bytes, r.macs, static_cast<int64_t>(r.ops.size())});
      best = std::move(now);
      better = true;
      vain = 0;
      break;
    }
    if (!better) break;
  }
  // In earnest; with less of it, too, since a first look may be wrong, and bands are chosen one group after the other.
  enum class Again { kNothing, kBorders, kTensors };
  std::optional<Placed> chosen;
  for (const Again again : {Again::kNothing, Again::kBorders, Again::kTensors}) {
    if (again == Again::kTensors && remade.empty()) continue;
    auto now = fit(again == Again::kTensors ? best.source : program, false, again != Again::kNothing);
    if (!now.ok()) {
      if (now.error().code != ErrorCode::kDoesNotFit) return now.error();
      continue;
    }
    if (again == Again::kTensors) now->report.remade = remade;
    if (!chosen || now->program.arena_bytes < chosen->program.arena_bytes) chosen = std::move(*now);
    if (!options.least) break;
  }
  if (!chosen) {  // a refusal names what --ram least reaches
    CompileOptions least = options;
    least.least = true;
    chosen.emplace();
    chosen->program = program;
    PITH_CHECK_OK(fit_remade(chosen->program, least, &chosen->report));
    if (chosen->program.arena_bytes > options.ram) return refuse_ram(program, chosen->program, options);
  }
  program = std::move(chosen->program);
  if (report) *report = std::move(chosen->report);
  return {};
}

}  // namespace pith
