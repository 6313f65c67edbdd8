// The state of the exact search: what is placed, how low each open block may still start, what each moment still holds.
// Internal to plan_exact; the method is told in plan_search.cpp.
//
// Time is cut into sections, the moments at which a maximal set of blocks is alive. The board keeps, with a trail for
// undoing, a lower bound `start` for every open (unplaced) block and raises it by two rules:
//   neighbours  what is placed stays below what is not: start(j) >= offset(i) + distance(i, j);
//   sections    the open blocks of a section must fit between the lowest start and the capacity; a block that cannot be
//   the
//               lowest of them (all the others would not fit above it) starts no lower than where one that can would
//               end.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "compile/plan_model.h"

namespace pith {

class Board {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Neighbour {
    uint32_t id;
    int64_t mine;    // it may start this far above my offset
    int64_t theirs;  // I may start this far above its offset
  };
  // The bytes that two blocks may share while both are alive, on a range of sections.
  struct Sharing {
    uint32_t id, first, last;
    int64_t bytes;
  };
  struct Item {
    size_t block = 0;
    int64_t lower = 0, upper = 0, size = 0, alignment = 1;
    uint32_t first = 0, last = 0;  // sections [first, last)
    std::vector<int64_t> weights;  // bytes by section, rounded up to the grain; one entry where they are all the same
    int64_t reach = 0, shortest = 0;      // the most and the least of Neighbour::mine
    uint32_t twin = kNone, next = kNone;  // of the same lifetime and size: twins are placed in this order
    std::vector<Neighbour> neighbours;
    std::vector<Sharing> sharings;
    std::vector<std::pair<int64_t, int64_t>> obstacles;  // offsets strictly between collide with fixed blocks
    int64_t weight(uint32_t section) const { return weights.size() == 1 ? weights[0] : weights[section - first]; }
  };

  Board(const PlanProblem& problem, const PlanModel& model, int64_t capacity);

  // The first round of bounds; false: nothing fits.
  bool open();
  // Puts open block i at its start for good. False: a contradiction; undo.
  bool place(uint32_t i);
  // Says that i is not at its start, below all its open neighbours. False: a contradiction; undo.
  bool delay(uint32_t i);
  size_t mark() const { return trail_.size(); }
  void undo(size_t mark);

  // i's start is where something placed (or the ground) holds it, and it was not delayed since.
  bool placeable(uint32_t i) const {
    return support_[i] == start_[i] && !barred_[i] && (items_[i].twin == kNone || placed_[items_[i].twin]);
  }
  int64_t capacity() const { return capacity_; }
  const std::vector<Item>& items() const { return items_; }
  int64_t start(uint32_t i) const { return start_[i]; }
  bool placed(uint32_t i) const { return placed_[i]; }

  struct Section {
    int64_t rest = 0;            // bytes of its open blocks
    std::vector<uint32_t> open;  // in no order
    int64_t floor = 0;           // the lowest start among them
    uint32_t firsts = 0;         // how many can be the lowest
    double trouble = 1;          // contradictions found here so far
    bool stale = true;           // floor and firsts need a look
    bool dirty = true;           // the rule for sections has not seen the latest starts
  };
  size_t sections() const { return sections_.size(); }
  const Section& section(uint32_t s);  // refreshed
  int64_t slack(const Section& s) const { return padded_ - s.floor - s.rest; }

 private:
  struct Change {
    uint32_t id;
    char placed, barred;
    int64_t start, support;
  };
  void add_items(const PlanModel& model);
  void add_sections(const PlanProblem& problem, const PlanModel& model);
  void add_sharings(const PlanProblem& problem, const PlanModel& model);
  void add_shortest();
  void add_twins();
  int64_t settle(uint32_t i, int64_t offset) const;
  void record(uint32_t i) { trail_.push_back({i, placed_[i], barred_[i], start_[i], support_[i]}); }
  bool raise(uint32_t i, int64_t start);
  void touch(uint32_t i);
  void take_out(uint32_t i);
  void put_back(uint32_t i);
  bool propagate();
  bool clean(bool result);  // forgets what is dirty, hands the result through
  bool propagate_section(uint32_t s);

  int64_t capacity_, padded_;  // padded_: capacity rounded up to the grain, for sums of rounded sizes
  std::vector<Item> items_;
  std::vector<Section> sections_;
  std::vector<std::vector<uint32_t>> where_;  // of item i in section first + k: its index in Section::open
  std::vector<int64_t> start_, support_;
  std::vector<char> placed_, barred_;
  std::vector<Change> trail_;
  uint32_t dirty_low_ = 0, dirty_high_ = 0;
};

}  // namespace pith
