// See order.h.
#include "compile/order.h"

#include <algorithm>
#include <unordered_map>

#include "compile/compile.h"
#include "program/check_memory.h"

namespace pith {
namespace {

using Set = std::vector<uint64_t>;  // of operators, one bit each
bool has(const Set& s, size_t i) { return s[i / 64] >> (i % 64) & 1; }
void add(Set& s, size_t i) { s[i / 64] |= uint64_t{1} << (i % 64); }

struct SetHash {
  size_t operator()(const Set& s) const {
    uint64_t h = 1469598103934665603u;
    for (uint64_t word : s) h = (h ^ word) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
    return static_cast<size_t>(h);
  }
};

// What memory and precedence know of a program.
class Model {
 public:
  Model(const Program& p, const OrderOptions& options) : p_(p), before_(p.ops.size()), roots_(p.ops.size()), users_(p.tensors.size()), bytes_(p.tensors.size(), 0), born_(p.tensors.size(), 0), stays_(p.tensors.size(), 0) {
    for (size_t i = 0; i < p.tensors.size(); ++i) bytes_[i] = p.tensors[i].alias_of == kNone ? tensor_bytes(p.tensors[i]) : 0;
    for (size_t i = 0; i < p.ops.size(); ++i) {
      scratch_.push_back(scratch_bytes(p, p.ops[i]));
      for (const auto* ids : {&p.ops[i].inputs, &p.ops[i].outputs}) {
        for (int32_t id : *ids) {
          if (id == kNone || is_constant(id)) continue;
          const size_t r = root(id);
          if (std::find(roots_[i].begin(), roots_[i].end(), r) == roots_[i].end()) {
            roots_[i].push_back(r);
            users_[r].push_back(i);
          }
        }
      }
    }
    ports(options);
    for (const std::vector<size_t>& users : users_) {
      for (size_t b = 0; b < users.size(); ++b)
        for (size_t a = 0; a < b; ++a)
          if (depends(users[b], users[a])) before_[users[b]].push_back(users[a]);
    }
  }

  size_t count() const { return p_.ops.size(); }
  bool ready(const Set& done, size_t op) const {
    return std::all_of(before_[op].begin(), before_[op].end(), [&](size_t b) { return has(done, b); });
  }
  int64_t at_start() const {
    int64_t bytes = 0;
    for (size_t r = 0; r < bytes_.size(); ++r) bytes += born_[r] ? bytes_[r] : 0;
    return bytes;
  }
  // Bytes during an operator that runs after `done`, while `live` are alive; then those alive after it.
  std::pair<int64_t, int64_t> step(const Set& done, int64_t live, size_t op) const {
    int64_t fresh = 0, gone = 0;
    std::vector<size_t> births, deaths;
    for (size_t r : roots_[op]) {
      const auto ran = [&](size_t u) { return has(done, u); };
      if (!born_[r] && std::none_of(users_[r].begin(), users_[r].end(), ran)) fresh += bytes_[r], births.push_back(r);
      if (!stays_[r] && std::all_of(users_[r].begin(), users_[r].end(), [&](size_t u) { return u == op || ran(u); })) gone += bytes_[r], deaths.push_back(r);
    }
    return {live + fresh + scratch_[op] - in_place(op, births, deaths), live + fresh - gone};
  }

 private:
  size_t root(int32_t id) const { return static_cast<size_t>(root_of(p_, id)); }
  bool touches(const std::vector<int32_t>& ids, size_t r) const {
    return std::any_of(ids.begin(), ids.end(), [&](int32_t id) { return id != kNone && !is_constant(id) && root(id) == r; });
  }
  void ports(const OrderOptions& options) {
    const auto by_rows = [&](int32_t id) {
      const ProgramTensor& t = p_.tensors[static_cast<size_t>(id)];
      return options.row_ports && t.alias_of == kNone && t.dims.size() == 4 && t.dims[0] == 1;
    };
    for (const ProgramPort& in : p_.inputs) {
      born_[root(in.tensor)] = 1;
      if (by_rows(in.tensor)) bytes_[root(in.tensor)] = 0;
    }
    for (const ProgramPort& out : p_.outputs) {
      stays_[root(out.tensor)] = 1;
      if (by_rows(out.tensor)) bytes_[root(out.tensor)] = 0;
    }
    for (const auto& [in, out] : p_.state) born_[root(in)] = stays_[root(in)] = stays_[root(out)] = 1;
  }
  // Must `later` stay behind `earlier`? Both touch a tensor. Copies into different parts of one may change places.
  bool depends(size_t later, size_t earlier) const {
    const ProgramOp &a = p_.ops[earlier], &b = p_.ops[later];
    for (size_t r : roots_[later]) {
      const bool a_writes = touches(a.outputs, r), b_writes = touches(b.outputs, r), a_reads = touches(a.inputs, r), b_reads = touches(b.inputs, r);
      if (!(a_writes && (b_reads || b_writes)) && !(a_reads && b_writes)) continue;
      const bool parts = a.opcode == PITH_OPCODE_Copy && b.opcode == PITH_OPCODE_Copy && !a_reads && !b_reads;
      if (!parts) return true;
    }
    return false;
  }
  // Bytes of an output that takes the place of an input that dies with the operator.
  int64_t in_place(size_t op, const std::vector<size_t>& births, const std::vector<size_t>& deaths) const {
    if (!may_write_over(p_.ops[op].opcode)) return 0;
    for (size_t b : births)
      for (size_t d : deaths)
        if (bytes_[b] == bytes_[d] && p_.tensors[b].dtype == p_.tensors[d].dtype) return bytes_[b];
    return 0;
  }

  const Program& p_;
  std::vector<std::vector<size_t>> before_, roots_, users_;
  std::vector<int64_t> bytes_, scratch_;
  std::vector<char> born_, stays_;
};

struct State {
  Set done;
  int64_t live = 0, peak = 0, area = 0;
  size_t parent = 0, op = 0;
};

// The best way to every set, one operator more at a time. With a limit only the area counts, and no step goes above it.
Order search(const Model& model, int width, int64_t limit) {
  const auto better = [&](const State& a, const State& b) {
    return limit < INT64_MAX ? a.area < b.area : a.peak != b.peak ? a.peak < b.peak : a.area < b.area;
  };
  const size_t n = model.count();
  Order order;
  std::vector<std::vector<std::pair<size_t, size_t>>> steps;  // (parent, operator) of every state that was kept
  std::vector<State> level = {{Set((n + 63) / 64, 0), model.at_start(), 0, 0, 0, 0}};
  for (size_t i = 0; i < n; ++i) {
    std::vector<State> next;
    std::unordered_map<Set, size_t, SetHash> known;
    for (size_t s = 0; s < level.size(); ++s) {
      for (size_t op = 0; op < n; ++op) {
        if (has(level[s].done, op) || !model.ready(level[s].done, op)) continue;
        const auto [during, after] = model.step(level[s].done, level[s].live, op);
        if (during > limit) continue;
        State to{level[s].done, after, std::max(level[s].peak, during), level[s].area + during, s, op};
        add(to.done, op);
        const auto [entry, fresh] = known.try_emplace(to.done, next.size());
        if (fresh) {
          next.push_back(std::move(to));
        } else if (better(to, next[entry->second])) {
          next[entry->second] = std::move(to);
        }
      }
    }
    if (next.size() > static_cast<size_t>(width)) {
      order.exact = false;
      std::nth_element(next.begin(), next.begin() + width, next.end(), better);
      next.resize(static_cast<size_t>(width));
    }
    if (next.empty()) return order;  // only under a limit that a beam lost
    steps.emplace_back();
    for (const State& s : next) steps.back().emplace_back(s.parent, s.op);
    level = std::move(next);
  }
  order.peak = level[0].peak;
  order.area = level[0].area;
  order.ops.assign(n, 0);
  for (size_t i = n, at = 0; i-- > 0; at = steps[i][at].first) order.ops[i] = steps[i][at].second;
  return order;
}

}  // namespace

Order given_order(const Program& program, const OrderOptions& options) {
  const Model model(program, options);
  Order order;
  Set done((program.ops.size() + 63) / 64, 0);
  int64_t live = model.at_start();
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const auto [during, after] = model.step(done, live, i);
    order.peak = std::max(order.peak, during);
    order.area += during;
    order.ops.push_back(i);
    add(done, i);
    live = after;
  }
  return order;
}

Order best_order(const Program& program, const OrderOptions& options) {
  const Model model(program, options);
  const Order given = given_order(program, options);
  const Order lowest = search(model, options.width, INT64_MAX);
  Order best = search(model, options.width, std::min(lowest.peak, given.peak));
  if (best.ops.empty()) best = lowest;
  best.exact = best.exact && lowest.exact;
  if (best.peak < given.peak || (best.peak == given.peak && best.area < given.area)) return best;
  Order kept = given;
  kept.exact = best.exact;
  return kept;
}

void apply_order(Program& program, const Order& order) {
  std::vector<ProgramOp> ops;
  for (size_t i : order.ops) ops.push_back(std::move(program.ops[i]));
  program.ops = std::move(ops);
}

}  // namespace pith
