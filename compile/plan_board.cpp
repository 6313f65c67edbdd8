// See plan_board.h.
#include "compile/plan_board.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

namespace pith {

Board::Board(const PlanProblem& problem, const PlanModel& model, int64_t capacity)
    : capacity_(capacity), padded_(round_up(capacity, model.grain)) {
  add_items(model);
  add_sections(problem, model);
  add_sharings(problem, model);
  add_shortest();
  add_twins();
  const size_t count = items_.size();
  start_.assign(count, 0);
  support_.assign(count, 0);
  barred_.assign(count, 0);
  placed_.assign(count, 0);
  for (uint32_t i = 0; i < count; ++i) start_[i] = support_[i] = settle(i, 0);
}

// The blocks that are ours to place, by birth, with the pairs that must stay apart.
void Board::add_items(const PlanModel& model) {
  std::vector<size_t> order;
  for (size_t b = 0; b < model.blocks.size(); ++b)
    if (!model.blocks[b].fixed && model.blocks[b].height > 0) order.push_back(b);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return model.blocks[a].lower < model.blocks[b].lower; });
  std::vector<uint32_t> item_of(model.blocks.size(), kNone);
  for (const size_t b : order) {
    item_of[b] = static_cast<uint32_t>(items_.size());
    Item item;
    item.block = b;
    item.lower = model.blocks[b].lower;
    item.upper = model.blocks[b].upper;
    item.size = model.blocks[b].height;
    item.alignment = model.blocks[b].alignment;
    items_.push_back(std::move(item));
  }
  for (Item& item : items_) {
    for (const Forbidden& f : model.blocks[item.block].forbidden) {
      if (const auto& fixed = model.blocks[f.other].fixed) {
        item.obstacles.push_back({*fixed + f.low, *fixed + f.high});
        continue;
      }
      const int64_t mine = round_up(std::max<int64_t>(0, -f.low), model.grain);
      const int64_t theirs = round_up(std::max<int64_t>(0, f.high), model.grain);
      std::vector<Neighbour>& list = item.neighbours;
      if (list.empty() || list.back().id != item_of[f.other]) list.push_back({item_of[f.other], 0, 0});
      list.back().mine = std::max(list.back().mine, mine);
      list.back().theirs = std::max(list.back().theirs, theirs);
    }
    std::sort(item.obstacles.begin(), item.obstacles.end());
    for (const Neighbour& n : item.neighbours) item.reach = std::max(item.reach, n.mine);
  }
}

// One section per birth that is followed by a death before the next birth: the others are contained in it.
void Board::add_sections(const PlanProblem& problem, const PlanModel& model) {
  std::vector<std::pair<int64_t, bool>> events;  // (time, is a birth): deaths come first
  for (const Item& item : items_) {
    for (const BlockMember& m : model.blocks[item.block].members) {
      events.push_back({problem.buffers[m.buffer].lower, true});
      events.push_back({problem.buffers[m.buffer].upper, false});
    }
  }
  std::sort(events.begin(), events.end());
  std::vector<int64_t> moments;
  for (size_t e = 0; e + 1 < events.size(); ++e)
    if (events[e].second && !events[e + 1].second) moments.push_back(events[e].first);
  sections_.resize(moments.size());
  const auto index = [&](int64_t time) {
    return static_cast<uint32_t>(std::lower_bound(moments.begin(), moments.end(), time) - moments.begin());
  };
  where_.resize(items_.size());
  for (uint32_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    item.first = index(item.lower);
    item.last = index(item.upper);
    const std::vector<BlockMember>& members = model.blocks[item.block].members;
    if (members.size() == 1) item.weights = {round_up(item.size, model.grain)};
    for (uint32_t s = item.first; s < item.last; ++s) {
      if (members.size() > 1) {
        std::vector<std::pair<int64_t, int64_t>> spans;
        for (const BlockMember& m : members) {
          const Buffer& b = problem.buffers[m.buffer];
          if (b.lower <= moments[s] && moments[s] < b.upper)
            spans.push_back({m.shift / model.grain * model.grain, round_up(m.shift + b.size, model.grain)});
        }
        item.weights.push_back(union_length(std::move(spans)));
      }
      where_[i].push_back(static_cast<uint32_t>(sections_[s].open.size()));
      sections_[s].open.push_back(i);
      sections_[s].rest += item.weight(s);
    }
  }
}

void Board::add_sharings(const PlanProblem& problem, const PlanModel& model) {
  std::vector<uint32_t> item_of_buffer(problem.buffers.size(), kNone);
  for (uint32_t i = 0; i < items_.size(); ++i)
    for (const BlockMember& m : model.blocks[items_[i].block].members) item_of_buffer[m.buffer] = i;
  std::map<std::pair<size_t, size_t>, int64_t> most;
  for (const BufferOverlap& o : problem.overlaps) {
    int64_t& bytes = most[std::minmax(o.below, o.above)];
    bytes = std::max(bytes, shareable(problem, o, model.grain));
  }
  for (const auto& [pair, bytes] : most) {
    const uint32_t a = item_of_buffer[pair.first], b = item_of_buffer[pair.second];
    if (a == kNone || b == kNone || a == b || bytes == 0) continue;
    const uint32_t first = std::max(items_[a].first, items_[b].first), last = std::min(items_[a].last, items_[b].last);
    if (first >= last) continue;
    items_[a].sharings.push_back({b, first, last, bytes});
    items_[b].sharings.push_back({a, first, last, bytes});
    for (uint32_t s = first; s < last; ++s) sections_[s].rest -= bytes;
  }
}

// The least distance to anything that shares a section: 0 where something there may lie at any distance.
void Board::add_shortest() {
  std::vector<uint32_t> seen(items_.size(), kNone);
  for (uint32_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    item.shortest = item.size;
    seen[i] = i;
    for (const Neighbour& n : item.neighbours) seen[n.id] = i, item.shortest = std::min(item.shortest, n.mine);
    for (uint32_t s = item.first; s < item.last; ++s)
      for (const uint32_t other : sections_[s].open)
        if (seen[other] != i) item.shortest = 0;
  }
}

// Plain blocks of the same lifetime, size and alignment are interchangeable: only one of their orders is looked at.
void Board::add_twins() {
  std::map<std::tuple<int64_t, int64_t, int64_t, int64_t>, uint32_t> latest;
  for (uint32_t i = 0; i < items_.size(); ++i) {
    const Item& item = items_[i];
    const bool plain =
        item.weights.size() == 1 &&
        std::all_of(item.neighbours.begin(), item.neighbours.end(), [&](const Neighbour& n) {
          return n.mine == item.weights[0] && items_[n.id].weights.size() == 1 && n.theirs == items_[n.id].weights[0];
        });
    if (!plain || !item.obstacles.empty()) continue;
    const auto [entry, is_new] = latest.insert({{item.lower, item.upper, item.size, item.alignment}, i});
    if (is_new) continue;
    items_[i].twin = entry->second;
    items_[entry->second].next = i;
    entry->second = i;
  }
}

// The lowest offset from `offset` on that is aligned and free of fixed blocks.
int64_t Board::settle(uint32_t i, int64_t offset) const {
  offset = round_up(offset, items_[i].alignment);
  for (const auto& [from, to] : items_[i].obstacles)
    if (offset > from && offset < to) offset = round_up(to, items_[i].alignment);
  return offset;
}

void Board::touch(uint32_t i) {
  for (uint32_t s = items_[i].first; s < items_[i].last; ++s) sections_[s].dirty = sections_[s].stale = true;
  dirty_low_ = std::min(dirty_low_, items_[i].first);
  dirty_high_ = std::max(dirty_high_, items_[i].last);
}

bool Board::raise(uint32_t i, int64_t start) {
  if (start <= start_[i]) return true;
  start = settle(i, start);
  if (start > capacity_ - items_[i].size) return false;
  record(i);
  start_[i] = start;
  touch(i);
  const uint32_t next = items_[i].next;
  return next == kNone || placed_[next] || raise(next, start + items_[i].weights[0]);
}

void Board::take_out(uint32_t i) {
  const Item& item = items_[i];
  for (uint32_t s = item.first; s < item.last; ++s) {
    Section& section = sections_[s];
    section.rest -= item.weight(s);
    const uint32_t at = where_[i][s - item.first], moved = section.open.back();
    section.open[at] = moved;
    where_[moved][s - items_[moved].first] = at;
    section.open.pop_back();
  }
  for (const Sharing& share : item.sharings)
    if (!placed_[share.id])
      for (uint32_t s = share.first; s < share.last; ++s) sections_[s].rest += share.bytes;
}

void Board::put_back(uint32_t i) {
  const Item& item = items_[i];
  for (uint32_t s = item.first; s < item.last; ++s) {
    Section& section = sections_[s];
    section.rest += item.weight(s);
    const uint32_t at = where_[i][s - item.first];
    section.open.push_back(i);
    if (at + 1 == section.open.size()) continue;
    const uint32_t moved = section.open[at];
    where_[moved][s - items_[moved].first] = static_cast<uint32_t>(section.open.size() - 1);
    std::swap(section.open[at], section.open.back());
  }
  for (const Sharing& share : item.sharings)
    if (!placed_[share.id])
      for (uint32_t s = share.first; s < share.last; ++s) sections_[s].rest -= share.bytes;
}

bool Board::open() {
  for (uint32_t i = 0; i < items_.size(); ++i) {
    if (start_[i] > capacity_ - items_[i].size) return false;
    if (items_[i].next != kNone && !raise(items_[i].next, start_[i] + items_[i].weights[0])) return false;
  }
  dirty_low_ = 0;
  dirty_high_ = static_cast<uint32_t>(sections_.size());
  return propagate();
}

bool Board::place(uint32_t i) {
  record(i);
  placed_[i] = 1;
  take_out(i);
  touch(i);
  for (const Neighbour& n : items_[i].neighbours) {
    if (placed_[n.id]) continue;
    const int64_t reached = start_[i] + n.mine;
    if (reached <= support_[n.id] && !barred_[n.id]) continue;
    record(n.id);
    barred_[n.id] = 0;
    if (reached <= support_[n.id]) continue;
    support_[n.id] = settle(n.id, reached);
    if (!raise(n.id, support_[n.id])) return clean(false);
  }
  return propagate();
}

bool Board::delay(uint32_t i) {
  int64_t bound = INT64_MAX;  // whatever holds i up instead ends no lower than this
  for (const Neighbour& n : items_[i].neighbours)
    if (!placed_[n.id]) bound = std::min(bound, start_[n.id] + n.theirs);
  if (bound == INT64_MAX) return false;
  record(i);
  barred_[i] = 1;
  return raise(i, bound) ? propagate() : clean(false);
}

void Board::undo(size_t mark) {
  for (; trail_.size() > mark; trail_.pop_back()) {
    const Change& c = trail_.back();
    const bool was_placed = placed_[c.id];
    start_[c.id] = c.start;
    support_[c.id] = c.support;
    barred_[c.id] = c.barred;
    placed_[c.id] = c.placed;
    if (was_placed && !c.placed) put_back(c.id);
    for (uint32_t s = items_[c.id].first; s < items_[c.id].last; ++s) sections_[s].stale = true;
  }
}

bool Board::propagate() {
  while (dirty_low_ < dirty_high_) {
    const uint32_t s = dirty_low_++;
    if (!sections_[s].dirty) continue;
    sections_[s].dirty = false;
    if (propagate_section(s)) continue;
    sections_[s].trouble += 1;
    return clean(false);
  }
  return clean(true);
}

bool Board::clean(bool result) {
  for (uint32_t s = dirty_low_; s < dirty_high_; ++s) sections_[s].dirty = false;
  dirty_low_ = static_cast<uint32_t>(sections_.size());
  dirty_high_ = 0;
  return result;
}

bool Board::propagate_section(uint32_t s) {
  Section& section = sections_[s];
  if (section.open.empty()) return true;
  int64_t floor = INT64_MAX, end = INT64_MAX, second_end = INT64_MAX;
  uint32_t lowest = kNone;
  section.firsts = 0;
  for (const uint32_t i : section.open) {
    floor = std::min(floor, start_[i]);
    if (start_[i] + section.rest > padded_) continue;
    ++section.firsts;
    const int64_t its_end = start_[i] + items_[i].shortest;
    if (its_end < end)
      second_end = end, end = its_end, lowest = i;
    else
      second_end = std::min(second_end, its_end);
  }
  section.floor = floor;
  section.stale = false;
  if (section.firsts == 0) return false;
  if (section.open.size() == 1 || (section.firsts == section.open.size() && section.firsts > 1)) return true;
  for (const uint32_t i : section.open) {
    if (i == lowest || (section.firsts > 1 && start_[i] + section.rest <= padded_)) continue;
    if (!raise(i, end)) return false;
  }
  return true;
}

const Board::Section& Board::section(uint32_t s) {
  Section& section = sections_[s];
  if (!section.stale) return section;
  section.floor = INT64_MAX;
  section.firsts = 0;
  for (const uint32_t i : section.open) {
    section.floor = std::min(section.floor, start_[i]);
    section.firsts += start_[i] + section.rest <= padded_;
  }
  section.stale = false;
  return section;
}

}  // namespace pith
