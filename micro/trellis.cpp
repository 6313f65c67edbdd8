// See trellis.h.
#include "micro/trellis.h"

#include <cmath>
#include <optional>

namespace pith {

using coding::MixedRows;
using coding::Trellis;

TrellisSearch::TrellisSearch(int64_t row_length) : length_(row_length), now_(Trellis::kStates), next_(Trellis::kStates) {
  for (auto* survivors : {&now_, &next_}) {
    for (Survivor& s : *survivors) s.row.assign(static_cast<size_t>(row_length), 0);
  }
}

// The indices near x that the state's grid has, each as a way to the state that follows.
void TrellisSearch::offer(Step& step, const MixedRows& model, int from, int64_t k, double x, double cost, const Prices& prices) const {
  const double size = std::abs(x) / prices.step;
  const Survivor& s = now_[static_cast<size_t>(from)];
  const int grid = s.way.path.grid(), state = s.way.path.state();
  const int nearest = std::min(prices.sizes->nearest(size, grid), prices.limit);
  const bool above = size > prices.sizes->of(coding::trellis_value(nearest, grid));
  const std::array<int, 4> magnitudes = {nearest, nearest - 1, above ? nearest + 1 : nearest - 2, 0};
  std::optional<coding::CodeLengths> lengths;
  for (size_t i = 0; i < magnitudes.size(); ++i) {
    const int m = magnitudes[i];
    if (m < 0 || m > prices.limit || (i == 3 && (nearest < 3 || nearest > 4))) continue;
    const int index = x < 0 ? -m : m;
    const double value = prices.sizes->of(coding::trellis_value(m, grid)) * prices.step, error = x < 0 ? x + value : x - value, paid = s.cost + error * error * cost;
    Choice& then = step[Trellis::kNext[state][m & 1]];
    if (then.from >= 0 && paid >= then.cost) continue;
    if (!lengths) lengths.emplace(model, model.place(s.way, s.row.data(), k, length_), x < 0, std::min(nearest + above, prices.limit));
    const double total = paid + prices.lambda * lengths->of(m);
    if (then.from < 0 || total < then.cost) then = {total, from, index, error};
  }
}

void TrellisSearch::extend(const MixedRows& model, int64_t first, int64_t k, int64_t last, const std::vector<double>& w, const Prices& prices, const Feedback& feedback) {
  Step step;
  Prices here = prices;
  if (feedback.is_zero(k)) here.limit = 0;
  for (int from = 0; from < Trellis::kStates; ++from) {
    if (!alive_[static_cast<size_t>(from)]) continue;
    const Survivor& s = now_[static_cast<size_t>(from)];
    const double x = w[static_cast<size_t>(k)] - s.moved[static_cast<size_t>(k - first)];
    offer(step, model, from, k, x, feedback.cost(k), here);
  }
  for (size_t to = 0; to < step.size(); ++to) {
    const Choice& c = step[to];
    alive_[to] = c.from >= 0;
    if (c.from < 0) continue;
    const Survivor& s = now_[static_cast<size_t>(c.from)];
    Survivor& t = next_[to];
    t.cost = c.cost;
    t.way = s.way;
    model.advance(t.way, s.row[static_cast<size_t>(k)], c.index);
    const int64_t next = k + 1 - first;
    feedback.branch(k, last - k - 1, c.error, s.moved.data() + next, t.moved.data() + next);
    std::copy(s.row.begin() + first, s.row.begin() + k, t.row.begin() + first);
    t.row[static_cast<size_t>(k)] = static_cast<int8_t>(c.index);
  }
  now_.swap(next_);
}

const TrellisSearch::Survivor& TrellisSearch::best() const {
  size_t least = Trellis::kStates;
  for (size_t s = 0; s < now_.size(); ++s) {
    if (alive_[s] && (least == Trellis::kStates || now_[s].cost < now_[least].cost)) least = s;
  }
  return now_[least];
}

double TrellisSearch::row(MixedRows& model, coding::BitMeter& meter, int8_t* row, std::vector<double>& w, const Prices& prices, const Feedback& feedback, LevelSums& sums) {
  for (auto* survivors : {&now_, &next_}) {
    for (Survivor& s : *survivors) std::copy_n(row, length_, s.row.begin());
  }
  model.begin_row();
  double lost = 0;
  for (int64_t first = 0; first < length_; first += kSettled) {
    const int64_t settled = std::min(first + kSettled, length_), last = std::min(first + kWindow, length_);
    const auto state = static_cast<size_t>(model.way().path.state());
    alive_.fill(false);
    alive_[state] = true;
    now_[state].cost = 0;
    for (auto* survivors : {&now_, &next_}) {
      for (Survivor& s : *survivors) s.moved.fill(0);
    }
    now_[state].way = model.way();
    for (int64_t k = first; k < last; ++k) extend(model, first, k, last, w, prices, feedback);
    const Survivor& chosen = best();
    std::vector<int8_t> before(row + settled, row + last);  // what lies ahead is the row before again
    for (int64_t k = first; k < settled; ++k) {
      const auto at = model.place(row, k, length_);
      const int grid = model.way().path.grid(), index = chosen.row[static_cast<size_t>(k)];
      model.advance(row, at, model.code(meter, at, index));
      const int multiple = coding::trellis_value(index, grid);
      const double wanted = w[static_cast<size_t>(k)], value = prices.sizes->of(std::abs(multiple)) * prices.step, error = wanted - (index < 0 ? -value : value);
      sums.add(multiple, wanted, prices.step, feedback.cost(k));
      lost += error * error * feedback.cost(k);
      feedback.spread(k, error, w);
    }
    for (auto* survivors : {&now_, &next_}) {
      for (Survivor& s : *survivors) {
        std::copy(row + first, row + settled, s.row.begin() + first);
        std::copy(before.begin(), before.end(), s.row.begin() + settled);
      }
    }
  }
  model.end_row();
  return lost;
}

}  // namespace pith
